"""Runs small enough to check a step by hand: a module with a loss of its own, and a transformer over made-up rows."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from similis.encoders.creating import create
from similis.objective import Objective
from similis.training.recipe import Recipe
from similis.training.rows.examples import Examples, TextTable
from similis.training.running.checkpoints import Position
from similis.training.running.mixing import Part
from similis.training.running.steps import Steps
from similis.training.stepping.base import Stepping
from similis.training.trainees.transformer import TransformerTrainee


class Toy:
    """What extensions see of a run, with ``loss(module)`` in place of batches; batch number i is ``losses[i]``."""

    def __init__(self, module: nn.Module, *losses: Callable[[nn.Module], Tensor], **settings: Any) -> None:
        self.module, self.losses = module, losses
        self.trainee: Any = SimpleNamespace(module=module)
        self.modules = {"model": module}
        self.parts: list[Any] = []
        self.recipe = Recipe().with_settings(settings)
        self.optimizers: list[Any] = [torch.optim.SGD(module.parameters(), lr=1.0)]
        self.passes = 0

    def named_parameters(self) -> dict[str, nn.Parameter]:
        return {f"model/{name}": p for name, p in self.module.named_parameters() if p.requires_grad}

    def first_batches(self, count: int) -> list[Any]:
        return list(range(min(count, len(self.losses))))

    def embedded(self, batch: Any) -> tuple[Tensor, Tensor | None]:
        raise AssertionError("a toy embeds nothing")

    @contextmanager
    def memories_kept(self) -> Iterator[None]:
        yield

    def plain_gradients(self, group: Sequence[Any]) -> float:
        self.passes += 1
        self.module.zero_grad()
        loss = torch.stack([self.losses[number](self.module) for number in group]).mean()
        loss.backward()
        return float(loss.detach())

    def step(self, *extensions: Stepping) -> float:
        """One step of gradient descent at rate 1, the first extension outermost."""

        def around(inner: Sequence[Stepping]) -> float:
            return inner[0].gradients(lambda: around(inner[1:])) if inner else self.plain_gradients([0])

        value = around(extensions)
        self.optimizers[0].step()
        for each in extensions:
            each.stepped()
        return value


def begun(extension: Stepping, run: Toy) -> Stepping:
    extension.begin(run)
    extension.start()
    return extension


class Weights(nn.Module):
    """A matrix and a bias."""

    def __init__(self, weight: list[list[float]], bias: list[float]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight, dtype=torch.float64))
        self.bias = nn.Parameter(torch.tensor(bias, dtype=torch.float64))


def quadratic(module: nn.Module) -> Tensor:
    """½ Σ a·w² with a = 1, 2, 3, … over all numbers: its gradient is a·w."""
    flat = torch.cat([p.flatten() for p in module.parameters()])
    return (torch.arange(1, len(flat) + 1, dtype=flat.dtype) * flat.square()).sum() / 2


WORDS = [f"{a}{b}{c}" for a in "bdfgk" for b in "aeiou" for c in "lmnr"]


def rows(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Queries of two of the four words of their document."""
    generator = random.Random(seed)
    made = []
    for _ in range(count):
        topic = generator.sample(WORDS, 4)
        made.append((" ".join(topic[:2]), " ".join([*topic, *generator.sample(WORDS, 3)])))
    return made


def steps_of(
    model: Path,
    *counts: int,
    dropout: float | None = None,
    total: int = 10,
    loss: str = "infonce(temperature=0.1)",
    **settings: Any,
) -> Steps:
    """Steps of a transformer over one set of pairs for each of ``counts``."""
    recipe = Recipe().with_settings({"learning_rate": 1e-3, "batch_size": 8, "warmup_steps": 0.0, **settings})
    table, parts = TextTable(), []
    for number, count in enumerate(counts):
        made = rows(count, number)
        examples = Examples("pairs", table, table.add(q for q, _ in made), table.add(k for _, k in made))
        parts.append(Part(str(number), examples, Objective(loss), "shuffle", examples.items()))
    encoder = create(str(model))
    if dropout is not None:
        for part in encoder.module.modules():  # type: ignore[attr-defined]
            if isinstance(part, nn.Dropout):
                part.p = dropout
    trainee = TransformerTrainee(encoder, table.texts, recipe)  # type: ignore[arg-type]
    steps = Steps(trainee, parts, recipe, Position())
    steps.total = total
    trainee.module.train()
    return steps
