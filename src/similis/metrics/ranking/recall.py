"""Recall: how much of what is relevant was found."""

from __future__ import annotations

from similis.metrics.family import Cutoff, measure
from similis.metrics.ranked import Floats, Ranked, ratio
from similis.registry import Source


@measure(
    "Recall",
    "ranking",
    registered="recall",
    aliases=("R",),
    source=Source(
        "Machine literature searching VIII: operational criteria for designing information retrieval systems",
        "Kent, Berry, Luehrs, Perry",
        1955,
    ),
)
def recall(ranked: Ranked, *, cutoff: Cutoff = None, rel: int = 1) -> Floats:
    """Share of the relevant documents that stand within the cut-off -> ``[Q]``."""
    found = ranked.count((ranked.grade >= rel) & ranked.within(cutoff, rel))
    return ranked.defined(ratio(found, ranked.relevant(rel)), rel)
