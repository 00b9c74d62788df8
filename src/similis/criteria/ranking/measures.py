"""Smooth versions of ranking metrics: nDCG, reciprocal rank, average precision, recall."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from similis.criteria import ops
from similis.criteria.ranking.ops import (
    chosen,
    gains,
    known_scores,
    max_dcg,
    soft_ranks,
)
from similis.criteria.softmax.infonce import RANKING
from similis.registry import Source, register
from similis.relation import Rows

_QIN = Source(
    "A General Approximation Framework for Direct Optimization of Information Retrieval Measures",
    "Qin, Liu and Li",
    2010,
)


def _positive_ranks(scores: Tensor, relation: Rows, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
    """Smooth ranks ``[..., P]`` of the positives among the known keys, where they are, and which are real."""
    index, real = ops.gather_positives(relation.positive)
    return soft_ranks(known_scores(scores, relation), index, temperature), index, real


@register(
    "criterion",
    "approx_ndcg",
    source=_QIN,
    accepts=RANKING,
    family="ranking",
    needs=("positive",),
    each_positive=True,
)
def approx_ndcg(
    scores: Tensor, relation: Rows, *, temperature: float = 0.1, k: int | None = None, gain: str = "exponential"
) -> Tensor:
    """1 - nDCG at smooth ranks: 1 - Σ_p G_p / log2(1 + r̂_p) / maxDCG, r̂_p = 1 + Σ_{k≠p} sigmoid((s_k - s_p)/τ).

    Checked against TF-Ranking's ApproxNDCGLoss, which is nDCG less, without the 1.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        temperature: τ > 0, in units of the score; smaller is nearer the metric.
        k: cut-off of the ideal list and, smoothly by the discount alone, not of the ranks; None for all.
        gain: ``exponential`` (2^g - 1) or ``linear``.

    Returns:
        ``[...]``.
    """
    ranks, index, real = _positive_ranks(scores, relation, temperature)
    gained = gains(relation, gain, scores)
    found = chosen(gained, index) / torch.log2(1 + ranks)
    return 1 - ops.total(found, real) / max_dcg(gained, k).squeeze(-1)


@register(
    "criterion",
    "approx_mrr",
    source=_QIN,
    accepts=RANKING,
    family="ranking",
    needs=("positive",),
    each_positive=True,
)
def approx_mrr(scores: Tensor, relation: Rows, *, temperature: float = 0.1) -> Tensor:
    """1 - the reciprocal smooth rank, averaged over the positives by grade: 1 - Σ_p g_p / r̂_p / Σ_p g_p.

    Checked against TF-Ranking's ApproxMRRLoss, likewise.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        temperature: τ > 0, in units of the score.

    Returns:
        ``[...]``.
    """
    ranks, index, real = _positive_ranks(scores, relation, temperature)
    share = chosen(ops.normalized_grade(relation.grade.to(scores.dtype), relation.positive), index)
    return 1 - ops.total(share / ranks, real)


@register(
    "criterion",
    "smooth_ap",
    source=Source(
        "Smooth-AP: Smoothing the Path Towards Large-Scale Image Retrieval",
        "Brown, Xie, Kalogeiton and Zisserman",
        2020,
    ),
    accepts=RANKING,
    family="ranking",
    needs=("positive", "negative"),
    each_positive=True,
)
def smooth_ap(scores: Tensor, relation: Rows, *, temperature: float = 0.01) -> Tensor:
    """1 - smooth average precision: 1 - mean_p (smooth rank of p among the positives / among all keys).

    Equals pytorch-metric-learning's SmoothAPLoss where queries count among their own keys (``exclude_self=False``) and
    there are as many classes as items of each; elsewhere that one groups the batch wrongly. Any class sizes will do.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape; a grade above 0 is a positive.
        temperature: τ > 0, in units of the score.

    Returns:
        ``[...]``.
    """
    among_all, index, real = _positive_ranks(scores, relation, temperature)
    own = ops.keep(chosen(scores, index), real)
    places = torch.arange(index.shape[-1], device=index.device).expand_as(index)
    return 1 - ops.mean(soft_ranks(own, places, temperature) / among_all, real)


@register(
    "criterion",
    "recall_at_k",
    source=Source("Recall@k Surrogate Loss with Large Batches and Similarity Mixup", "Patel, Tolias and Matas", 2022),
    accepts=RANKING,
    family="ranking",
    needs=("positive", "negative"),
    each_positive=True,
)
def recall_at_k(
    scores: Tensor,
    relation: Rows,
    *,
    k: Sequence[int] = (1, 2, 4, 8, 16),
    temperature: float = 1.0,
    rank_temperature: float = 0.01,
) -> Tensor:
    """1 - smooth recall at several cut-offs: 1 - mean_k min(k, Σ_p sigmoid((k - r̂_p)/τ_1)) / min(k, P).

    Checked against the authors' RecallatK, which gives each k a temperature of its own.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape; a grade above 0 is a positive.
        k: cut-offs.
        temperature: τ_1 > 0, in ranks.
        rank_temperature: τ_2 > 0 of the smooth ranks, in units of the score.

    Returns:
        ``[...]``.
    """
    ranks, _, real = _positive_ranks(scores, relation, rank_temperature)
    count = ops.count(real)
    recall = scores.new_zeros(scores.shape[:-1])
    for cutoff in k:
        inside = ops.total(torch.sigmoid((cutoff - ranks) / temperature), real)
        recall = recall + inside.clamp_max(cutoff) / count.clamp(1, cutoff)
    return 1 - recall / len(k)


@register(
    "criterion",
    "fast_ap",
    source=Source("Deep Metric Learning to Rank", "Cakir, He, Xia, Kulis and Sclaroff", 2019),
    accepts=RANKING,
    family="ranking",
    needs=("positive",),
)
def fast_ap(scores: Tensor, relation: Rows, *, bins: int = 10, lowest: float = -1.0, highest: float = 1.0) -> Tensor:
    """1 - average precision by histograms: 1 - Σ_b h⁺_b H⁺_b / H_b / P over score bins from the highest down.

    h are soft counts (each score is shared between its two nearest bin edges), H running sums; O(m + bins) a row.
    Equals pytorch-metric-learning's FastAPLoss with cosine, whose squared distances 0..4 are scores 1..-1.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape; a grade above 0 is a positive.
        bins: bins between ``highest`` and ``lowest``.
        lowest: score of the last edge; lower ones count there.
        highest: score of the first edge; higher ones count there.

    Returns:
        ``[...]``.
    """
    position = ((highest - scores) * (bins / (highest - lowest))).clamp(0, bins)
    index, real = ops.gather_positives(relation.positive)
    positives = _soft_histogram(chosen(position, index), real, bins)
    every = _soft_histogram(position, relation.known, bins).cumsum(-1)
    precision = positives.cumsum(-1) / torch.where(every > 0, every, torch.ones_like(every))
    return 1 - (positives * precision).sum(-1) / ops.count(real).clamp_min(1)


def _soft_histogram(position: Tensor, kept: Tensor, bins: int) -> Tensor:
    """``[..., m]`` positions in 0..bins → ``[..., bins + 1]`` counts, shared linearly between the two edges."""
    left = position.detach().floor().clamp_max(bins - 1)
    right = (position - left).masked_fill(~kept, 0.0)
    edge = left.long()
    counts = position.new_zeros(*position.shape[:-1], bins + 1)
    counts = counts.scatter_add(-1, edge, kept.to(position.dtype) - right)
    return counts.scatter_add(-1, edge + 1, right)
