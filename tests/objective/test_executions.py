"""Every registered criterion has the same value and gradient in every execution."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from similis.objective import Objective, cached
from similis.registry import Entry, entries
from similis.relation import Relation
from similis.similarity import InnerProduct

CLASSES, PER_CLASS, D = 6, 4, 12
CRITERIA = {e.name: e for e in entries("criterion")}


def relation_for(entry: Entry, n: int, generator: torch.Generator) -> Relation:
    """A relation of a supervision the criterion accepts, over n queries that are their own keys."""
    accepted = entry.accepts or ("labels",)
    if "labels" in accepted:
        return Relation.labels(torch.arange(n) % CLASSES)
    if "pairs" in accepted:
        return Relation.pairs(n)
    if "graded" in accepted:
        return Relation.graded(torch.randint(0, 4, (n, n), generator=generator) / 3)
    if "teacher" in accepted:
        return Relation.teacher(torch.randn(n, n, generator=generator))
    return Relation.scored(torch.rand(n, generator=generator))


def embeddings(n: int, seed: int = 0) -> tuple[Tensor, torch.Generator]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, D, generator=generator, dtype=torch.float64), generator


def value_and_gradients(objective: Objective, queries: Tensor, keys: Tensor, relation: Relation) -> list[Tensor]:
    queries, keys = queries.clone().requires_grad_(), keys.clone().requires_grad_()
    objective.zero_grad()
    torch.manual_seed(0)
    loss = objective(queries, keys, relation)
    loss.backward()
    found = [t.grad if t.grad is not None else torch.zeros_like(t) for t in (queries, keys, *objective.parameters())]
    return [loss.detach(), *(g.clone() for g in found)]


def ready(name: str, **settings: object) -> Objective:
    objective = Objective(name, **settings).double()  # type: ignore[arg-type]
    return objective.prepare(dimension=D, classes=CLASSES, rows=CLASSES * PER_CLASS).double()


@pytest.mark.parametrize("name", CRITERIA)
@pytest.mark.parametrize("tile", [1, 5, 100])
def test_tiled_and_plain_gradients_agree(name: str, tile: int) -> None:
    n = CLASSES * PER_CLASS
    queries, generator = embeddings(n)
    keys = torch.randn(n, D, generator=generator, dtype=torch.float64)
    relation = relation_for(CRITERIA[name], n, generator)
    plain = value_and_gradients(ready(name, execution="plain"), queries, keys, relation)
    tiled = value_and_gradients(ready(name, execution="tiled", tile=tile), queries, keys, relation)
    for ours, reference in zip(tiled, plain, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("direction", ["k2q", "q2q", "k2k", "q2k+q2q", "q2k+q2q+k2q+k2k"])
@pytest.mark.parametrize("similarity", ["cosine", "snr", "euclidean"])
def test_tiled_and_plain_agree_in_every_direction(direction: str, similarity: str) -> None:
    queries, generator = embeddings(9)
    keys = torch.randn(14, D, generator=generator, dtype=torch.float64)
    relation = Relation.pairs(9, 14)
    found = [
        value_and_gradients(
            Objective("infonce", similarity=similarity, directions=direction, execution=execution, tile=4),
            queries,
            keys,
            relation,
        )
        for execution in ("plain", "tiled")
    ]
    for ours, reference in zip(*found, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("name", CRITERIA)
def test_cached_and_plain_gradients_agree(name: str) -> None:
    n = CLASSES * PER_CLASS
    inputs, generator = embeddings(n)
    relation = relation_for(CRITERIA[name], n, generator)
    found = []
    for chunk in (n, 5):
        torch.manual_seed(1)
        encoder = nn.Sequential(nn.Linear(D, D), nn.Tanh(), nn.Linear(D, D)).double()
        objective = ready(name)
        encoded = cached(encoder, list(inputs.split(chunk))) if chunk < n else encoder(inputs)
        torch.manual_seed(0)
        loss = objective(encoded, encoded, relation)
        loss.backward()
        found.append([loss.detach(), *(p.grad for p in encoder.parameters())])
    for ours, reference in zip(*found, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-6, atol=1e-9)


def test_cached_repeats_the_dropout_mask() -> None:
    inputs, _ = embeddings(8)
    encoder = nn.Sequential(nn.Linear(D, D), nn.Dropout(0.5)).double()
    torch.manual_seed(3)
    encoded = cached(encoder, list(inputs.split(4)))
    torch.manual_seed(3)
    direct = torch.cat([encoder(part) for part in inputs.split(4)])
    torch.testing.assert_close(encoded, direct)
    expected = torch.autograd.grad(direct.square().sum(), list(encoder.parameters()))
    encoded.square().sum().backward()
    for parameter, gradient in zip(encoder.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_a_flipped_pass_scores_the_transposed_matrix() -> None:
    queries, generator = embeddings(7)
    keys = torch.randn(7, D, generator=generator, dtype=torch.float64)
    objective = Objective("infonce(temperature=0.5)", similarity="snr", directions="k2q")
    assert isinstance(objective.similarity, InnerProduct)
    scores = objective.similarity(queries, keys).T / 0.5
    expected = torch.nn.functional.cross_entropy(scores, torch.arange(7))
    torch.testing.assert_close(objective(queries, keys), expected)
