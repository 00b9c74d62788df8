"""Verification: error rates at the operating points that biometrics and open-set recognition report."""

from __future__ import annotations

import numpy as np

from similis.errors import UserError
from similis.metrics.family import measure
from similis.metrics.ranked import Floats
from similis.metrics.scored.scored import Scored, divided
from similis.registry import Source


def _rates(data: Scored, weights: Floats) -> tuple[Floats, Floats]:
    """Misses and false alarms from "accept nothing" to "accept all" -> ``[b, t + 1]`` twice."""
    true, false = data.accepted(weights)
    misses, alarms = 1.0 - divided(true, true[:, -1:]), divided(false, false[:, -1:])
    return np.pad(misses, ((0, 0), (1, 0)), constant_values=1.0), np.pad(alarms, ((0, 0), (1, 0)))


@measure(
    "EER",
    "scores",
    registered="eer",
    aliases=("equal_error_rate",),
    higher_is_better=False,
    source=Source("The DET curve in assessment of detection task performance", "Martin et al.", 1997),
)
def equal_error_rate(data: Scored, weights: Floats) -> Floats:
    """The rate at which misses equal false alarms (linear between thresholds), for weights ``[b, n]`` -> ``[b]``."""
    misses, alarms = _rates(data, weights)
    excess = alarms - misses
    after = np.argmax(excess >= 0, axis=1)
    rows = np.arange(len(excess))
    step = divided(-excess[rows, after - 1], excess[rows, after] - excess[rows, after - 1])
    return np.asarray(alarms[rows, after - 1] + step * (alarms[rows, after] - alarms[rows, after - 1]))


@measure(
    "FPR",
    "scores",
    registered="fpr_at_tpr",
    aliases=("FPR95",),
    higher_is_better=False,
    source=Source(
        "Enhancing the reliability of out-of-distribution image detection in neural networks",
        "Liang, Li, Srikant",
        2018,
    ),
)
def false_positive_rate(data: Scored, weights: Floats, *, tpr: float = 0.95) -> Floats:
    """False alarms at the highest threshold that accepts a share ``tpr`` of the positives -> ``[b]``.

    Raises:
        UserError: ``tpr`` is not in (0, 1].
    """
    if not 0.0 < tpr <= 1.0:
        raise UserError(f"FPR: tpr must lie above 0 and at most at 1, not {tpr}")
    misses, alarms = _rates(data, weights)
    reached = np.argmax(1.0 - misses >= tpr - 1e-12, axis=1)
    return np.asarray(alarms[np.arange(len(alarms)), reached])


@measure(
    "minDCF",
    "scores",
    registered="min_dcf",
    higher_is_better=False,
    source=Source("The NIST 1999 speaker recognition evaluation: an overview", "Martin, Przybocki", 2000),
)
def minimum_detection_cost(data: Scored, weights: Floats, *, prior: float = 0.01, miss: float = 1.0) -> Floats:
    """Lowest expected cost over thresholds, relative to deciding without scores, for weights ``[b, n]`` -> ``[b]``.

    ``prior`` is the share of positives where it will be used; ``miss`` the cost of a miss, a false alarm costing 1.

    Raises:
        UserError: ``prior`` is not in (0, 1) or ``miss`` is not positive.
    """
    if not 0.0 < prior < 1.0 or miss <= 0.0:
        raise UserError(f"minDCF: prior must lie between 0 and 1 and miss above 0, not {prior} and {miss}")
    misses, alarms = _rates(data, weights)
    cost = miss * prior * misses + (1.0 - prior) * alarms
    return np.asarray(cost.min(axis=1) / min(miss * prior, 1.0 - prior))
