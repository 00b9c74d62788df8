"""Normalised discounted cumulative gain."""

from __future__ import annotations

import numpy as np

from similis.metrics.family import Cutoff, measure
from similis.metrics.ranked import Floats, Ranked, ratio
from similis.registry import Source


def _gain(grade: Floats, gains: str) -> Floats:
    """Grades below 0 gain nothing, as in trec_eval."""
    grade = np.maximum(grade, 0.0)
    return np.exp2(grade) - 1.0 if gains == "exp" else grade


@measure(
    "nDCG",
    "ranking",
    registered="ndcg",
    aliases=("ndcg_cut",),
    choices={"gains": ("linear", "exp")},
    source=Source("Cumulated gain-based evaluation of IR techniques", "Järvelin, Kekäläinen", 2002),
)
def ndcg(ranked: Ranked, *, cutoff: Cutoff = None, gains: str = "linear") -> Floats:
    """Gain of the ranking, discounted by log2(rank + 1), over that of the ideal ranking -> ``[Q]``.

    ``gains=linear`` (the grade itself) is trec_eval's; ``gains=exp`` is ``2^grade - 1`` of Burges et al. (2005).
    """
    depth = ranked.depth(cutoff, level=1e-12)
    inside, ideally = ranked.within(cutoff, level=1e-12), ranked.ideal_rank <= depth[ranked.judged_query]
    dcg = ranked.total(_gain(ranked.grade, gains) / np.log2(ranked.rank + 1.0), inside)
    ideal = _gain(ranked.judged_grade, gains) / np.log2(ranked.ideal_rank + 1.0)
    best = np.bincount(ranked.judged_query[ideally], weights=ideal[ideally], minlength=ranked.size).astype(float)
    return np.where(best > 0, ratio(dcg, best), np.nan)
