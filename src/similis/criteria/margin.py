"""Margin criteria: positives and negatives held apart by a hinge."""

from __future__ import annotations

import torch
from torch import Tensor

from similis.criteria import ops
from similis.criteria.softmax import RANKING
from similis.registry import Source, register
from similis.relation import Rows


@register(
    "criterion",
    "triplet",
    source=Source(
        "FaceNet: A Unified Embedding for Face Recognition and Clustering",
        "Schroff, Kalenichenko and Philbin",
        2015,
    ),
    accepts=RANKING,
    family="margin",
    needs=("positive", "negative"),
    sorts=True,
)
def triplet(scores: Tensor, relation: Rows, *, margin: float = 0.1) -> Tensor:
    """Mean hinge over all (positive, negative) pairs of a row, by sorting: O(m log m), no list of triplets.

    Definition: mean over p, n of [margin - s_p + s_n]_+.

    For each negative only the number and the sum of the positives below s_n + margin matter; both come from one
    search in the sorted positives. With ``similarity="euclidean"`` it is FaceNet's loss on plain distances.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        margin: in units of the score.

    Returns:
        ``[...]``.
    """
    index, real = ops.gather_positives(relation.positive)
    positives = scores.gather(-1, index).masked_fill(~real, -ops.low(scores))
    order, _ = positives.sort(-1)
    running = torch.cat(
        [torch.zeros_like(order[..., :1]), order.masked_fill(order >= -ops.low(order), 0).cumsum(-1)], -1
    )
    raised = scores + margin
    below = torch.searchsorted(order.detach().contiguous(), raised.detach().contiguous())
    hinge = raised * below - running.gather(-1, below)
    pairs = relation.positive.sum(-1) * relation.negative.sum(-1)
    return ops.total(hinge, relation.negative) / pairs.clamp_min(1)
