"""Bootstrap: resamples as weight vectors, intervals from them.

A resample of n items drawn with replacement is a vector of n counts that sum to n. Means of many measures over
many resamples are then one matrix product, and any statistic that takes weights can be resampled exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from similis.metrics.ranked import Floats

LEVEL = 0.95
RESAMPLES = 10_000
_BLOCK = 1 << 21  # weights held at once


def weights(n: int, resamples: int = RESAMPLES, seed: int = 0) -> Iterator[npt.NDArray[np.float64]]:
    """Blocks ``[b, n]`` of resample counts, ``resamples`` rows in all; the same for the same arguments."""
    generator = np.random.default_rng(seed)
    block = max(1, min(resamples, _BLOCK // max(n, 1)))
    kind = np.uint16 if n <= 1 << 16 else np.int64
    for first in range(0, resamples, block):
        rows = min(block, resamples - first)
        drawn = generator.integers(0, n, size=(rows, n), dtype=kind).astype(np.int64)
        drawn += np.arange(rows)[:, None] * n
        yield np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)


def resample(statistic: Callable[[Floats], Floats], n: int, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """``statistic`` of weights ``[b, n] -> [b, ...]``, over all resamples -> ``[resamples, ...]``."""
    return np.concatenate([statistic(block) for block in weights(n, resamples, seed)])


def mean_samples(values: Floats, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """Means of the columns of ``values`` ``[n, m]``, NaN left out, in every resample -> ``[resamples, m]``."""
    known = ~np.isnan(values)
    both = np.concatenate([np.where(known, values, 0.0), known], axis=1)
    sums = resample(lambda block: block @ both, len(values), resamples, seed)
    columns = values.shape[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(sums[:, :columns] / sums[:, columns:])


def percentile_interval(samples: Floats, level: float = LEVEL) -> tuple[float, float]:
    """The central ``level`` of the resampled values ``[B]`` (Efron, 1979)."""
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bca_interval(samples: Floats, value: float, jackknife: Floats, level: float = LEVEL) -> tuple[float, float]:
    """Bias-corrected and accelerated interval (Efron, "Better bootstrap confidence intervals", 1987).

    Args:
        samples: ``[B]`` resampled values.
        value: the statistic on the data.
        jackknife: ``[n]`` the statistic with each item left out in turn.
        level: coverage wanted, between 0 and 1.
    """
    from scipy.special import ndtr, ndtri

    below = np.mean(samples < value) + np.mean(samples == value) / 2
    if not 0.0 < below < 1.0 or np.ptp(jackknife) == 0.0:
        return percentile_interval(samples, level)
    bias = ndtri(below)
    pull = jackknife.mean() - jackknife
    acceleration = np.sum(pull**3) / (6.0 * np.sum(pull**2) ** 1.5)
    tails = bias + ndtri(np.array([(1 - level) / 2, (1 + level) / 2]))
    levels = ndtr(bias + tails / (1.0 - acceleration * tails))
    low, high = np.quantile(samples, levels)
    return float(low), float(high)


def leave_one_out_means(values: Floats) -> Floats:
    """Means of ``values`` ``[n]`` without each entry in turn -> ``[n]``."""
    return np.asarray((values.sum() - values) / (len(values) - 1))
