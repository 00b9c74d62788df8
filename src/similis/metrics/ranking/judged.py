"""How much of a ranking was judged: the first thing to look at when two runs differ."""

from __future__ import annotations

import numpy as np

from similis.metrics.family import Cutoff, measure
from similis.metrics.ranked import Floats, Ranked, ratio
from similis.registry import Source


@measure(
    "Judged",
    "ranking",
    registered="judged",
    source=Source("Retrieval evaluation with incomplete information", "Buckley, Voorhees", 2004),
)
def judged(ranked: Ranked, *, cutoff: Cutoff = None) -> Floats:
    """Share of the first k documents (of all that were retrieved, if fewer) that have a judgement -> ``[Q]``."""
    depth = np.minimum(ranked.depth(cutoff, 1), ranked.retrieved)
    return ratio(ranked.count(ranked.within(cutoff, 1)), depth)
