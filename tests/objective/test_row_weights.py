"""Weights of rows weigh the same pairs in every direction."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from similis.objective import Objective
from similis.relation import Relation

N = 6
WEIGHT = torch.tensor([0.5, 3.0, 0.0, 1.0, 2.0, 0.25], dtype=torch.float64)
BOTH = ["q2k", "k2q"]


def made(keys: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(keys)
    sides = (torch.randn(size, 4, generator=generator, dtype=torch.float64) for size in (N, keys))
    queries, others = (side.requires_grad_() for side in sides)
    return queries, others


def by_hand(scores: Tensor, weight: Tensor) -> Tensor:
    """The weighted mean of the cross entropies of rows whose positives are the diagonal."""
    losses = cross_entropy(scores, torch.arange(len(scores)), reduction="none")
    return (weight * losses).sum() / weight.sum()


def same(objective: Objective, relation: Relation, queries: Tensor, keys: Tensor, expected: Tensor) -> None:
    loss = objective(queries, keys, replace(relation, row_weight=WEIGHT))
    assert torch.allclose(loss, expected)
    found = torch.autograd.grad(loss, (queries, keys))
    for mine, wanted in zip(found, torch.autograd.grad(expected, (queries, keys)), strict=True):
        assert torch.allclose(mine, wanted)


@pytest.mark.parametrize("execution", ["plain", "tiled"])
@pytest.mark.parametrize("ids", [False, True])
def test_symmetric_infonce_of_weighted_pairs_is_the_mean_of_both_weighted_means(execution: str, ids: bool) -> None:
    queries, keys = made(N)
    numbers = {"query_ids": torch.arange(N), "key_ids": torch.arange(N, 2 * N)} if ids else {}
    scores = normalize(queries) @ normalize(keys).T / 0.1
    expected = (by_hand(scores, WEIGHT) + by_hand(scores.T, WEIGHT)) / 2
    objective = Objective("infonce(temperature=0.1)", directions=BOTH, execution=execution, tile=4)
    same(objective, Relation.pairs(N, **numbers), queries, keys, expected)


def test_given_negatives_and_a_queue_leave_the_weights_of_the_pairs_alone() -> None:
    queries, keys = made(2 * N)
    scores = normalize(queries) @ normalize(keys).T / 0.1
    expected = (by_hand(scores, WEIGHT) + by_hand(scores[:, :N].T, WEIGHT)) / 2
    objective = Objective("infonce(temperature=0.1)", directions=BOTH)
    same(
        objective,
        Relation.triplets(N, query_ids=torch.arange(N), key_ids=torch.arange(N, 3 * N)),
        *(queries, keys),
        expected,
    )
    remembering = Objective("infonce(temperature=0.1)", directions=BOTH, keys="queue(size=8)").prepare(dimension=4)
    first, others = made(N)
    remembering(first, others)
    queries, keys = made(N + 1)
    keys = keys[:N].detach().requires_grad_()
    scores = normalize(queries) @ normalize(torch.cat([keys, others.detach().float().double()])).T / 0.1
    expected = (by_hand(scores, WEIGHT) + by_hand(scores[:, :N].T, WEIGHT)) / 2
    same(remembering, Relation.pairs(N), queries, keys, expected)


@pytest.mark.parametrize("directions", [["q2k+q2q"], ["k2q+k2k"], ["k2q+k2k", "q2k+q2q"]])
def test_joined_directions_weigh_the_row_they_share(directions: list[str]) -> None:
    queries, keys = made(N)
    q, k = normalize(queries), normalize(keys)
    off = torch.zeros(N, N, dtype=torch.float64).fill_diagonal_(-torch.inf)
    rows = {
        "q2k+q2q": torch.cat([q @ k.T / 0.1, q @ q.T / 0.1 + off], 1),
        "k2q+k2k": torch.cat([k @ q.T / 0.1, k @ k.T / 0.1 + off], 1),
    }
    expected = torch.stack([by_hand(rows[direction], WEIGHT) for direction in directions]).mean()
    same(Objective("infonce(temperature=0.1)", directions=directions), Relation.pairs(N), queries, keys, expected)


@pytest.mark.parametrize("criterion", ["contrastive", "circle", "triplet", "infonce", "supcon"])
def test_equal_weights_are_no_weights(criterion: str) -> None:
    queries, keys = made(2 * N)
    objective = Objective(criterion, directions=["q2k", "k2q", "q2k+q2q"])
    plain = objective(queries, keys, Relation.pairs(N, 2 * N))
    weighted = objective(queries, keys, replace(Relation.pairs(N, 2 * N), row_weight=torch.full((N,), 3.0)))
    assert torch.allclose(plain, weighted)
