"""Scores of pairs beside their gold values, and the curve of true against false positives under weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from similis.metrics.ranked import Floats


@dataclass(frozen=True)
class Scored:
    """``n`` pairs with a score each, and what it should be.

    Every measure takes weights ``[b, n]``, one row a bootstrap resample, and gives ``[b]`` values; a weight counts
    how often the pair occurs, so that a row of ones is the data itself.

    Attributes:
        scores: ``[n]`` higher is more similar.
        gold: ``[n]`` gold similarity in any unit, or 0/1 for "same or not".
    """

    scores: Floats
    gold: Floats

    @property
    def size(self) -> int:
        """Number of pairs ``n``."""
        return len(self.scores)

    @cached_property
    def thresholds(self) -> Floats:
        """``[t]`` distinct scores, descending: accepting scores of at least ``thresholds[i]`` is the i-th decision."""
        return np.asarray(np.flip(np.unique(self.scores)))

    def accepted(self, weights: Floats) -> tuple[Floats, Floats]:
        """True and false positives at each threshold, for weights ``[b, n]`` -> ``[b, t]`` twice."""
        order, starts = self._order
        sorted_weights, gold = weights[:, order], self.gold[order]
        true = np.add.reduceat(sorted_weights * gold, starts, axis=1)
        false = np.add.reduceat(sorted_weights * (1.0 - gold), starts, axis=1)
        return np.cumsum(true, axis=1), np.cumsum(false, axis=1)

    @cached_property
    def _order(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        order = np.argsort(-self.scores, kind="stable")
        return order, np.flatnonzero(np.diff(self.scores[order], prepend=np.inf))


def divided(above: Floats, below: Floats) -> Floats:
    """``above / below``, NaN where ``below`` is 0: the measure has no value in that resample."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(below != 0, above / below, np.nan))
