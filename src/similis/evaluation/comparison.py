"""Is B really better than A? Two reports compared over the queries they share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from similis.errors import UserError, did_you_mean
from similis.evaluation import statistics
from similis.evaluation.report import Report, Score
from similis.metrics.parsing import parse
from similis.metrics.ranked import Floats

TESTS = ("randomization", "t")


@dataclass(frozen=True)
class Comparison:
    """Two systems on one measure; differences are first minus second.

    Attributes:
        metric: the measure as text.
        difference: of the means over the common queries.
        interval: its 95% bootstrap interval.
        p: two-sided p value of the hypothesis that they are equal.
        effect: Cohen's d_z; None for a statistic without per-query values.
        n: how many queries either system was measured on.
        n_common: how many both were measured on; the test rests on these.
        test: how ``p`` was computed.
        detectable: the smallest true difference that so many queries show with 80% power; None likewise.
        better: ``"first"``, ``"second"`` or ``"neither"`` at the 5% level, in the measure's direction.
        note: what a reader must know, empty if nothing.
    """

    metric: str
    difference: float
    interval: tuple[float, float]
    p: float
    effect: float | None
    n: int
    n_common: int
    test: str
    detectable: float | None
    better: str
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "interval": list(self.interval)}

    def as_text(self) -> str:
        """One sentence."""
        low, high = self.interval
        verdict = "cannot be told apart" if self.better == "neither" else f"the {self.better} is better"
        seen = "" if self.detectable is None else f"; {self.n_common} queries can show {self.detectable:.4f}"
        return f"{self.metric}: {self.difference:+.4f} [{low:+.4f}, {high:+.4f}], p = {self.p:.2g}: {verdict}{seen}"


def compare_reports(a: Report, b: Report, metric: str, test: str = "randomization", seed: int = 0) -> Comparison:
    """Compare two reports on one measure, query by query where it has per-query values.

    Args:
        a: the first report; positive differences are in its favour (if higher is better).
        b: the second.
        metric: a measure in both.
        test: ``randomization`` or ``t``; a statistic over all pairs (Spearman, …) is compared by the bootstrap.
        seed: of the randomisation and the bootstrap.

    Raises:
        UserError: a measure or test that is not there, or fewer than two common queries.
    """
    if test not in TESTS:
        raise UserError(f"there is no test {test!r}{did_you_mean(test, TESTS)}; take {' or '.join(TESTS)}")
    first, second = a[metric], b[metric]
    if not len(first.query_ids) or not len(second.query_ids):
        return _by_bootstrap(first, second, a, b)
    d, n, common = _differences(first, second)
    p = statistics.paired_t(d) if test == "t" else statistics.paired_randomization(d, seed=seed)
    note = "" if common == n else f"only the {common} queries in common, of {n}, were compared"
    difference = float(d.mean())
    return Comparison(
        first.metric,
        difference,
        statistics.bootstrap_difference(d, seed=seed),
        p,
        statistics.effect_size(d),
        n,
        common,
        test,
        statistics.minimum_detectable_difference(common, float(d.std(ddof=1))),
        _better(first.metric, difference, p),
        note,
    )


def compare_all(
    reports: Mapping[str, Report], metric: str, test: str = "randomization", seed: int = 0
) -> dict[tuple[str, str], Comparison]:
    """Every pair of reports on one measure, p values corrected by Holm for the number of pairs."""
    found = {
        (one, other): compare_reports(reports[one], reports[other], metric, test, seed)
        for one, other in combinations(reports, 2)
    }
    corrected = statistics.holm([comparison.p for comparison in found.values()])
    return {
        pair: replace(comparison, p=float(p), better=_better(comparison.metric, comparison.difference, p))
        for (pair, comparison), p in zip(found.items(), corrected, strict=True)
    }


def _differences(first: Score, second: Score) -> tuple[Floats, int, int]:
    """Per-query differences over the common queries, how many queries there are in all, and in common."""
    if tuple(first.query_ids) == tuple(second.query_ids):
        return first.values - second.values, first.n, first.n
    ours, theirs = first.per_query, second.per_query
    common = [query for query in ours if query in theirs]
    if len(common) < 2:
        raise UserError(f"the two reports share {len(common)} queries for {first.metric}; a paired test needs 2")
    d = np.array([ours[query] - theirs[query] for query in common])
    return d, len(ours.keys() | theirs.keys()), len(common)


def _by_bootstrap(first: Score, second: Score, a: Report, b: Report) -> Comparison:
    """Statistics without per-query values: both reports drew the same resamples, so their differences are paired."""
    mine, theirs = first.samples, second.samples
    if mine is None or theirs is None or first.n != second.n or a.setting != b.setting or len(mine) != len(theirs):
        raise UserError(
            f"{first.metric} of the two reports cannot be compared: evaluate both on the same pairs with the same seed"
        )
    drawn = mine - theirs
    tail = min(np.count_nonzero(drawn <= 0), np.count_nonzero(drawn >= 0))
    p = min(1.0, 2.0 * (tail + 1) / (len(drawn) + 1))
    difference = first.mean - second.mean
    low, high = np.quantile(drawn, [0.025, 0.975])
    better = _better(first.metric, difference, p)
    interval = (float(low), float(high))
    return Comparison(first.metric, difference, interval, p, None, first.n, first.n, "bootstrap", None, better)


def _better(metric: str, difference: float, p: float) -> str:
    if p >= 0.05 or difference == 0.0:
        return "neither"
    return "first" if (difference > 0) == parse(metric).family.higher_is_better else "second"
