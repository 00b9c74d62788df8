"""Balanced clusters of embeddings: what a model finds alike, in groups of equal size."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from similis.sampling.base import Integers

Floats: TypeAlias = NDArray[np.float32]

#: Passes of the search for two centres; the halves seldom change after a few.
_PASSES = 8
#: Where first centres are poor, halves stay poor: few rows are worth several tries.
_TRIES, _FEW = 5, 4096


def balanced_clusters(vectors: Floats, size: int, generator: np.random.Generator) -> Integers:
    """The cluster of each row, int64 ``[n]``: halved by two centres until a cluster has at most ``size`` rows.

    A halving is 2-means over directions in which both halves keep the same number of rows: rows are ordered by how
    much nearer they are to the one centre than to the other, and cut in the middle. Clusters are numbered so that
    those which were parted last are neighbours.

    Args:
        vectors: embeddings ``[n, d]``, compared by cosine.
        size: most rows of a cluster, at least 1.
        generator: the first centres.
    """
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    found, number = np.zeros(len(units), np.int64), 0
    waiting = [np.arange(len(units))]
    while waiting:
        rows = waiting.pop()
        if len(rows) <= size:
            found[rows] = number
            number += 1
            continue
        near, far = _halves(units[rows], generator)
        waiting += [rows[far], rows[near]]
    return found


def class_means(vectors: Floats, labels: Integers) -> tuple[Integers, Floats]:
    """The distinct labels ``[C]``, and the mean direction of each one's rows ``[C, d]``."""
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    classes, place = np.unique(labels, return_inverse=True)
    sums = np.zeros((len(classes), vectors.shape[1]), np.float32)
    np.add.at(sums, place, units)
    return classes, np.asarray(sums / np.bincount(place)[:, None], np.float32)


def _halves(units: Floats, generator: np.random.Generator) -> tuple[Integers, Integers]:
    """Positions of the rows on either side, as many on each; of few rows, the best of some tries."""
    tries = [_parted(units, generator) for _ in range(_TRIES if len(units) <= _FEW else 1)]
    return max(tries, key=lambda halves: sum(float(np.linalg.norm(units[half].sum(0))) for half in halves))


def _parted(units: Floats, generator: np.random.Generator) -> tuple[Integers, Integers]:
    middle = (len(units) + 1) // 2
    first = units[generator.integers(len(units))]
    centres = np.stack([first, units[(units @ first).argmin()]])
    near = np.zeros(0, np.int64)
    for _ in range(_PASSES):
        order = np.argsort(units @ (centres[1] - centres[0]), kind="stable")
        before, near, far = near, np.sort(order[:middle]), np.sort(order[middle:])
        if np.array_equal(before, near):
            break
        centres = np.stack([units[near].mean(0), units[far].mean(0)])
    return near, far
