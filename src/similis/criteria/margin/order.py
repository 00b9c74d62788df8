"""Margin criteria over the order of a row: negatives before positives, sorting networks, dynamic margins."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from similis.criteria import ops
from similis.criteria.margin.options import for_every_row, one_of, positives_of
from similis.criteria.softmax.infonce import RANKING
from similis.registry import Source, register
from similis.relation import Rows

PNP_VARIANTS = ("O", "Ds", "Dq", "Iu", "Ib")


@register(
    "criterion",
    "pnp",
    source=Source(
        "Rethinking the Optimization of Average Precision: Only Penalizing Negative Instances before Positive Ones "
        "is Enough",
        "Li, Min, Song, Zhu, Kang, Wei, Wei and Jiang",
        2022,
    ),
    accepts=RANKING,
    family="margin",
    needs=("positive", "negative"),
)
def pnp(
    scores: Tensor, relation: Rows, *, variant: str = "O", temperature: float = 0.01, alpha: float = 1.0, b: float = 2.0
) -> Tensor:
    """Penalises the number of negatives ranked before each positive, and nothing else.

    Definition: mean over p of f(R_p) with R_p = Σ_n sigmoid((s_n - s_p)/τ) and f by variant: ``O`` R; ``Ds``
    log(1 + R); ``Dq`` 1 - (1 + R)^-α; ``Iu`` (1 + R) log(1 + R); ``Ib`` (b R - log(1 + b R))/b².

    Checked against PNPLoss of pytorch-metric-learning: equal values and gradients where items count as their own
    positives, as there (``Relation.labels(y, y, exclude_self=False)``).

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        variant: O, Ds, Dq, Iu or Ib.
        temperature: τ, in units of the score.
        alpha: of Dq.
        b: of Ib.

    Returns:
        ``[...]``.

    Raises:
        UserError: an unknown variant.
    """
    one_of("variant", variant, PNP_VARIANTS)
    values, real = positives_of(scores, relation)
    before = ((scores.unsqueeze(-2) - values.unsqueeze(-1)) / temperature).sigmoid()
    rank = ops.total(before, relation.negative.unsqueeze(-2))
    if variant == "Ds":
        rank = rank.log1p()
    elif variant == "Dq":
        rank = 1 - (1 + rank) ** -alpha
    elif variant == "Iu":
        rank = (1 + rank) * rank.log1p()
    elif variant == "Ib":
        rank = (b * rank - (b * rank).log1p()) / b**2
    return ops.mean(rank, real)


@register(
    "criterion",
    "groco",
    source=Source(
        "Learning by Sorting: Self-supervised Learning with Group Ordering Constraints",
        "Shvetsova, Petersen, Kukleva, Schiele and Kuehne",
        2023,
    ),
    accepts=RANKING,
    family="margin",
    needs=("positive", "negative"),
)
def groco(scores: Tensor, relation: Rows, *, negatives: int = 10, steepness: float = 1.0) -> Tensor:
    """Group ordering: a differentiable sort should put every positive after every strong negative.

    Definition: the positives and the k strongest negatives pass an odd-even sorting network whose swaps are soft,
    α = atan(steepness (b - a))/π + ½; q_i is the probability that item i ends within its group's places, and the
    loss is the mean of -log q_i. Only the mass of the two groups is carried through the network, never a
    permutation matrix: O(k + P) layers of ``[..., k + P]``.

    Checked against the authors' published loss and the sorting network it uses, with full permutation matrices:
    equal values and gradients. The authors stop the gradient at the keys; here it reaches both sides.

    Args:
        scores: ``[..., m]`` cosines.
        relation: rows of the same shape.
        negatives: k, the strongest negatives that are sorted.
        steepness: of the soft swap, per unit of the score.

    Returns:
        ``[...]``.
    """
    values, real = positives_of(scores, relation)
    positives = values.masked_fill(~real, -ops.low(scores)).sort(-1).values
    strongest = ops.keep(scores, relation.negative).topk(min(negatives, scores.shape[-1])).values.flip(-1)
    before = ops.count(relation.negative, keepdim=True).clamp_max(strongest.shape[-1])
    length = before + ops.count(real, keepdim=True)
    joined = torch.cat([strongest, positives], -1)
    place = torch.arange(joined.shape[-1], device=joined.device)
    # Missing negatives pad the front: turn each line so that its items start at place 0.
    line = joined.gather(-1, (place + strongest.shape[-1] - before) % joined.shape[-1])
    line = line.masked_fill(place >= length, 0.0)
    first_group = place < before
    mass = _mass_before(line, length, first_group.to(line.dtype), steepness)
    own = torch.where(first_group, mass, 1 - mass).clamp(1e-12, 1)
    return ops.mean(-own.log(), place < length)


def _mass_before(line: Tensor, length: Tensor, places: Tensor, steepness: float) -> Tensor:
    """``[..., s]``: the probability that each item of the line ends at one of ``places``.

    The items are sorted forwards; then the places are carried backwards through the same soft swaps. A line of
    ``length`` items passes that many layers, and never swaps with the padding after it.
    """
    size = line.shape[-1]
    place = torch.arange(size, device=line.device)
    layers: list[tuple[slice, slice, Tensor]] = []
    for layer in range(size):
        first, second = slice(layer % 2, size - 1, 2), slice(layer % 2 + 1, size, 2)
        a, b = line[..., first], line[..., second]
        fixed = (place[second] >= length) | (layer >= length)
        ordered = (torch.atan(steepness * (b - a)) / math.pi + 0.5).masked_fill(fixed, 1.0)
        layers.append((first, second, ordered))
        line = _swapped(line, first, second, ordered)
    mass = places
    for first, second, ordered in reversed(layers):
        mass = _swapped(mass, first, second, ordered)
    return mass


def _swapped(line: Tensor, first: slice, second: slice, ordered: Tensor) -> Tensor:
    """The line with each pair mixed: kept in order with probability ``ordered``, swapped otherwise."""
    a, b = line[..., first], line[..., second]
    made = line.clone()
    made[..., first] = ordered * a + (1 - ordered) * b
    made[..., second] = (1 - ordered) * a + ordered * b
    return made


@register(
    "criterion",
    "dynamic_soft_margin",
    source=Source("Learning Local Descriptors With a CDF-Based Dynamic Soft Margin", "Zhang and Rusinkiewicz", 2019),
    accepts=RANKING,
    family="margin",
    needs=("positive", "negative"),
    similarity="euclidean",
    whole=True,
    surrogate_gradient=True,
)
class DynamicSoftMargin(nn.Module):
    """Triplets weighted by their own rank in the recent distribution of s_n - s_p: a margin without a margin.

    Definition: mean over the batch's (positive, negative) pairs x = s_n - s_p of F(x) x, F the running cumulative
    histogram of x, constant to the gradient. In training each batch moves the histogram by ``momentum``.

    Checked against DynamicSoftMarginLoss of pytorch-metric-learning on a first batch: equal values. There the
    gradient also passes through the histogram's linear shares, and later batches are added as counts, so that
    ``momentum`` is nearly 1 whatever is asked; here F is a weight, and a batch has the share ``momentum``. Compares
    each positive with all keys and holds ``[n, P, m]``.

    Args:
        lowest: the smallest x that is told apart, -2 for unit vectors; the largest is -lowest.
        bins: cells between them.
        momentum: share of the histogram that one batch replaces.
    """

    histogram: Tensor

    def __init__(self, lowest: float = -2.0, bins: int = 10, momentum: float = 0.01) -> None:
        super().__init__()
        self.lowest, self.bins, self.momentum = lowest, bins, momentum
        self.register_buffer("histogram", torch.zeros(bins + 1))

    def forward(self, scores: Tensor, relation: Rows) -> Tensor:
        """Scores ``[n, m]`` → losses ``[n]``, the same value in every row."""
        values, real = positives_of(scores, relation)
        kept = real.unsqueeze(-1) & relation.negative.unsqueeze(-2)
        terms = scores.unsqueeze(-2) - values.unsqueeze(-1)
        with torch.no_grad():
            position = ((terms - self.lowest) * (self.bins / (2 * abs(self.lowest)))).clamp(0, self.bins)
            cell = position.floor().clamp_max(self.bins - 1).long()
            if self.training:
                self._update(position, cell, kept)
            weight = self.histogram.cumsum(0)[cell].masked_fill(~kept, 0.0)
        return for_every_row((weight * terms).sum() / ops.count(kept).sum().clamp_min(1), scores)

    def _update(self, position: Tensor, cell: Tensor, kept: Tensor) -> None:
        """Move the histogram towards this batch's, each term shared between its two nearest nodes."""
        if not bool(kept.any()):
            return
        share, index = (position - cell).masked_fill_(~kept, 0.0).flatten(), cell.flatten()
        lower = torch.bincount(index, kept.flatten().to(share.dtype) - share, self.bins)
        upper = torch.bincount(index, share, self.bins)
        nodes = torch.zeros_like(self.histogram)
        nodes[:-1] += lower
        nodes[1:] += upper
        momentum = self.momentum if bool(self.histogram.any()) else 1.0
        self.histogram.lerp_(nodes / nodes.sum(), momentum)
