"""The one loop of Kendall's tau, compiled: O(n log n) a resample with a binary indexed tree."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from similis.compiled import compiled


@compiled
def concordance(
    x: npt.NDArray[Any], y: npt.NDArray[Any], weights: npt.NDArray[Any]
) -> npt.NDArray[Any]:  # pragma: no cover - compiled
    """Weighted counts over all pairs of items, item i occurring ``weights[b, i]`` times.

    Args:
        x: ``[n]`` dense ranks from 0, ascending.
        y: ``[n]`` dense ranks from 0.
        weights: ``[b, n]``.

    Returns:
        ``[b, 3]``: concordant less discordant, tied in x, tied in y.
    """
    n, highest = len(x), y.max() + 1
    result = np.zeros((len(weights), 3))
    for b in range(len(weights)):
        tree = np.zeros(highest + 1)
        level = np.zeros(highest)
        total, first = 0.0, 0
        while first < n:
            last, group = first, 0.0
            while last < n and x[last] == x[first]:
                w = weights[b, last]
                if w > 0.0:
                    group += w
                    below, i = 0.0, y[last]
                    while i > 0:
                        below += tree[i]
                        i -= i & -i
                    result[b, 0] += w * (2.0 * below + level[y[last]] - total)  # below - (total - below - equal)
                last += 1
            for k in range(first, last):
                w = weights[b, k]
                if w > 0.0:
                    level[y[k]] += w
                    i = y[k] + 1
                    while i <= highest:
                        tree[i] += w
                        i += i & -i
            result[b, 1] += group * (group - 1.0) / 2.0
            total += group
            first = last
        for k in range(highest):
            result[b, 2] += level[k] * (level[k] - 1.0) / 2.0
    return result
