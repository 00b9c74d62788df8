"""Correlations and detection measures against scipy and scikit-learn, ties included, resampled and not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as reference

from similis.errors import UserError
from similis.evaluation import compare_reports
from similis.evaluation.sts import evaluate_pairs, evaluate_scores
from similis.metrics import parse
from similis.metrics.scored import Scored

CORRELATIONS = {"Spearman": stats.spearmanr, "Pearson": stats.pearsonr, "Kendall": stats.kendalltau}


def graded(n: int = 120, seed: int = 0, levels: int = 9) -> Scored:
    rng = np.random.default_rng(seed)
    gold = rng.integers(0, 6, n).astype(float)
    return Scored(np.round((gold + rng.normal(0, 2, n)) * levels / 9) / 10, gold)


def binary(n: int = 150, seed: int = 0) -> Scored:
    rng = np.random.default_rng(seed)
    gold = (rng.random(n) < 0.4).astype(float)
    return Scored(np.round(gold * 0.8 + rng.normal(0, 1, n), 1), gold)


def expanded(data: Scored, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The resample written out, each pair as often as its weight says."""
    times = weights.astype(int)
    return np.repeat(data.scores, times), np.repeat(data.gold, times)


@pytest.mark.parametrize("name", CORRELATIONS)
def test_correlations_equal_scipy_on_the_data_and_on_every_resample(name: str) -> None:
    for seed in range(5):
        data = graded(seed=seed)
        rng = np.random.default_rng(seed)
        weights = np.concatenate([np.ones((1, data.size)), rng.multinomial(data.size, [1 / data.size] * data.size, 4)])
        for value, row in zip(parse(name).compute(data, weights), weights, strict=True):
            assert value == pytest.approx(CORRELATIONS[name](*expanded(data, row)).statistic, abs=1e-9)


def eer_by_scanning(gold: np.ndarray, scores: np.ndarray) -> float:
    from scipy.optimize import brentq

    alarms, hits, _ = reference.roc_curve(gold, scores, drop_intermediate=False)
    return float(brentq(lambda x: 1.0 - x - np.interp(x, alarms, hits), 0.0, 1.0))


def fpr_by_scanning(gold: np.ndarray, scores: np.ndarray) -> float:
    alarms, hits, _ = reference.roc_curve(gold, scores, drop_intermediate=False)
    return float(alarms[hits >= 0.95 - 1e-12].min())


def dcf_by_scanning(gold: np.ndarray, scores: np.ndarray) -> float:
    alarms, hits, _ = reference.roc_curve(gold, scores, drop_intermediate=False)
    return float(np.min(0.05 * (1 - hits) + 0.95 * alarms) / 0.05)


def f1_by_scanning(gold: np.ndarray, scores: np.ndarray) -> float:
    return max(float(reference.f1_score(gold, scores >= t)) for t in np.unique(scores))


def accuracy_by_scanning(gold: np.ndarray, scores: np.ndarray) -> float:
    return max(float(np.mean((scores >= t) == gold)) for t in [*np.unique(scores), np.inf])


DETECTION = {
    "PairAP": reference.average_precision_score,
    "ROC-AUC": reference.roc_auc_score,
    "BestF1": f1_by_scanning,
    "BestAccuracy": accuracy_by_scanning,
    "EER": eer_by_scanning,
    "FPR": fpr_by_scanning,
    "minDCF(prior=0.05)": dcf_by_scanning,
}


@pytest.mark.parametrize("name", DETECTION)
def test_detection_measures_equal_scikit_learn_on_the_data_and_on_a_resample(name: str) -> None:
    for seed in range(4):
        data = binary(seed=seed)
        draw = np.random.default_rng(seed).multinomial(data.size, [1 / data.size] * data.size)
        weights = np.stack([np.ones(data.size), draw])
        for value, row in zip(parse(name).compute(data, weights), weights, strict=True):
            scores, gold = expanded(data, row)
            assert value == pytest.approx(DETECTION[name](gold, scores), abs=1e-9)


def test_the_interval_of_spearman_equals_scipys_bootstrap() -> None:
    data = graded(100)
    ours = evaluate_scores(data.scores, data.gold, "Spearman", resamples=4000)["Spearman"].interval
    theirs = stats.bootstrap(
        (data.scores, data.gold),
        lambda x, y: stats.spearmanr(x, y).statistic,
        paired=True,
        vectorized=False,
        n_resamples=1500,
        method="percentile",
        rng=0,
    ).confidence_interval
    assert ours == pytest.approx(tuple(theirs), abs=0.03)


def test_the_best_threshold_reaches_the_best_value() -> None:
    data = binary()
    report = evaluate_pairs(data.scores, data.gold, resamples=0)
    for name, score in (("BestF1", reference.f1_score), ("BestAccuracy", reference.accuracy_score)):
        decided = data.scores >= report[name].detail["threshold"]
        assert score(data.gold, decided) == pytest.approx(report[name].mean)
    assert "chosen on the pairs" in report.notes[0]


def test_two_models_are_compared_on_the_same_resamples() -> None:
    data = graded(300, levels=90)
    noisy = data.scores + np.random.default_rng(1).normal(0, 3.0, 300)
    good, bad = (evaluate_scores(s, data.gold, "Spearman", resamples=2000) for s in (data.scores, noisy))
    result = compare_reports(good, bad, "Spearman")
    assert result.better == "first"
    assert result.interval[0] > 0
    other = evaluate_scores(data.scores, data.gold[::-1], "Spearman", resamples=2000)
    with pytest.raises(UserError, match="same pairs with the same seed"):
        compare_reports(good, other, "Spearman")


@pytest.mark.parametrize(
    ("scores", "gold", "metrics", "message"),
    [
        ([1.0, 2.0], [1.0], "Spearman", "2 scores for 1 gold"),
        ([1.0], [1.0], "Spearman", "at least 2 pairs"),
        ([1.0, float("nan")], [1.0, 0.0], "Spearman", "score of pair 2 is nan"),
        ([1.0, 1.0], [1.0, 0.0], "Pearson", "all scores are 1"),
        ([1.0, 2.0], [1.0, 1.0], "Kendall", "all gold values are 1"),
        ([1.0, 2.0], [1.0, 1.0], "BestF1", "every label is 1"),
        ([1.0, 2.0], [1.0, 0.4], "ROC-AUC", "there is 0.4"),
        ([1.0, 2.0], [1.0, 0.0], "nDCG@10", "needs a ranking with relevance judgements"),
        ([1.0, 2.0], [1.0, 0.0], "FPR(tpr=2)", "tpr must lie"),
        ([1.0, 2.0], [1.0, 0.0], "minDCF(prior=0)", "prior must lie"),
        (["high", 2.0], [1.0, 0.0], "Spearman", "score is not a number"),
    ],
)
def test_mistakes_in_scores_are_one_sentence(scores: list, gold: list, metrics: str, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(UserError, match=message):
        evaluate_scores(scores, gold, metrics)
