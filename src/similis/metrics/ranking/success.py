"""Success (hit rate): was anything relevant found at all?"""

from __future__ import annotations

import numpy as np

from similis.metrics.family import Cutoff, measure
from similis.metrics.ranked import Floats, Ranked
from similis.registry import Source


@measure(
    "Success",
    "ranking",
    registered="success",
    aliases=("HitRate", "Hit", "Hits", "hit_rate"),
    source=Source(
        "Experiments with language models for known-item finding of e-mail messages", "Ogilvie, Callan", 2005
    ),
)
def success(ranked: Ranked, *, cutoff: Cutoff, rel: int = 1) -> Floats:
    """1 where a relevant document stands within the first k, else 0 -> ``[Q]``."""
    found = ranked.count((ranked.grade >= rel) & ranked.within(cutoff, rel))
    return ranked.defined(np.minimum(found, 1.0), rel)
