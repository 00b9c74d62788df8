"""Claims on verification: synthetic speakers whose identity is drowned in channel, judged by unseen speakers."""

from __future__ import annotations

from collections.abc import Callable

import torch

from claim_cases.claim import Claim, Trial
from claim_cases.data import Parts, flipped, voices
from claim_cases.judging import neighbours, scores_between, threshold_inconsistency, verification
from claim_cases.learning import by_class, encode, fit, network

Judge = Callable[[torch.Tensor, torch.Tensor], dict[str, float]]


def _trained(text: str, trial: Trial, data: Parts) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(trial.seed)
    tower = network(40)
    batches = by_class(data.train, data.train_labels, steps=trial.steps(200), seed=trial.seed, classes=16, items=4)
    objective = fit(text, tower, batches, classes=int(data.train_labels.max()) + 1, rows=len(data.train))
    made = encode(tower, data.test)
    return scores_between(objective, made, made), data.test_labels


def speakers(text: str, trial: Trial) -> dict[str, float]:
    """Verification of pairs of unseen speakers."""
    scores, labels = _trained(text, trial, voices(trial.seed))
    return {**verification(scores, labels), **neighbours(scores, labels)}


def mislabelled_speakers(text: str, trial: Trial) -> dict[str, float]:
    """The same after training with a fifth of the labels wrong."""
    data = voices(trial.seed)
    noisy = Parts(data.train, flipped(data.train_labels, 0.2, 60, trial.seed), data.test, data.test_labels)
    scores, labels = _trained(text, trial, noisy)
    return verification(scores, labels)


def uneven_speakers(text: str, trial: Trial) -> dict[str, float]:
    """Speakers of unequal variance: is one threshold right for all of them?"""
    scores, labels = _trained(text, trial, voices(trial.seed, uneven=True))
    return {"opis": threshold_inconsistency(scores, labels), **neighbours(scores, labels)}


#: One centroid a query, right or wrong, with a learnt scale and bias: the tuple-based loss GE2E is compared with.
TUPLES = "siglip(scale=10, bias=-5), keys=centroids, miner=random_negatives(k=1)"

CLAIMS = (
    Claim(
        "ge2e",
        "GE2E gives a lower equal error rate on unseen speakers than a loss of single tuples",
        ("criterion", "ge2e"),
        speakers,
        TUPLES,
        "ge2e",
        "eer",
        "lower",
    ),
    Claim(
        "angular_prototypical",
        "Angular prototypical loss gives a lower equal error rate than a triplet loss",
        ("criterion", "angular_prototypical"),
        speakers,
        "triplet(margin=0.1)",
        "angular_prototypical",
        "eer",
        "lower",
    ),
    Claim(
        "angular_prototypical_softmax",
        "Angular prototypical loss gives a lower equal error rate than AM-softmax",
        ("criterion", "angular_prototypical"),
        speakers,
        "cosface(margin=0.2, scale=30)",
        "angular_prototypical",
        "eer",
        "lower",
    ),
    Claim(
        "unpg",
        "Negative pairs of the batch beside class proxies accept more true pairs at 1 % false alarms than ArcFace",
        ("criterion", "unpg"),
        speakers,
        "arcface(scale=30)",
        "unpg(scale=30)",
        "tar@far=1%",
    ),
    Claim(
        "unpg_filter",
        "With a fifth of the labels wrong, leaving out implausible negative pairs accepts more true pairs",
        ("criterion", "unpg"),
        mislabelled_speakers,
        "unpg(scale=30, whisker=1000.0)",
        "unpg(scale=30)",
        "tar@far=1%",
    ),
    Claim(
        "subcenters",
        "With a fifth of the labels wrong, ArcFace with three centres a class has a lower equal error rate",
        ("criterion", "subcenter_arcface"),
        mislabelled_speakers,
        "arcface(scale=30)",
        'subcenter_arcface(scale=30), keys="proxies(per_class=3)"',
        "eer",
        "lower",
    ),
    Claim(
        "tcm_opis",
        "Threshold-consistent margins lower OPIS, the disagreement of classes about a threshold",
        ("criterion", "tcm"),
        uneven_speakers,
        "multi_similarity",
        "multi_similarity, regularizers=[tcm(1.0)]",
        "opis",
        "lower",
    ),
    Claim(
        "tcm_recall",
        "Threshold-consistent margins do not cost Recall@1 (0.02 is the slack)",
        ("criterion", "tcm"),
        uneven_speakers,
        "multi_similarity",
        "multi_similarity, regularizers=[tcm(1.0)]",
        "recall@1",
        slack=0.02,
    ),
    Claim(
        "tcm_opis_proxies",
        "Threshold-consistent margins lower OPIS beside proxy anchors too",
        ("criterion", "tcm"),
        uneven_speakers,
        "proxy_anchor",
        "proxy_anchor, regularizers=[tcm(1.0)]",
        "opis",
        "lower",
    ),
)
