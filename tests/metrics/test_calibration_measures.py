"""Calibration measures against scikit-learn, loops over bins, and Murphy's identity."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from similis.errors import UserError
from similis.evaluation import evaluate_probabilities
from similis.metrics import parse
from similis.metrics.calibration import reliability_curve
from similis.metrics.scored import Scored


def overconfident(n: int = 300, seed: int = 0) -> Scored:
    rng = np.random.default_rng(seed)
    truth = rng.random(n)
    return Scored(np.clip(truth + 0.4 * (truth - 0.5), 0.0, 1.0), (rng.random(n) < truth).astype(float))


def one(data: Scored) -> np.ndarray:
    return np.ones((1, data.size))


def test_brier_equals_scikit_learn() -> None:
    data = overconfident()
    assert parse("Brier").compute(data, one(data)) == pytest.approx([brier_score_loss(data.gold, data.scores)])


def test_equal_mass_ece_equals_the_loop_over_sorted_bins() -> None:
    data = overconfident()
    order = np.argsort(data.scores)
    gaps = [len(b) / 300 * abs(data.scores[b].mean() - data.gold[b].mean()) for b in np.array_split(order, 15)]
    assert parse("ECE").compute(data, one(data)) == pytest.approx([sum(gaps)])


def test_equal_width_ece_equals_the_loop_over_intervals() -> None:
    data = overconfident()
    total = 0.0
    for low in np.arange(10) / 10:
        inside = (data.scores > low) & (data.scores <= low + 0.1 + 1e-12) | ((low == 0) & (data.scores == 0))
        if inside.any():
            total += inside.mean() * abs(data.scores[inside].mean() - data.gold[inside].mean())
    assert parse("ECE(bins=10, edges=width)").compute(data, one(data)) == pytest.approx([total])


def test_the_decomposition_adds_up_to_the_brier_score_of_binned_predictions() -> None:
    rng = np.random.default_rng(1)
    levels = rng.choice([0.1, 0.35, 0.6, 0.9], 400)
    data = Scored(levels, (rng.random(400) < levels).astype(float))
    curve = reliability_curve(data, bins=20, edges="width")
    assert curve.predicted == pytest.approx([0.1, 0.35, 0.6, 0.9])
    parts = curve.reliability - curve.resolution + curve.uncertainty
    assert parts == pytest.approx(brier_score_loss(data.gold, data.scores))


def test_calibrated_probabilities_score_better_than_overconfident_ones() -> None:
    data = overconfident(2000)
    truth = (data.scores + 0.2) / 1.4
    good, bad = (evaluate_probabilities(p, data.gold, resamples=500) for p in (truth, data.scores))
    assert good["ECE"].mean < bad["ECE"].mean
    assert bad["Brier"].interval is not None


@pytest.mark.parametrize(
    ("probabilities", "outcomes", "metrics", "message"),
    [
        ([0.5, 1.5], [0, 1], "ECE", "probability of pair 2 is 1.5"),
        ([0.5, 0.5], [0, 2], "ECE", "outcome of pair 2 is 2"),
        ([0.5, 0.5], [0, 0.5], "ECE", "outcome of pair 2 is 0.5"),
        ([0.5, 0.5], [0, 1], "ECE(bins=0)", "at least 1 bin"),
        ([0.5, 0.5], [0, 1], "Spearman", "needs one score and one gold value"),
    ],
)
def test_mistakes_in_probabilities_are_one_sentence(
    probabilities: list[float], outcomes: list[float], metrics: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        evaluate_probabilities(probabilities, outcomes, metrics)
