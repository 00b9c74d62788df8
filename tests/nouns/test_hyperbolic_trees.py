"""Trees and tables in the ball: edges are exact, distances kept as no plane can, known points found again."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
import torch

from similis.errors import UserError
from similis.similarity import build
from similis.similarity.hyperbolic_trees import (
    ball_distances,
    distortion,
    neighbour_precision,
    scaled_points,
    tree_distances,
    tree_points,
)


def balanced(branches: int, depth: int) -> list[int]:
    nodes = sum(branches**level for level in range(depth + 1))
    return [-1, *((node - 1) // branches for node in range(1, nodes))]


def random_tree(n: int, seed: int) -> list[int]:
    random = np.random.default_rng(seed)
    return [-1, *(int(random.integers(0, node)) for node in range(1, n))]


def classical_scaling(distances: np.ndarray) -> np.ndarray:
    """Distances of the best centred plane."""
    n = len(distances)
    centre = np.eye(n) - 1 / n
    values, vectors = np.linalg.eigh(-centre @ np.square(distances) @ centre / 2)
    points = vectors[:, -2:] * np.sqrt(values[-2:])
    return np.linalg.norm(points[:, None] - points[None], axis=-1)


TREES = {"binary": balanced(2, 4), "bushy": balanced(5, 2), "random": random_tree(60, 0), "path": [-1, 0, 1, 2, 3]}


@pytest.mark.parametrize("name", TREES)
def test_every_edge_has_the_length_asked_for(name: str) -> None:
    wanted, found = tree_distances(TREES[name]), ball_distances(tree_points(TREES[name], 1.5))
    np.testing.assert_allclose(found[wanted == 1], 1.5, rtol=1e-6)


@pytest.mark.parametrize("name", ["binary", "bushy", "random"])
def test_a_tree_in_the_ball_keeps_what_a_plane_cannot(name: str) -> None:
    length = 3.0
    wanted = tree_distances(TREES[name])
    found = ball_distances(tree_points(TREES[name], length)) / length
    flat = classical_scaling(wanted)
    assert neighbour_precision(wanted, found) > 0.99
    assert neighbour_precision(wanted, flat) < 0.9
    assert distortion(wanted, found)[0] < distortion(wanted, flat)[0] / 2


def test_distortion_falls_with_the_length_of_edges() -> None:
    wanted = tree_distances(TREES["binary"])
    errors = [distortion(wanted, ball_distances(tree_points(TREES["binary"], a)) / a)[0] for a in (1.0, 2.0, 4.0)]
    assert errors[0] > errors[1] > errors[2]


@pytest.mark.parametrize("dimension", [2, 5])
def test_scaling_finds_known_points_again(dimension: int) -> None:
    random = np.random.default_rng(dimension)
    points = random.normal(size=(30, dimension))
    points *= 0.8 * random.random((30, 1)) / np.linalg.norm(points, axis=1, keepdims=True)
    distances = ball_distances(points)
    np.testing.assert_allclose(ball_distances(scaled_points(distances, dimension)), distances, atol=1e-6)


def test_distances_are_those_of_the_similarity() -> None:
    points = tree_points(TREES["bushy"])
    scores = build("poincare")(torch.from_numpy(points), torch.from_numpy(points))
    np.testing.assert_allclose(-scores.numpy(), ball_distances(points), atol=1e-6)


@pytest.mark.parametrize("name", TREES)
def test_tree_distances_are_networkxs(name: str) -> None:
    graph = nx.Graph([(node, parent) for node, parent in enumerate(TREES[name]) if parent >= 0])
    expected = dict(nx.all_pairs_shortest_path_length(graph))
    found = tree_distances(TREES[name])
    assert all(found[a, b] == expected[a][b] for a in graph for b in graph)


def test_precision_and_distortion_by_hand() -> None:
    path = tree_distances([-1, 0, 1])
    assert distortion(path, 2 * path) == pytest.approx((1.0, 1.0))
    found = np.array([[0, 2, 1], [2, 0, 2], [1, 2, 0]], float)
    # node 0: its neighbour 1 is second of two; node 1: both neighbours nearest; node 2 as node 0
    assert neighbour_precision(path, found) == pytest.approx((0.5 + 1 + 0.5) / 3)


@pytest.mark.parametrize(
    ("parents", "message"), [([0, 1], "has 0"), ([-1, -1], "has 2"), ([-1, 5], "parent 5"), ([-1, 2, 1], "cycle")]
)
def test_what_is_no_tree_is_refused(parents: list[int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        tree_points(parents)


def test_a_table_that_is_not_square_is_refused() -> None:
    with pytest.raises(UserError, match="square table"):
        scaled_points(np.zeros((2, 3)), 2)
