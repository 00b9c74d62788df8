"""Where the judged documents of every query stand: all that a ranking measure ever looks at.

A run of 10,000 queries x 1,000 documents has ten million entries, but only the judged ones carry information.
So the columns below hold one entry for each *judged and retrieved* document, sorted by query and rank, and one
for each judged document in the ideal order; measures are segment sums over them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from similis.metrics.family import Cutoff

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Ranked:
    """Rankings of ``Q`` queries against their judgements, as columns.

    Attributes:
        query_ids: the queries' names, ``Q`` of them.
        query: ``[J]`` index of the query of each retrieved judged document, ascending.
        rank: ``[J]`` its 1-based rank, ascending within a query.
        grade: ``[J]`` its grade.
        judged_query: ``[A]`` index of the query of each judged document, retrieved or not, ascending.
        judged_grade: ``[A]`` its grade, descending within a query (the ideal ranking).
        retrieved: ``[Q]`` how many documents were retrieved.
    """

    query_ids: Sequence[str]
    query: Ints
    rank: Ints
    grade: Floats
    judged_query: Ints
    judged_grade: Floats
    retrieved: Ints

    @property
    def size(self) -> int:
        """Number of queries ``Q``."""
        return len(self.query_ids)

    def total(self, values: Floats, where: Mask | None = None) -> Floats:
        """``[J]`` summed by query -> ``[Q]``, in the order of the ranks."""
        query = self.query
        if where is not None:
            query, values = query[where], values[where]
        sums = np.bincount(query, weights=values, minlength=self.size)
        return sums.astype(np.float64, copy=False)  # bincount of nothing is of integers

    def count(self, where: Mask) -> Floats:
        """``[J]`` mask counted by query -> ``[Q]``."""
        return np.bincount(self.query[where], minlength=self.size).astype(np.float64)

    def running(self, where: Mask) -> Floats:
        """``[J]`` mask counted down each ranking, the entry itself included -> ``[J]``."""
        counts = np.cumsum(where)
        before = np.concatenate([[0], counts])[self.starts[:-1]]
        return np.asarray(counts - before[self.query], np.float64)

    @cached_property
    def starts(self) -> Ints:
        """``[Q + 1]`` where each query's entries start in the ``[J]`` columns."""
        return np.searchsorted(self.query, np.arange(self.size + 1)).astype(np.int64)

    @cached_property
    def ideal_rank(self) -> Ints:
        """``[A]`` 1-based rank of each judged document in the ideal ranking."""
        starts = np.searchsorted(self.judged_query, np.arange(self.size))
        return np.arange(1, len(self.judged_query) + 1) - starts[self.judged_query]

    def relevant(self, level: float) -> Floats:
        """``[Q]`` number of judged documents with a grade of at least ``level``."""
        return np.bincount(self.judged_query[self.judged_grade >= level], minlength=self.size).astype(np.float64)

    def defined(self, values: Floats, level: float) -> Floats:
        """``[Q]`` values with NaN where a query has no document of grade ``level``: such queries are left out."""
        return np.where(self.relevant(level) > 0, values, np.nan)

    def depth(self, cutoff: Cutoff, level: float) -> Floats:
        """``[Q]`` the depth that counts: ``k``, everything, or each query's number of relevant documents."""
        if cutoff == "R":
            return self.relevant(level)
        return np.full(self.size, np.inf if cutoff is None else float(cutoff))

    def within(self, cutoff: Cutoff, level: float) -> Mask:
        """``[J]`` which entries stand within the cut-off."""
        if cutoff == "R":
            return np.asarray(self.rank <= self.relevant(level)[self.query])
        return np.asarray(self.rank <= (np.inf if cutoff is None else cutoff))


def ratio(above: Floats, below: Floats) -> Floats:
    """``above / below``, 0 where ``below`` is 0."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)
