"""Small moves of the token embeddings, chosen to change the scores most."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from similis.errors import UserError
from similis.registry import Source, register
from similis.training.stepping.base import Embedded, Run, Stepping, inner_model
from similis.training.stepping.consistency import difference, scores_of


@register(
    "stepping",
    "smart",
    source=Source(
        "SMART: Robust and Efficient Fine-Tuning for Pre-trained Natural Language Models through Principled "
        "Regularized Optimization",
        "Jiang, He, Chen, Liu, Gao and Zhao",
        2020,
    ),
    family="consistency",
)
class Smart(Stepping):
    """Scores are to stay the same under the small moves of token embeddings that would change them most.

    A move begins as noise of the size ``noise``, goes ``rounds`` times by ``step`` along its gradient of the scores'
    symmetric difference, divided by its greatest entry of the token, and is cut to ``radius`` in every number;
    ``weight`` times the difference it makes (see :func:`~similis.training.stepping.consistency.difference`) is added
    to the loss. Checked against the authors' code for the steps; the cut is the paper's. Its proximal steps are
    ``proximal``. A step costs about three.

    Args:
        weight: of the difference, the paper's λ.
        step: the paper's η.
        noise: the paper's σ.
        radius: the paper's ε.
        rounds: of ascent.
        scale: as of ``r_drop``.
    """

    def __init__(
        self,
        weight: float = 1.0,
        step: float = 1e-3,
        noise: float = 1e-5,
        radius: float = 1e-2,
        rounds: int = 1,
        scale: float = 20.0,
    ) -> None:
        if min(step, noise, radius) <= 0 or rounds < 1:
            raise UserError("smart needs step, noise and radius above 0 and rounds of at least 1")
        self.weight, self.step, self.noise, self.radius = weight, step, noise, radius
        self.rounds, self.scale = rounds, scale

    def begin(self, run: Run) -> None:
        self.run = run
        self.inner = inner_model(run.trainee.module)
        if self.inner is None:
            raise UserError("smart moves the token embeddings of a transformer, and this model has none: leave it out")
        if run.recipe.mini_batch_size is not None or run.recipe.fp16:
            raise UserError("smart needs the graph of a whole batch in full range: leave mini_batch_size and fp16 out")

    def loss(self, embedded: Embedded, loss: Tensor) -> Tensor:
        clean = scores_of(embedded.objective.similarity, embedded, embedded.queries, embedded.keys)
        moves: list[Tensor] = []
        changed = self._scores(embedded, lambda number, tokens: self._begun(moves, tokens))
        for _ in range(self.rounds):
            away = difference(clean.detach(), changed, self.scale)
            gradients = torch.autograd.grad(away, moves)
            moves = [self._further(move, g) for move, g in zip(moves, gradients, strict=True)]
            changed = self._scores(embedded, _given(moves))
        return loss + self.weight * difference(clean, changed, self.scale)

    def _begun(self, moves: list[Tensor], tokens: Tensor) -> Tensor:
        moves.append((self.noise * torch.randn_like(tokens)).requires_grad_())
        return moves[-1]

    def _further(self, move: Tensor, gradient: Tensor) -> Tensor:
        greatest = gradient.abs().amax(-1, keepdim=True)
        moved = move.detach() + self.step * gradient / greatest.clamp(min=1e-12)
        return moved.clamp(-self.radius, self.radius).requires_grad_()

    def _scores(self, embedded: Embedded, move: Callable[[int, Tensor], Tensor]) -> Tensor:
        with moved_tokens(self.inner, move):
            queries, keys = self.run.embedded(embedded.batch)
        return scores_of(embedded.objective.similarity, embedded, queries, keys)


def _given(moves: list[Tensor]) -> Callable[[int, Tensor], Tensor]:
    return lambda number, tokens: moves[number]


@contextmanager
def moved_tokens(inner: Any, move: Callable[[int, Tensor], Tensor]) -> Iterator[None]:
    """Inside, ``move(number of the pass, embeddings [n, t, h])`` is added to what the token embeddings give."""
    passes = iter(range(1 << 30))

    def add(_: Any, __: Any, tokens: Tensor) -> Tensor:
        return tokens + move(next(passes), tokens)

    handle = inner.get_input_embeddings().register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()
