"""Miners that look at the triangle of anchor, positive and negative."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from similis.criteria import ops
from similis.criteria.margin.options import square
from similis.registry import Source, register
from similis.relation import Rows


@register(
    "miner",
    "angular",
    source=Source("Deep Metric Learning with Angular Loss", "Wang, Zhou, Wen, Liu and Lin", 2017),
    family="hardness",
)
def angular(scores: Tensor, relation: Rows, *, angle: float = 20.0) -> Rows:
    """Pairs that take part in a triplet whose angle at the negative is above a bound.

    The angle is atan(|a - p| / (2 |n - c|)), c the middle of anchor and positive. For unit vectors |n - c|² = (|n - a|²
    + |n - p|²)/2 - |a - p|²/4, so scores suffice, but those of the positive's row are among them: the keys must be
    the queries and the execution plain. The pairs of the triplets of AngularMiner of pytorch-metric-learning.

    Args:
        scores: ``[n, n]`` cosines.
        relation: rows of the same shape.
        angle: in degrees.

    Raises:
        UserError: the keys are not the queries, or the batch came in tiles.
    """
    square(scores, "the miner angular")
    index, real = ops.gather_positives(relation.positive)
    squares = (2 - 2 * scores).clamp_min(0)
    between = squares.gather(-1, index).unsqueeze(-1)
    centre = ((squares.unsqueeze(-2) + squares[index]) / 2 - between / 4).clamp_min(0)
    # tan(angle) < |a - p| / (2 |n - c|), squared; both sides are positive.
    wide = (between > 4 * math.tan(math.radians(angle)) ** 2 * centre) & relation.negative.unsqueeze(-2)
    wide = wide & real.unsqueeze(-1)
    positives = torch.zeros_like(relation.positive).scatter(-1, index, wide.any(-1)) & relation.positive
    return relation.where(positives | wide.any(-2))
