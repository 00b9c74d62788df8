"""Same or not? Measures of scores against 0/1 labels, over all thresholds or at the best one."""

from __future__ import annotations

import numpy as np

from similis.metrics.family import measure
from similis.metrics.ranked import Floats
from similis.metrics.scored.scored import Scored, divided
from similis.registry import Source


@measure(
    "PairAP",
    "scores",
    registered="pair_ap",
    aliases=("pair_average_precision",),
    source=Source("Overview of the second text retrieval conference (TREC-2)", "Harman", 1994),
)
def pair_average_precision(data: Scored, weights: Floats) -> Floats:
    """Precision at every threshold, weighted by the recall gained there, for weights ``[b, n]`` -> ``[b]``."""
    true, false = data.accepted(weights)
    gained = np.diff(true, axis=1, prepend=0.0)
    precision = np.divide(true, true + false, out=np.zeros_like(true), where=true > 0)
    return divided(np.sum(gained * precision, axis=1), true[:, -1])


@measure(
    "BestF1",
    "scores",
    registered="best_f1",
    aliases=("F1", "max_f1"),
    source=Source("Information retrieval", "van Rijsbergen", 1979),
)
def best_f1(data: Scored, weights: Floats) -> Floats:
    """The highest harmonic mean of precision and recall over all thresholds, for weights ``[b, n]`` -> ``[b]``."""
    return np.asarray(_f1(data, weights).max(axis=1))


@measure(
    "BestAccuracy",
    "scores",
    registered="best_accuracy",
    aliases=("Accuracy", "max_accuracy"),
    source=Source("Automatically constructing a corpus of sentential paraphrases", "Dolan, Brockett", 2005),
)
def best_accuracy(data: Scored, weights: Floats) -> Floats:
    """The highest share of right decisions over all thresholds, for weights ``[b, n]`` -> ``[b]``."""
    right, total = _right(data, weights), weights.sum(axis=1)
    return np.asarray(np.maximum(right.max(axis=1), weights @ (1.0 - data.gold)) / total)


@measure(
    "ROC-AUC",
    "scores",
    registered="roc_auc",
    aliases=("AUC", "AUROC"),
    source=Source(
        "The meaning and use of the area under a receiver operating characteristic (ROC) curve", "Hanley, McNeil", 1982
    ),
)
def roc_auc(data: Scored, weights: Floats) -> Floats:
    """Chance that a positive pair scores above a negative one, ties half, for weights ``[b, n]`` -> ``[b]``."""
    true, false = data.accepted(weights)
    gained = np.diff(false, axis=1, prepend=0.0)
    before = true - np.diff(true, axis=1, prepend=0.0)
    return divided(np.sum(gained * (true + before), axis=1) / 2.0, true[:, -1] * false[:, -1])


def best_threshold(data: Scored, name: str) -> float:
    """The score from which on a pair is accepted where ``BestF1`` or ``BestAccuracy`` is reached.

    It lies halfway to the next lower score, so that unseen pairs fall on the nearer side.
    """
    everything = np.ones((1, data.size))
    curve = _f1(data, everything) if name == "BestF1" else _right(data, everything)
    best = int(curve[0].argmax())
    lower = data.thresholds[best + 1] if best + 1 < len(data.thresholds) else data.thresholds[best]
    return float((data.thresholds[best] + lower) / 2.0)


def _f1(data: Scored, weights: Floats) -> Floats:
    true, false = data.accepted(weights)
    return divided(2.0 * true, true + false + true[:, -1:])


def _right(data: Scored, weights: Floats) -> Floats:
    true, false = data.accepted(weights)
    return np.asarray(true + false[:, -1:] - false)
