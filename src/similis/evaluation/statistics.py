"""Paired tests, effect sizes and the difference that can be seen with so many queries.

Everything takes the per-query differences of two systems, ``[n]``: what varies between queries then cancels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from similis.errors import UserError
from similis.evaluation import bootstrap
from similis.metrics.ranked import Floats

EXACT = 12  # up to so many queries all 2^n sign patterns are enumerated
_BLOCK = 1 << 22  # signs held at once


def paired_t(differences: Floats) -> float:
    """Two-sided p value of Student's paired t test ("The probable error of a mean", 1908) for ``[n]`` differences."""
    from scipy.special import stdtr

    d = _checked(differences)
    spread = d.std(ddof=1)
    if spread == 0.0:
        return 1.0 if d.mean() == 0.0 else 0.0
    return float(2.0 * stdtr(len(d) - 1, -abs(d.mean()) / (spread / np.sqrt(len(d)))))


def paired_randomization(differences: Floats, rounds: int = 10_000, seed: int = 0) -> float:
    """Two-sided p value of Fisher's randomisation test: under equality each difference may have either sign.

    Exact for up to 12 differences; else ``rounds`` random sign patterns, with the observed one counted among them
    (Phipson and Smyth, "Permutation p-values should never be zero", 2010). Recommended for retrieval by Smucker,
    Allan and Carterette, "A comparison of statistical significance tests for information retrieval evaluation", 2007.
    """
    d = _checked(differences)
    bar = abs(d.sum()) * (1.0 - 1e-12) - 1e-15  # a pattern that ties with the observed one counts as extreme
    if len(d) <= EXACT:
        patterns = 1.0 - 2.0 * ((np.arange(1 << len(d))[:, None] >> np.arange(len(d))) & 1)
        return float(np.mean(np.abs(patterns @ d) >= bar))
    generator = np.random.default_rng(seed)
    extreme, block = 0, max(1, _BLOCK // len(d))
    for first in range(0, rounds, block):
        rows = min(block, rounds - first)
        width = -(-len(d) // 8)
        bits = np.unpackbits(generator.integers(0, 256, (rows, width), dtype=np.uint8), axis=1, count=len(d))
        extreme += int(np.count_nonzero(np.abs(2.0 * (bits @ d) - d.sum()) >= bar))
    return (extreme + 1) / (rounds + 1)


def bootstrap_difference(
    differences: Floats, resamples: int = bootstrap.RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """95% BCa interval of the mean of the ``[n]`` differences."""
    d = _checked(differences)
    samples = bootstrap.mean_samples(d[:, None], resamples, seed)[:, 0]
    return bootstrap.bca_interval(samples, float(d.mean()), bootstrap.leave_one_out_means(d))


def holm(p_values: Sequence[float] | Floats) -> npt.NDArray[Any]:
    """p values ``[m]`` corrected for the number of tests -> ``[m]``.

    Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    corrected = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    result = np.empty(len(p))
    result[order] = np.minimum(corrected, 1.0)
    return result


def effect_size(differences: Floats) -> float:
    """Cohen's d_z (1988): the mean of the ``[n]`` differences over their standard deviation; 0 where none differs."""
    d = _checked(differences)
    spread = d.std(ddof=1)
    if spread == 0.0:
        return 0.0 if d.mean() == 0.0 else float(np.copysign(np.inf, d.mean()))
    return float(d.mean() / spread)


def minimum_detectable_difference(n: int, deviation: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """The smallest true mean difference that a paired t test over ``n`` queries finds with chance ``power``.

    Args:
        n: number of queries, at least 2.
        deviation: standard deviation of the per-query differences, in the measure's unit.
        power: chance to find it, between 0 and 1.
        alpha: significance level of the two-sided test.
    """
    from scipy.special import nctdtr, nctdtrinc, stdtrit

    if n < 2:
        raise UserError(f"a paired test needs at least 2 queries, not {n}")
    critical = stdtrit(n - 1, 1.0 - alpha / 2.0)
    noncentrality = nctdtrinc(n - 1, 1.0 - power, critical)
    if not np.isfinite(noncentrality) or abs(nctdtr(n - 1, noncentrality, critical) - (1.0 - power)) > 1e-6:
        noncentrality = critical + stdtrit(n - 1, power)  # where the inverse does not converge
    return float(noncentrality * deviation / np.sqrt(n))


def queries_needed(difference: float, deviation: float, power: float = 0.8, alpha: float = 0.05) -> int:
    """How many queries a paired t test needs to find a true mean ``difference`` with chance ``power``."""
    if difference == 0.0:
        raise UserError("no number of queries tells apart two systems that do not differ")
    low, high = 2, 4
    while minimum_detectable_difference(high, deviation, power, alpha) > abs(difference):
        low, high = high, high * 2
        if high > 1 << 40:
            raise UserError(f"a difference of {difference:g} is too small to be found")
    while low < high:
        middle = (low + high) // 2
        if minimum_detectable_difference(middle, deviation, power, alpha) > abs(difference):
            low = middle + 1
        else:
            high = middle
    return high


def _checked(differences: Floats) -> Floats:
    d = np.asarray(differences, np.float64)
    if d.ndim != 1 or len(d) < 2:
        raise UserError(f"a paired test needs at least 2 queries in common, not {d.size}")
    if np.isnan(d).any():
        raise UserError("a paired test cannot take values that are not numbers (NaN)")
    return d
