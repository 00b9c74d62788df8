"""Lifted structure: each positive pair against the negatives of both of its items."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from similis.criteria import ops
from similis.criteria.margin.options import positives_of
from similis.criteria.softmax.infonce import RANKING
from similis.registry import Source, register
from similis.relation import Rows

#: Rows that both masses are summed of at once.
_SLICE = 128


@register(
    "criterion",
    "lifted_structure",
    source=Source(
        "Deep Metric Learning via Lifted Structured Feature Embedding", "Oh Song, Xiang, Jegelka and Savarese", 2016
    ),
    accepts=RANKING,
    family="margin",
    needs=("positive", "negative"),
    similarity="euclidean",
    whole=True,
    terms="positives",
)
def lifted_structure(
    scores: Tensor, relation: Rows, *, negative_margin: float = -1.0, positive_margin: float = 0.0
) -> Tensor:
    """Each positive pair against the negatives of both its ends.

    Definition: mean over positives p of row i of ½ [log(Σ_{n of i} exp(s_in - negative_margin) + Σ_{n of p}
    exp(s_np - negative_margin)) + positive_margin - s_ip]_+². The negatives of key p are the rows that are
    negatives of its column, so it reads the whole matrix, and keys need not be the queries.

    Checked against LiftedStructureLoss of pytorch-metric-learning with its mean over positive pairs (our margins
    are minus its distances): equal values and gradients where all anchors have equally many positives.

    Args:
        scores: ``[n, m]``.
        relation: rows of the same shape.
        negative_margin: in units of the score.
        positive_margin: in units of the score.

    Returns:
        ``[n]``.
    """
    index, real = ops.gather_positives(relation.positive)
    own, of_rows, of_keys = _BothMasses.apply(scores, index, relation.negative)  # type: ignore[no-untyped-call]
    mass = torch.logaddexp(of_rows.unsqueeze(-1), of_keys[index]) - negative_margin
    violation = (mass + positive_margin - own).relu()
    return ops.mean(violation.square() / 2, real)


class _BothMasses(torch.autograd.Function):
    """Scores at ``index [n, P]``, and log Σ exp over the kept of each row ``[n]`` and of each column ``[m]``.

    In slices of rows, and with one gradient of the matrix.
    """

    @staticmethod
    def forward(ctx: Any, scores: Tensor, index: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        of_rows, of_slices = [], []
        for part, kept in zip(scores.split(_SLICE), mask.split(_SLICE), strict=True):
            filled = ops.keep(part, kept)
            of_rows.append(filled.logsumexp(1))
            of_slices.append(filled.logsumexp(0))
        rows, columns = torch.cat(of_rows), torch.stack(of_slices).logsumexp(0)
        ctx.save_for_backward(scores, index, mask, rows, columns)
        return scores.gather(1, index), rows, columns

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None, None]:
        scores, index, mask, rows, columns = ctx.saved_tensors
        # where nothing is kept, the mass is the fill and has no gradient
        of_rows = outer[1].masked_fill(rows < ops.low(rows) / 2, 0.0).unsqueeze(1)
        of_columns = outer[2].masked_fill(columns < ops.low(columns) / 2, 0.0)
        gradient = torch.empty_like(scores)
        for start in range(0, len(scores), _SLICE):
            cut = slice(start, start + _SLICE)
            filled = ops.keep(scores[cut], mask[cut])
            part = (filled - rows[cut].unsqueeze(1)).exp_().mul_(of_rows[cut])
            torch.addcmul(part, filled.sub_(columns).exp_(), of_columns, out=gradient[cut])
        return gradient.scatter_add_(1, index, outer[0]), None, None


@register(
    "criterion",
    "generalized_lifted_structure",
    source=Source("In Defense of the Triplet Loss for Person Re-Identification", "Hermans, Beyer and Leibe", 2017),
    accepts=RANKING,
    family="margin",
    needs=("positive", "negative"),
    similarity="euclidean",
)
def generalized_lifted_structure(
    scores: Tensor, relation: Rows, *, negative_margin: float = -1.0, positive_margin: float = 0.0
) -> Tensor:
    """Hinge of a soft maximum over the negatives plus a soft maximum over the positives' distances.

    Definition: [log Σ_p exp(positive_margin - s_p) + log Σ_n exp(s_n - negative_margin)]_+.

    Checked against GeneralizedLiftedStructureLoss of pytorch-metric-learning (our margins are minus its distances):
    equal values and gradients.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        negative_margin: in units of the score.
        positive_margin: in units of the score.

    Returns:
        ``[...]``.
    """
    values, real = positives_of(scores, relation)
    pull = ops.logsumexp(positive_margin - values, real)
    return (pull + ops.logsumexp(scores - negative_margin, relation.negative)).relu()
