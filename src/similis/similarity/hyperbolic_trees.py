"""Placing trees and tables of distances in hyperbolic space, and how well the placing keeps them. NumPy, float64.

Source: "Representation Tradeoffs for Hyperbolic Embeddings", De Sa, Gu, Ré and Sala, 2018. Points are those of the
Poincaré ball of curvature -1, so ``poincare(curvature=1)`` scores them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from similis.errors import UserError

Floats = NDArray[np.float64]


def tree_points(parents: Sequence[int], length: float = 1.0) -> Floats:
    """Sarkar's construction: nodes of a tree in the disc, every edge of hyperbolic length ``length``.

    Children stand evenly around their parent, in its frame with the parent at the origin, and are moved back by an
    isometry; so edges are exact, and the longer they are the nearer all other distances come to the tree's own
    (relative distortion falls as 1/length). Points nearer the boundary than float64 can tell (distances from the
    root beyond about 35) coincide: choose ``length`` below 35 / depth.

    Args:
        parents: parent of each node, -1 for the root.
        length: of an edge.

    Returns:
        ``[n, 2]``.

    Raises:
        UserError: there is not one root, a parent does not exist, or the edges form a cycle.
    """
    children, root = _children(parents)
    radius = np.tanh(length / 2)
    points = np.zeros(len(parents), np.complex128)
    waiting = [root]
    placed = 1
    while waiting:
        node = waiting.pop()
        here, mine = points[node], children[node]
        start, ways = 0.0, len(mine)
        if node != root:
            # One way is taken by the parent, seen from the node's frame.
            start, ways = float(np.angle(_moved(points[parents[node]], here))), len(mine) + 1
        for turn, child in enumerate(mine, start=int(node != root)):
            around = radius * np.exp(1j * (start + 2 * np.pi * turn / ways))
            points[child] = (around + here) / (1 + np.conj(here) * around)
        placed += len(mine)
        waiting += mine
    if placed < len(parents):
        raise UserError(f"these parents form a cycle: only {placed} of {len(parents)} nodes hang on the root")
    return np.stack([points.real, points.imag], 1)


def _moved(point: complex, origin: complex) -> complex:
    """The isometry of the disc that takes ``origin`` to 0, at ``point``."""
    return complex((point - origin) / (1 - np.conj(origin) * point))


def _children(parents: Sequence[int]) -> tuple[list[list[int]], int]:
    roots = [node for node, parent in enumerate(parents) if parent == -1]
    if len(roots) != 1:
        raise UserError(f"a tree has one root (a parent of -1), and this one has {len(roots)}")
    children: list[list[int]] = [[] for _ in parents]
    for node, parent in enumerate(parents):
        if not -1 <= parent < len(parents):
            raise UserError(f"node {node} has parent {parent}, and there are {len(parents)} nodes, 0-based")
        if parent >= 0:
            children[parent].append(node)
    return children, roots[0]


def scaled_points(distances: Floats, dimension: int) -> Floats:
    """h-MDS: points of the ball whose hyperbolic distances are the given ones, exactly where that is possible.

    With points x on the hyperboloid, -cosh(d_ij) is their Lorentzian product: the space part comes from the largest
    eigenvalues of that matrix, as classical scaling has it from centred squares. Distances that are not hyperbolic are
    approximated; multiply them by a factor first to trade precision for curvature.

    Args:
        distances: ``[n, n]``, symmetric.
        dimension: r.

    Returns:
        ``[n, r]``.

    Raises:
        UserError: the table is not square, or has fewer rows than dimensions.
    """
    if distances.ndim != 2 or distances.shape[0] != distances.shape[1] or len(distances) < dimension:
        raise UserError(f"h-MDS needs a square table of at least {dimension} rows, not {list(distances.shape)}")
    values, vectors = np.linalg.eigh(-np.cosh((distances + distances.T) / 2))
    space = vectors[:, ::-1][:, :dimension] * np.sqrt(np.maximum(values[::-1][:dimension], 0.0))
    time = np.sqrt(1 + np.square(space).sum(1, keepdims=True))
    return np.asarray(space / (1 + time))


def ball_distances(points: Floats) -> Floats:
    """``[n, r]`` points of the Poincaré ball → ``[n, n]`` distances."""
    squares = np.square(points[:, None] - points[None]).sum(-1)
    room = 1 - np.square(points).sum(-1)
    excess = 2 * squares / (room[:, None] * room[None])
    return np.asarray(np.log1p(excess + np.sqrt(excess * (excess + 2))))


def tree_distances(parents: Sequence[int]) -> Floats:
    """``[n, n]`` numbers of edges between nodes of a tree, parents as in :func:`tree_points`."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import shortest_path

    _children(parents)
    edges = [(node, parent) for node, parent in enumerate(parents) if parent >= 0]
    nodes, above = np.array(edges, np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(nodes)), (nodes, above)), shape=(len(parents), len(parents)))
    return np.asarray(shortest_path(graph.tocsr(), directed=False), np.float64)


def distortion(wanted: Floats, found: Floats) -> tuple[float, float]:
    """Average of |found - wanted| / wanted over pairs, and the worst ratio of stretch to shrinkage (1 at best).

    The worst-case distortion does not change when all distances are multiplied by one factor; the average does.
    """
    pairs = np.triu_indices(len(wanted), 1)
    ratio = found[pairs] / wanted[pairs]
    return float(np.abs(ratio - 1).mean()), float(ratio.max() / ratio.min())


def neighbour_precision(wanted: Floats, found: Floats) -> float:
    """Mean average precision of the graph's edges (pairs at wanted distance 1) among the nearest by found distance.

    For each edge (a, b): the share of a's neighbours among the points at most as far from a as b is. Mean over the
    edges of a node, then over nodes; 1 where every node's neighbours are its nearest points.
    """
    means = []
    for node, (row, near) in enumerate(zip(found, wanted == 1, strict=True)):
        if near.any():
            others = np.delete(row, node)
            within = (others[None] <= row[near][:, None]).sum(1)
            means.append(((row[near][None] <= row[near][:, None]).sum(1) / within).mean())
    return float(np.mean(means))
