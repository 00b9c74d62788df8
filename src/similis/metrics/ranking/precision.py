"""Precision within the first k, and at R."""

from __future__ import annotations

import numpy as np

from similis.metrics.family import Cutoff, measure
from similis.metrics.ranked import Floats, Ranked, ratio
from similis.registry import Source


@measure(
    "P",
    "ranking",
    registered="precision",
    aliases=("Prec",),
    source=Source(
        "Machine literature searching VIII: operational criteria for designing information retrieval systems",
        "Kent, Berry, Luehrs, Perry",
        1955,
    ),
)
def precision(ranked: Ranked, *, cutoff: Cutoff, rel: int = 1) -> Floats:
    """Share of the first k documents that are relevant; a shorter ranking counts as filled up -> ``[Q]``."""
    found = ranked.count((ranked.grade >= rel) & ranked.within(cutoff, rel))
    return ranked.defined(ratio(found, ranked.depth(cutoff, rel)), rel)


@measure(
    "Rprec",
    "ranking",
    registered="r_precision",
    source=Source("Overview of the second text retrieval conference (TREC-2)", "Harman", 1994),
)
def r_precision(ranked: Ranked, *, rel: int = 1) -> Floats:
    """Share of the first R documents that are relevant, R the query's number of relevant documents -> ``[Q]``."""
    return np.asarray(precision(ranked, cutoff="R", rel=rel))
