"""The protocol between a step and what changes it, and the way from a recipe's text to it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from similis.errors import UserError
from similis.objective import Objective
from similis.registry import bind
from similis.relation import Relation
from similis.training.recipe import Recipe
from similis.training.rows.examples import Batch
from similis.training.running.mixing import Drawn, Part
from similis.training.trainees.base import Trainee

#: Queries, and keys or None where these are the queries.
Sides: TypeAlias = "tuple[Tensor, Tensor | None]"


@dataclass(frozen=True, eq=False)
class Embedded:
    """One batch of a step, embedded.

    Attributes:
        drawn: which part it is of, and which of its rows.
        batch: its texts.
        relation: what supervision says of them.
        queries: ``[n, ...]``.
        keys: ``[m, ...]``, ``[n, L, ...]`` of lists, or None where the keys are the queries.
    """

    drawn: Drawn
    batch: Batch
    relation: Relation
    queries: Tensor
    keys: Tensor | None

    @property
    def objective(self) -> Objective:
        return self.drawn.part.objective


class Run(Protocol):
    """What an extension sees of the run it belongs to."""

    trainee: Trainee
    parts: list[Part]
    recipe: Recipe
    modules: dict[str, nn.Module]
    optimizers: list[Optimizer]

    def named_parameters(self) -> dict[str, nn.Parameter]:
        """Everything that is trained, as ``model/NAME`` and ``objective/NAME``."""
        ...

    def embedded(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Queries and keys of a batch, with their graph unless gradients are off."""
        ...

    def plain_gradients(self, group: Sequence[Drawn]) -> float:
        """Set the gradients of the mean loss of some batches that no extension has changed; returns that loss."""
        ...

    def first_batches(self, count: int) -> list[Drawn]:
        """The first batches of the first epoch."""
        ...

    def memories_kept(self) -> AbstractContextManager[None]:
        """Inside, batches may be judged again; afterwards no queue or average of the objective has seen them."""
        ...


class Stepping:
    """Something that changes how a step is taken; a subclass overrides what it changes.

    The order of calls: :meth:`begin` once; :meth:`start` before the first step of a new run, or :meth:`restore` in a
    resumed one; in every step :meth:`gradients` around all of its batches, :meth:`embed` and :meth:`loss` for each of
    them; then :meth:`stepped`. What it remembers between steps is its :meth:`state`, which checkpoints hold.
    """

    def begin(self, run: Run) -> None:
        """Look at the run before anything was trained; refuse what has no meaning there; arrange its optimisers."""

    def start(self) -> None:
        """Make what the first step needs."""

    def gradients(self, passes: Callable[[], float]) -> float:
        """Set the step's gradients by as many ``passes`` over its batches as it takes; returns the loss."""
        return passes()

    def embed(self, batch: Batch, embed: Callable[[Batch], Sides]) -> Sides:
        """Queries and keys of a batch, by ``embed`` or by another way."""
        return embed(batch)

    def loss(self, embedded: Embedded, loss: Tensor) -> Tensor:
        """The loss to descend on instead of ``loss``."""
        return loss

    def stepped(self) -> None:
        """Look at the weights after the optimisers' step."""

    def shown(self) -> Mapping[str, Tensor] | None:
        """Values of parameters by name that are judged and saved in place of the present ones."""
        return None

    def state(self) -> dict[str, Tensor]:
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take up a state again."""


def stepping(text: str | None) -> list[Stepping]:
    """What a recipe names, such as ``"sam"`` or ``"[r_drop(weight=1), ema(decay=0.99)]"``; the first is outermost.

    Raises:
        UserError: an unknown name or argument, or the same way twice.
    """
    names = split(text)
    made = [bind("stepping", each) for each in names]
    twice = {bound.entry.name for bound in made if sum(bound.entry is b.entry for b in made) > 1}
    if twice:
        raise UserError(f"stepping names {', '.join(sorted(twice))} twice")
    return [bound.build() for bound in made]


def split(text: str | None) -> list[str]:
    """The texts of a list such as ``"[sam, ema(decay=0.9)]"``, quoted or not; one text alone is a list of one."""
    if text is None or not text.strip():
        return []
    text = text.strip()
    if not text.startswith("["):
        return [text]
    try:
        items = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise UserError(f"stepping={text!r} cannot be read at column {error.offset or 1}") from None
    assert isinstance(items, ast.List)
    return [str(i.value) if isinstance(i, ast.Constant) else ast.unparse(i) for i in items.elts]


@contextmanager
def swapped(parameters: Mapping[str, nn.Parameter], values: Mapping[str, Tensor]) -> Iterator[None]:
    """Inside, parameters have other values; graphs made before remain good, as no memory of theirs is written to."""
    before = {name: parameters[name].data for name in values}
    try:
        for name, value in values.items():
            parameters[name].data = value
        yield
    finally:
        for name, value in before.items():
            parameters[name].data = value


def dense(gradient: Tensor | None, like: Tensor) -> Tensor:
    """A gradient of the parameter's own shape, zeros where there is none."""
    if gradient is None:
        return torch.zeros_like(like)
    return gradient.to_dense() if gradient.is_sparse else gradient


@torch.no_grad()
def scale_gradient(parameter: nn.Parameter, factor: Tensor) -> None:
    """Multiply a gradient, dense or of rows, by a factor of the parameter's shape."""
    gradient = parameter.grad
    if gradient is None:
        return
    if not gradient.is_sparse:
        gradient.mul_(factor)
        return
    parameter.grad = gradient.coalesce()
    parameter.grad.values().mul_(factor[parameter.grad.indices()[0]])


def greatest(values: Iterable[Tensor], share: float) -> float:
    """The bound that the greatest ``share`` of all numbers reach, at least one of them."""
    every = torch.cat([v.flatten() for v in values])
    count = max(1, round(share * len(every)))
    return float(every.kthvalue(len(every) - count + 1).values)


def inner_model(module: nn.Module) -> Any | None:
    """The transformer inside a model, or None."""
    return next((part for part in module.modules() if hasattr(part, "get_input_embeddings")), None)


def layers_of(module: nn.Module, name: str) -> list[nn.Module]:
    """The layers of the transformer inside a model, the lowest first.

    Raises:
        UserError: there are none; says so of the way called ``name``, which wants them.
    """
    inner = inner_model(module)
    lists = [] if inner is None else [list(part) for part in inner.modules() if isinstance(part, nn.ModuleList)]
    layers = max(lists, key=len, default=[])
    if not layers:
        raise UserError(f"{name} needs a transformer's layers, and this model has none: leave it out")
    return layers
