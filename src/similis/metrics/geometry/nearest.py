"""Exact nearest neighbours of every row among the others, shared by the measures of local geometry."""

from __future__ import annotations

import numpy as np

from similis.errors import UserError
from similis.metrics.ranked import Floats, Ints

_BLOCK = 1 << 22  # distances held at once


def nearest(vectors: Floats, k: int) -> tuple[Ints, Floats]:
    """Indices and Euclidean distances of the ``k`` nearest other rows, nearest first -> ``[n, k]`` twice.

    Raises:
        UserError: there are no ``k`` other rows.
    """
    rows = np.asarray(vectors, np.float64)
    n = len(rows)
    if n <= k:
        raise UserError(f"the {k} nearest neighbours need more than {k} items, not {n}")
    rows = rows - rows.mean(axis=0)  # distances stay, and lose fewer digits
    squares = np.sum(rows * rows, axis=1)
    step = max(1, _BLOCK // n)
    indices, distances = [], []
    for first in range(0, n, step):
        here = np.arange(first, min(first + step, n))
        squared = squares[here, None] - 2.0 * (rows[here] @ rows.T) + squares
        squared[np.arange(len(here)), here] = np.inf
        near = np.argpartition(squared, k - 1, axis=1)[:, :k]
        order = np.argsort(np.take_along_axis(squared, near, axis=1), axis=1, kind="stable")
        near = np.take_along_axis(near, order, axis=1)
        indices.append(near)
        distances.append(np.sqrt(np.maximum(np.take_along_axis(squared, near, axis=1), 0.0)))
    return np.concatenate(indices), np.concatenate(distances)
