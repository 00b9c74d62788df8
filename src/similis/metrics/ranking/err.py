"""Expected reciprocal rank."""

from __future__ import annotations

import numpy as np

from similis.metrics.family import Cutoff, measure
from similis.metrics.ranked import Floats, Ranked
from similis.registry import Source


@measure(
    "ERR",
    "ranking",
    registered="err",
    source=Source("Expected reciprocal rank for graded relevance", "Chapelle, Metzler, Zhang, Grinspan", 2009),
)
def expected_reciprocal_rank(ranked: Ranked, *, cutoff: Cutoff = None, top: int = 0) -> Floats:
    """Expected 1/rank at which a reader is satisfied; grade g satisfies with chance (2^g - 1) / 2^top -> ``[Q]``.

    ``top`` is the highest grade of the scale; 0 takes the highest grade among the judgements.
    """
    highest = top or max(float(ranked.judged_grade.max(initial=0.0)), 1.0)
    satisfied = (np.exp2(np.clip(ranked.grade, 0.0, highest)) - 1.0) / np.exp2(highest)
    stops = _still_reading(ranked, satisfied) * satisfied / ranked.rank
    return ranked.defined(ranked.total(stops, ranked.within(cutoff, 1e-12)), 1e-12)


def _still_reading(ranked: Ranked, satisfied: Floats) -> Floats:
    """``[J]`` product of ``1 - satisfied`` over the entries above, one step for each place in the longest query."""
    starts, lengths = ranked.starts[:-1], np.diff(ranked.starts)
    reading = np.ones(len(satisfied))
    for place in range(1, int(lengths.max(initial=0))):
        here = starts[lengths > place] + place
        reading[here] = reading[here - 1] * (1.0 - satisfied[here - 1])
    return reading
