"""Binary preference: made for incomplete judgements."""

from __future__ import annotations

import numpy as np

from similis.metrics.family import measure
from similis.metrics.ranked import Floats, Ranked, ratio
from similis.registry import Source


@measure(
    "Bpref",
    "ranking",
    registered="bpref",
    source=Source("Retrieval evaluation with incomplete information", "Buckley, Voorhees", 2004),
)
def bpref(ranked: Ranked, *, rel: int = 1) -> Floats:
    """How seldom documents judged not relevant stand above relevant ones; unjudged ones are ignored -> ``[Q]``."""
    relevant = ranked.grade >= rel
    worse = (ranked.grade >= 0) & ~relevant
    wanted = ranked.relevant(rel)
    bound = np.minimum(wanted, ranked.relevant(0) - ranked.relevant(max(rel, 0)))
    above = np.minimum(ranked.running(worse), wanted[ranked.query])
    preferred = 1.0 - ratio(above, bound[ranked.query])
    return ranked.defined(ratio(ranked.total(preferred, relevant), wanted), rel)
