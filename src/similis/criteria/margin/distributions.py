"""Margin criteria over the distributions of the batch's scores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from similis.criteria import ops
from similis.criteria.margin.options import for_every_row
from similis.criteria.softmax.infonce import RANKING
from similis.registry import Source, register
from similis.relation import Rows

#: Scores that are put into cells at once.
_SLICE = 1 << 13


@register(
    "criterion",
    "histogram",
    source=Source("Learning Deep Embeddings with Histogram Loss", "Ustinova and Lempitsky", 2016),
    accepts=(*RANKING, "labeled_pairs"),
    family="margin",
    needs=("positive", "negative"),
    whole=True,
)
def histogram(scores: Tensor, relation: Rows, *, bins: int = 100) -> Tensor:
    """The probability that a random negative pair of the batch is more similar than a random positive one.

    Definition: Σ_r h-_r Σ_{q <= r} h+_q, h± the histograms of positive and negative scores over -1..1, each score
    shared linearly between its two nearest nodes.

    Checked against HistogramLoss of pytorch-metric-learning: equal values and gradients.

    Args:
        scores: ``[n, m]`` cosines.
        relation: rows of the same shape.
        bins: cells between -1 and 1.

    Returns:
        ``[n]``, the same value in every row.
    """
    index, real = ops.gather_positives(relation.positive)
    positive, negative = _Densities.apply(scores, index, real, relation.negative, bins)  # type: ignore[no-untyped-call]
    return for_every_row((negative * positive.cumsum(0)).sum(), scores)


class _Densities(torch.autograd.Function):
    """Of the positives' and of the negatives' scores, the shares at the nodes, ``[bins + 1]`` each.

    The score matrix is read, and its one gradient is written, in slices; a score's gradient is read off its cell.
    """

    @staticmethod
    def forward(ctx: Any, *given: Any) -> tuple[Tensor, Tensor]:
        scores, index, real, negative, bins = given
        ctx.save_for_backward(scores, index, real, negative)
        ctx.bins = bins
        return _density(scores.gather(1, index), real, bins), _density(scores, negative, bins)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        scores, index, real, negative = ctx.saved_tensors
        slopes = [_slopes(nodes, kept, ctx.bins) for nodes, kept in zip(outer, (real, negative), strict=True)]
        gradient = torch.empty_like(scores)
        for part, kept, into in zip(*_slices(scores, negative, gradient), strict=True):
            into.copy_(_read_off(slopes[1], part, kept))
        # a row has each positive once, and none of them is among its negatives
        gradient.scatter_add_(1, index, _read_off(slopes[0], scores.gather(1, index), real))
        return gradient, None, None, None, None


def _density(scores: Tensor, mask: Tensor, bins: int) -> Tensor:
    """``[bins + 1]``: shares of the kept scores at the nodes."""
    nodes = torch.zeros(bins + 1, dtype=torch.float64, device=scores.device)
    for part, kept in zip(*_slices(scores, mask), strict=True):
        cell, position = _cells(part, kept, bins)
        share = position.sub_(cell).flatten().double()
        index = cell.flatten().int()
        # what is not kept lies in a cell of its own, past the last
        upper = torch.bincount(index, share, bins + 1)[:bins]
        nodes[:-1] += torch.bincount(index, minlength=bins + 1)[:bins] - upper
        nodes[1:] += upper
    return (nodes / mask.count_nonzero().clamp_min(1)).to(scores.dtype)


def _slopes(nodes: Tensor, mask: Tensor, bins: int) -> Tensor:
    """``[bins + 1]``: a score's gradient in each cell, and 0 where it is not kept; from the nodes' gradient."""
    inside = nodes.diff() * (bins / 2) / mask.count_nonzero().clamp_min(1)
    return torch.cat([inside, inside.new_zeros(1)])


def _read_off(slopes: Tensor, scores: Tensor, mask: Tensor) -> Tensor:
    """The gradient of every score, of its shape."""
    cell, _ = _cells(scores, mask & (scores.abs() <= 1), len(slopes) - 1)
    return slopes.index_select(0, cell.flatten().int()).view_as(scores)


def _slices(*matrices: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Of every matrix, its slices of a few whole rows."""
    rows = max(1, _SLICE // max(1, matrices[0].shape[1]))
    return (matrix.split(rows) for matrix in matrices)


def _cells(scores: Tensor, kept: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """The cell of each score, ``bins`` where it is not kept, and its position in units of cells; both floats."""
    position = scores.clamp(-1, 1).add_(1).mul_(bins / 2)
    cell = position.floor().clamp_max_(bins - 1)
    return cell.masked_fill_(~kept, bins), position.masked_fill_(~kept, bins)
