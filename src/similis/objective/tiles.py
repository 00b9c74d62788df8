"""The tiled execution: rows in tiles, each scored, judged and differentiated before the next; O(tile × m) memory.

The loss is a sum over rows, so the gradient of each tile can be taken as soon as its loss is known: one pass
computes both, nothing is scored twice, and ``backward`` only scales what is kept. Criteria that read the whole
matrix get it without a graph, and their gradient with respect to the scores is carried back tile by tile.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from similis.objective.blocks import Block, Tile
from similis.relation import Rows, join

#: Tiles after which the C allocator is asked to give freed blocks back.
RELEASE_TILES = 64


@functools.cache
def _trim() -> Callable[[int], int] | None:
    """glibc's ``malloc_trim``, or None elsewhere."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None


def release_memory() -> None:
    """Give the pages of freed tiles back: glibc keeps them, and their sizes never fit the next tile's exactly."""
    trim = _trim()
    if trim is not None:
        trim(0)


@dataclass(frozen=True)
class Totals:
    """What a pass over the rows adds up to; the loss is ``numerator / denominator``.

    Attributes:
        numerator: the sum of the losses.
        weight: what a mean is taken over weighs; 0 for a sum.
        valid: rows that had what the criterion needs.
        rows: all of them.
    """

    numerator: Tensor
    weight: float
    valid: int
    rows: int

    @property
    def denominator(self) -> float:
        return self.weight if self.weight > 0 else 1.0


#: ``(scores [t, m], rows, weight [t])`` → what the rows' losses add up to.
Loss = Callable[[Tensor, Rows, Tensor | None], Totals]


def totals(losses: Tensor, valid: Tensor | None, terms: Tensor | None, weight: Tensor | None, reduction: str) -> Totals:
    """Add up the losses of one tile or of all rows.

    Args:
        losses: ``[n]``.
        valid: ``[n]`` whether a row counts; None: all do.
        terms: ``[n]`` number of terms each loss is the mean of, where the reduction weighs rows by it.
        weight: ``[n]`` of the rows.
        reduction: of the objective.
    """
    rows = len(losses)
    count = rows if valid is None else int(valid.sum())
    share = weight if terms is None else terms if weight is None else weight * terms
    share = None if share is None else share.to(losses)
    if valid is not None and count < rows:
        losses = losses.masked_fill(~valid, 0.0)
        share = None if share is None else share * valid
    numerator = (losses if share is None else losses * share).sum()
    if reduction == "sum":
        return Totals(numerator, 0.0, count, rows)
    if reduction == "mean_nonzero":
        above = losses.detach() > 0
        share = above if share is None else share * above
    return Totals(numerator, float(count if share is None else share.detach().sum()), count, rows)


def _sum(parts: list[Totals]) -> Totals:
    return Totals(
        torch.stack([p.numerator.detach() for p in parts]).sum(),
        sum(p.weight for p in parts),
        sum(p.valid for p in parts),
        sum(p.rows for p in parts),
    )


def rows_of(blocks: list[Block], start: int = 0, stop: int | None = None) -> Rows:
    """The relation's rows of joined blocks."""
    stop = blocks[0].rows if stop is None else stop
    return join([block.relation.rows(start, stop) for block in blocks])


def plain(blocks: list[Block], loss: Loss, weight: Tensor | None) -> Totals:
    """All rows at once, by automatic differentiation."""
    scores = torch.cat([block.scores() for block in blocks], -1) if len(blocks) > 1 else blocks[0].scores()
    return loss(scores, rows_of(blocks), weight)


def tiled(
    blocks: list[Block],
    loss: Loss,
    weight: Tensor | None,
    *,
    parameters: list[Tensor],
    tile: int,
    whole: bool,
) -> tuple[Tensor, Totals]:
    """The reduced loss with its gradient, tile by tile; ``parameters`` are those of similarity and criterion."""
    tensors = [t for block in blocks for t in block.tensors]
    seen: list[Totals] = []
    wants = torch.is_grad_enabled() and any(t.requires_grad for t in (*tensors, *parameters))
    run = _Run([b.detached() for b in blocks], loss, weight, parameters, tile, whole, wants, seen)
    value: Tensor = _Tiled.apply(run, *tensors, *parameters)  # type: ignore[no-untyped-call]
    return value, seen[0]


@dataclass
class _Run:
    blocks: list[Block]
    loss: Loss
    weight: Tensor | None
    parameters: list[Tensor]
    tile: int
    whole: bool
    wants: bool
    seen: list[Totals]

    def __call__(self) -> tuple[Tensor, list[Tensor]]:
        """The loss and the gradients of every block tensor, then of every parameter."""
        self.own = [torch.zeros_like(p) for p in self.parameters]
        parts = self._whole() if self.whole else [self._rows(a, b) for a, b in self._spans()]
        everything = _sum(parts)
        self.seen.append(everything)
        scale = 1.0 / everything.denominator
        gradients = [g.mul_(scale) for block in self.blocks for g in block.gradients]
        return everything.numerator * scale, gradients + [g.mul_(scale) for g in self.own]

    def _spans(self) -> list[tuple[int, int]]:
        rows = self.blocks[0].rows
        return [(start, min(start + self.tile, rows)) for start in range(0, rows, self.tile)]

    def _rows(self, start: int, stop: int) -> Totals:
        if start and start % (RELEASE_TILES * self.tile) == 0:
            release_memory()
        with torch.set_grad_enabled(self.wants):
            tiles = [block.tile(start, stop) for block in self.blocks]
            scores = torch.cat([t.scores for t in tiles], -1) if len(tiles) > 1 else tiles[0].scores
            weight = None if self.weight is None else self.weight[start:stop]
            part = self.loss(scores, rows_of(self.blocks, start, stop), weight)
        if self.wants and part.numerator.requires_grad:
            self._carry(tiles, part.numerator)
        # A graph, even a spent one, holds the leaves it ends at: without this every tile's scores would stay.
        return replace(part, numerator=part.numerator.detach())

    def _whole(self) -> list[Totals]:
        with torch.no_grad():
            scores = torch.cat(
                [torch.cat([b.scores(start, stop) for b in self.blocks], -1) for start, stop in self._spans()]
            )
        with torch.set_grad_enabled(self.wants):
            scores.requires_grad_(self.wants)
            part = self.loss(scores, rows_of(self.blocks), self.weight)
        if self.wants and part.numerator.requires_grad:
            gradient, *own = _gradients(part.numerator, [scores, *self.parameters])
            self._add(own)
            if gradient is not None:
                for start, stop in self._spans():
                    with torch.enable_grad():
                        tiles = [block.tile(start, stop) for block in self.blocks]
                        together = torch.cat([t.scores for t in tiles], -1)
                    self._carry(tiles, together, gradient[start:stop])
        return [part]

    def _carry(self, tiles: list[Tile], value: Tensor, gradient: Tensor | None = None) -> None:
        leaves = [leaf for tile in tiles for leaf in tile.leaves]
        found = _gradients(value, [*leaves, *self.parameters], gradient)
        for tile in tiles:
            mine, found = found[: len(tile.leaves)], found[len(tile.leaves) :]
            tile.carry(mine)
        self._add(found)

    def _add(self, found: list[Tensor | None]) -> None:
        for total, part in zip(self.own, found, strict=True):
            if part is not None:
                total += part


def _gradients(value: Tensor, inputs: list[Tensor], gradient: Tensor | None = None) -> list[Tensor | None]:
    wanted = [i for i in inputs if i.requires_grad]
    found = iter(torch.autograd.grad(value, wanted, gradient, allow_unused=True))
    return [next(found) if i.requires_grad else None for i in inputs]


class _Tiled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, run: _Run, *tensors: Tensor) -> Tensor:
        value, gradients = run()
        ctx.save_for_backward(*gradients)
        return value

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        if outer[0].device.type == "cpu" and float(outer[0]) == 1.0:  # the loss itself: nothing to scale
            return (None, *ctx.saved_tensors)
        return (None, *(gradient * outer[0] for gradient in ctx.saved_tensors))
