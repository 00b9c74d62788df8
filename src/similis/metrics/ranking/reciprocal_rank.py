"""Reciprocal rank of the first relevant document."""

from __future__ import annotations

from similis.metrics.family import Cutoff, measure
from similis.metrics.ranked import Floats, Ranked
from similis.registry import Source


@measure(
    "MRR",
    "ranking",
    registered="mrr",
    aliases=("RR", "recip_rank", "reciprocal_rank"),
    source=Source("The TREC-8 question answering track report", "Voorhees", 1999),
)
def reciprocal_rank(ranked: Ranked, *, cutoff: Cutoff = None, rel: int = 1) -> Floats:
    """One over the rank of the first relevant document, 0 where none is found within the cut-off -> ``[Q]``."""
    relevant = ranked.grade >= rel
    first = relevant & (ranked.running(relevant) == 1) & ranked.within(cutoff, rel)
    return ranked.defined(ranked.total(1.0 / ranked.rank, first), rel)
