"""Margin criteria over all pairs of a batch at once: every row has the same value."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from similis.criteria import ops
from similis.criteria.margin.options import for_every_row, positives_of
from similis.criteria.margin.pairs import PAIRS
from similis.registry import Source, register
from similis.relation import Rows


@register(
    "criterion",
    "tcm",
    source=Source(
        "Threshold-Consistent Margin Loss for Open-World Deep Metric Learning",
        "Zhang, Xu, Tang, Fang, Wu, Tighe and Xing",
        2024,
    ),
    accepts=PAIRS,
    family="margin",
    whole=True,
)
def tcm(
    scores: Tensor,
    relation: Rows,
    *,
    positive_margin: float = 0.9,
    negative_margin: float = 0.5,
    positive_weight: float = 1.0,
    negative_weight: float = 1.0,
) -> Tensor:
    """Threshold-consistent margin: the batch's hard pairs on the wrong side of two fixed scores.

    Definition: positive_weight x the mean of (positive_margin - s) over the batch's positives at or below that
    score, plus negative_weight x the mean of (s - negative_margin) over its negatives at or above that score. The
    means are over the hard pairs of the whole batch, so it reads the whole matrix.

    Checked against ThresholdConsistentMarginLoss of pytorch-metric-learning: equal values and gradients.

    Args:
        scores: ``[n, m]`` cosines.
        relation: rows of the same shape.
        positive_margin: the paper's m+, in units of the score.
        negative_margin: the paper's m-.
        positive_weight: the paper's λ+.
        negative_weight: the paper's λ-.

    Returns:
        ``[n]``, the same value in every row.
    """
    values, real = positives_of(scores, relation)
    wrong_positives = real & (values <= positive_margin)
    wrong_negatives = relation.negative & (scores >= negative_margin)
    pull = ops.masked(positive_margin - values, wrong_positives).sum() / ops.count(wrong_positives).sum().clamp_min(1)
    push = _Excess.apply(scores, wrong_negatives, negative_margin) / ops.count(wrong_negatives).sum().clamp_min(1)  # type: ignore[no-untyped-call]
    return for_every_row(positive_weight * pull + negative_weight * push, scores)


class _Excess(torch.autograd.Function):
    """Σ (score - margin) over the kept, in slices of rows; the mask is all its gradient needs."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, kept: Tensor, margin: float) -> Tensor:
        ctx.save_for_backward(kept)
        ctx.dtype = scores.dtype
        parts = zip(scores.split(128), kept.split(128), strict=True)
        return torch.stack([ops.masked(part - margin, mask).sum() for part, mask in parts]).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None, None]:
        (kept,) = ctx.saved_tensors
        return kept.view(torch.uint8).to(ctx.dtype).mul_(outer[0]), None, None


@register(
    "criterion",
    "intra_pair_variance",
    source=Source("Deep Metric Learning with Tuplet Margin Loss", "Yu and Tao", 2019),
    accepts=PAIRS,
    family="margin",
    whole=True,
)
def intra_pair_variance(
    scores: Tensor, relation: Rows, *, positive_slack: float = 0.01, negative_slack: float = 0.01
) -> Tensor:
    """The spread of positive and of negative pairs around the batch's mean pair, on the harmful side only.

    Definition: mean over positives of [(1 - positive_slack) s̄+ - s]_+² plus mean over negatives of
    [s - (1 + negative_slack) s̄-]_+², s̄± the batch's mean positive and negative score.

    Checked against IntraPairVarianceLoss of pytorch-metric-learning: equal values and gradients.

    Args:
        scores: ``[n, m]`` cosines.
        relation: rows of the same shape.
        positive_slack: share of the mean that is free on positives.
        negative_slack: share of the mean that is free on negatives.

    Returns:
        ``[n]``, the same value in every row.
    """
    values, real = positives_of(scores, relation)
    positives, negatives = ops.count(real).sum().clamp_min(1), ops.count(relation.negative).sum().clamp_min(1)
    mean_positive = ops.masked(values, real).sum() / positives
    mean_negative = ops.masked(scores, relation.negative).sum() / negatives
    pull = ops.masked((1 - positive_slack) * mean_positive - values, real).relu().square().sum()
    push = ops.masked(scores - (1 + negative_slack) * mean_negative, relation.negative).relu().square().sum()
    return for_every_row(pull / positives + push / negatives, scores)
