"""What the registry-wide tests hand to every criterion: relations and embeddings it accepts."""

from __future__ import annotations

import torch
from torch import Tensor

from similis.objective import Objective
from similis.registry import Entry, entries
from similis.relation import Relation

CLASSES, PER_CLASS, D = 6, 4, 12
N = CLASSES * PER_CLASS
CRITERIA = {e.name: e for e in entries("criterion")}


def relation_for(entry: Entry, n: int, generator: torch.Generator) -> Relation:
    """A relation of a supervision the criterion accepts, over n queries that are their own keys."""
    accepted = entry.accepts or ("labels",)
    made = _relation(accepted, n, generator)
    made.samples = torch.arange(n)
    return made


def _relation(accepted: tuple[str, ...], n: int, generator: torch.Generator) -> Relation:
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


def ready(name: str, **settings: object) -> Objective:
    """The objective of a criterion, in float64, with sizes fixed."""
    objective = Objective(name, **settings)  # type: ignore[arg-type]
    return objective.prepare(dimension=D, classes=CLASSES, rows=N).double()


def value_and_gradients(objective: Objective, queries: Tensor, keys: Tensor, relation: Relation) -> list[Tensor]:
    """The loss, then the gradients of queries, keys and parameters."""
    queries, keys = queries.clone().requires_grad_(), keys.clone().requires_grad_()
    objective.zero_grad()
    torch.manual_seed(0)
    loss = objective(queries, keys, relation)
    if loss.requires_grad:
        loss.backward()
    found = [t.grad if t.grad is not None else torch.zeros_like(t) for t in (queries, keys, *objective.parameters())]
    return [loss.detach(), *(g.clone() for g in found)]
