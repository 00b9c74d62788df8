"""Are probabilities true? Of what is given 70%, 70% should come to pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from similis.errors import UserError
from similis.metrics.family import measure
from similis.metrics.ranked import Floats, Ints
from similis.metrics.scored.scored import Scored
from similis.registry import Source


@measure(
    "Brier",
    "probabilities",
    registered="brier",
    higher_is_better=False,
    source=Source("Verification of forecasts expressed in terms of probability", "Brier", 1950),
)
def brier(data: Scored, weights: Floats) -> Floats:
    """Mean squared distance of probabilities and outcomes, for weights ``[b, n]`` -> ``[b]``."""
    return np.asarray(weights @ (data.scores - data.gold) ** 2 / weights.sum(axis=1))


@measure(
    "ECE",
    "probabilities",
    registered="ece",
    choices={"edges": ("mass", "width")},
    higher_is_better=False,
    source=Source("Measuring calibration in deep learning", "Nixon et al.", 2019),
)
def expected_calibration_error(data: Scored, weights: Floats, *, bins: int = 15, edges: str = "mass") -> Floats:
    """Mean distance, over bins, of the mean probability and the share of outcomes, for weights ``[b, n]`` -> ``[b]``.

    ``edges=mass`` (adaptive) puts equally many predictions into each bin; ``edges=width`` divides [0, 1] evenly, as
    Guo et al., "On calibration of modern neural networks" (2017), do.

    Raises:
        UserError: ``bins`` is below 1.
    """
    place = bin_of(data.scores, bins, edges)
    gap = weights * (data.scores - data.gold)
    total = sum(np.abs(gap[:, place == each].sum(axis=1)) for each in range(bins))
    return np.asarray(total / weights.sum(axis=1))


def bin_of(probabilities: Floats, bins: int, edges: str) -> Ints:
    """The bin of each probability ``[n]``, from 0; equally filled bins differ by one prediction at most -> ``[n]``."""
    if bins < 1:
        raise UserError(f"ECE: there must be at least 1 bin, not {bins}")
    if edges == "width":  # upper edges belong to their bin, as in Guo et al.
        return np.clip(np.ceil(probabilities * bins).astype(np.int64) - 1, 0, bins - 1)
    place = np.empty(len(probabilities), np.int64)
    order = np.argsort(probabilities, kind="stable")
    place[order] = np.repeat(np.arange(bins), [len(part) for part in np.array_split(order, bins)])
    return place


@dataclass(frozen=True)
class Curve:
    """A reliability curve and what it explains of the Brier score.

    Attributes:
        predicted: ``[c]`` mean probability of each filled bin.
        observed: ``[c]`` share of outcomes in it.
        count: ``[c]`` predictions in it.
        reliability: mean squared gap of the two; 0 if calibrated.
        resolution: variance of ``observed``: how far the bins tell outcomes apart.
        uncertainty: variance of the outcomes; reliability - resolution + uncertainty is the Brier score of the binned
            predictions.
    """

    predicted: Floats
    observed: Floats
    count: Floats
    reliability: float
    resolution: float
    uncertainty: float


def reliability_curve(data: Scored, bins: int = 15, edges: str = "mass") -> Curve:
    """Reliability by bins, and the decomposition of the Brier score.

    Murphy, "A new vector partition of the probability score", 1973.
    """
    place = bin_of(data.scores, bins, edges)
    count = np.bincount(place, minlength=bins).astype(np.float64)
    filled = count > 0
    predicted = np.bincount(place, data.scores, bins)[filled] / count[filled]
    observed = np.bincount(place, data.gold, bins)[filled] / count[filled]
    share, base = count[filled] / data.size, float(data.gold.mean())
    return Curve(
        predicted,
        observed,
        count[filled],
        float(np.sum(share * (predicted - observed) ** 2)),
        float(np.sum(share * (observed - base) ** 2)),
        base * (1.0 - base),
    )
