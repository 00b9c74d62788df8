"""What an evaluation returns: a score with its interval and per-query values for every measure asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from similis.errors import UserError, did_you_mean
from similis.metrics.parsing import parse
from similis.metrics.ranked import Floats


@dataclass(frozen=True)
class Score:
    """One measure's value.

    Attributes:
        metric: the measure as text, ``nDCG@10``.
        mean: the value: the mean over queries, or the statistic over all pairs or items.
        interval: 95% bootstrap interval (lower, upper); None where none was asked for or there is one query only.
        n: how many queries (pairs, items) the value rests on.
        excluded: how many more were left out because the measure is undefined for them.
        query_ids: the ``n`` queries; empty for a statistic that has no value for a single pair.
        values: ``[n]`` their values.
        samples: ``[B]`` the value in every bootstrap resample.
        detail: further numbers, such as the threshold at which a best F1 was reached.
    """

    metric: str
    mean: float
    interval: tuple[float, float] | None
    n: int
    excluded: int = 0
    query_ids: Sequence[str] = field(default=(), repr=False)
    values: Floats = field(default_factory=lambda: np.zeros(0), repr=False)
    samples: Floats | None = field(default=None, repr=False, compare=False)
    detail: dict[str, float] = field(default_factory=dict)

    @cached_property
    def per_query(self) -> dict[str, float]:
        """The value of every query, by its id."""
        return dict(zip(self.query_ids, self.values.tolist(), strict=True))

    def as_dict(self, per_query: bool = False) -> dict[str, Any]:
        """Plain data for JSON."""
        result: dict[str, Any] = {
            "mean": self.mean,
            "interval": None if self.interval is None else list(self.interval),
            "n": self.n,
            "excluded": self.excluded,
        }
        if self.detail:
            result["detail"] = self.detail
        if per_query and len(self.query_ids):
            result["per_query"] = self.per_query
        return result


@dataclass(frozen=True)
class Report:
    """All measures of one evaluation.

    Attributes:
        metrics: scores by the measures' text, in the order asked for.
        notes: sentences on what was left out, assumed or surprising.
        excluded: queries without any relevant document: no ranking can be right or wrong on them.
        setting: seed, resamples and the kind of interval.
    """

    metrics: dict[str, Score]
    notes: list[str] = field(default_factory=list)
    excluded: tuple[str, ...] = ()
    setting: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, metric: str) -> Score:
        """The score of a measure in any of its spellings.

        Raises:
            UserError: the measure is unknown or not in this report.
        """
        name = metric if metric in self.metrics else str(parse(metric))
        if name not in self.metrics:
            names = ", ".join(self.metrics)
            raise UserError(f"{name} was not evaluated{did_you_mean(name, self.metrics)}; the report has {names}")
        return self.metrics[name]

    def as_dict(self, per_query: bool = False) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "metrics": {name: score.as_dict(per_query) for name, score in self.metrics.items()},
            "notes": list(self.notes),
            "excluded": list(self.excluded),
            "setting": dict(self.setting),
        }

    def as_text(self) -> str:
        """A table for people, the notes below it."""
        width = max(len("measure"), *map(len, self.metrics))
        lines = [f"{'measure':<{width}}  {'value':>7}  {'95% interval':<16}  {'n':>6}"]
        for name, score in self.metrics.items():
            interval = "" if score.interval is None else f"{score.interval[0]:.4f} – {score.interval[1]:.4f}"
            lines.append(f"{name:<{width}}  {score.mean:>7.4f}  {interval:<16}  {score.n:>6}")
        return "\n".join(lines + [f"- {note}" for note in self.notes])
