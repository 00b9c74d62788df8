"""Rank-biased precision."""

from __future__ import annotations

import numpy as np

from similis.errors import UserError
from similis.metrics.family import Cutoff, measure
from similis.metrics.ranked import Floats, Ranked
from similis.registry import Source


@measure(
    "RBP",
    "ranking",
    registered="rbp",
    source=Source("Rank-biased precision for measurement of retrieval effectiveness", "Moffat, Zobel", 2008),
)
def rank_biased_precision(ranked: Ranked, *, cutoff: Cutoff = None, p: float = 0.8, rel: int = 1) -> Floats:
    """Relevant documents weighted by the chance ``(1 - p) p^(rank - 1)`` that a reader stops there -> ``[Q]``.

    Raises:
        UserError: the persistence ``p`` is not between 0 and 1.
    """
    if not 0.0 < p < 1.0:
        raise UserError(f"RBP: the persistence p must lie between 0 and 1, not {p}")
    relevant = (ranked.grade >= rel) & ranked.within(cutoff, rel)
    weights = (1.0 - p) * np.power(p, ranked.rank - 1.0)
    return ranked.defined(ranked.total(weights, relevant), rel)
