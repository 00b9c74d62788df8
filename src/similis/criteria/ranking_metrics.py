"""Smooth versions of ranking metrics: nDCG, reciprocal rank, average precision, recall."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from similis.criteria import ops
from similis.criteria.ranking_ops import (
    chosen,
    cuts,
    discounts,
    gains,
    hard_ranks,
    known_scores,
    max_dcg,
    soft_ranks,
    with_gradient,
)
from similis.criteria.softmax import RANKING
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

    Checked against TF-Ranking's ApproxNDCGLoss and optax's approx_normalized_dcg (both -nDCG with τ = 0.1, 1).

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

    Checked against TF-Ranking's ApproxMRRLoss.

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
    count = real.sum(-1)
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
    return 1 - (positives * precision).sum(-1) / real.sum(-1).clamp_min(1)


def _soft_histogram(position: Tensor, kept: Tensor, bins: int) -> Tensor:
    """``[..., m]`` positions in 0..bins → ``[..., bins + 1]`` counts, shared linearly between the two edges."""
    left = position.detach().floor().clamp_max(bins - 1)
    right = (position - left).masked_fill(~kept, 0.0)
    edge = left.long()
    counts = position.new_zeros(*position.shape[:-1], bins + 1)
    counts = counts.scatter_add(-1, edge, kept.to(position.dtype) - right)
    return counts.scatter_add(-1, edge + 1, right)


class _SortedGain(torch.autograd.Function):
    """Σ_i weight_i · softmax(a_i s - b)·g over places i, one place at a time, gradients gathered on the way."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, apart: Tensor, slopes: Tensor, weights: Tensor, gained: Tensor) -> Tensor:
        total = scores.new_zeros(scores.shape[:-1])
        by_score, by_apart = torch.zeros_like(scores), torch.zeros_like(scores)
        for slope, weight in zip(slopes.unbind(-1), weights.unbind(-1), strict=True):
            share = (slope.unsqueeze(-1) * scores - apart).softmax(-1)
            mean = (share * gained).sum(-1, keepdim=True)
            total += weight * mean.squeeze(-1)
            share.mul_(gained - mean).mul_(weight.unsqueeze(-1))
            by_apart -= share
            by_score += share.mul_(slope.unsqueeze(-1))
        ctx.save_for_backward(by_score, by_apart)
        return total

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        by_score, by_apart = ctx.saved_tensors
        scale = outer[0].unsqueeze(-1)
        return by_score * scale, by_apart * scale, None, None, None


@register(
    "criterion",
    "neural_ndcg",
    source=Source(
        "NeuralNDCG: Direct Optimisation of a Ranking Metric via Differentiable Relaxation of Sorting",
        "Pobrotyn and Białobrzeski",
        2021,
    ),
    accepts=RANKING,
    family="ranking",
    needs=("positive",),
    sorts=True,
    each_positive=True,
)
def neural_ndcg(
    scores: Tensor, relation: Rows, *, temperature: float = 1.0, k: int | None = 10, gain: str = "exponential"
) -> Tensor:
    """1 - nDCG@k of the gains sorted by NeuralSort's smooth permutation of the scores.

    Place i receives softmax(((n + 1 - 2i) s - A)/τ)·G with A_j = Σ_l |s_j - s_l| (Grover et al. 2019, equation 5); A
    comes from one sort, and the places one at a time, so memory is O(m). Checked against allRank's neuralNDCG,
    which also rescales the permutation by Sinkhorn steps; ours is the permutation itself.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        temperature: τ > 0, in units of the score.
        k: places that count, each costs a softmax; None for all.
        gain: ``exponential`` (2^g - 1) or ``linear``.

    Returns:
        ``[...]``.
    """
    known = relation.known
    count = known.sum(-1, keepdim=True)
    places = torch.arange(1, min(k or scores.shape[-1], scores.shape[-1]) + 1, device=scores.device)
    slopes = (count + 1 - 2 * places).to(scores.dtype)
    weights = discounts(places, None, scores.dtype).expand_as(slopes).masked_fill(places > count, 0.0)
    gained = gains(relation, gain, scores)
    # a key left out is so far from all others that no place takes it
    apart = (_distances_to_all(scores, known) / temperature).masked_fill(~known, -ops.low(scores))
    safe = scores.masked_fill(~known, 0.0) / temperature
    found: Tensor = _SortedGain.apply(safe, apart, slopes, weights, gained)  # type: ignore[no-untyped-call]
    return 1 - found / max_dcg(gained, k).squeeze(-1)


def _distances_to_all(scores: Tensor, known: Tensor) -> Tensor:
    """``[..., m]``: Σ_l |s_j - s_l| over the known l, by one sort."""
    order = scores.detach().masked_fill(~known, -ops.low(scores)).argsort(-1)
    line = scores.gather(-1, order)
    real = known.gather(-1, order)
    running = line.masked_fill(~real, 0.0).cumsum(-1)
    count = known.sum(-1, keepdim=True)
    place = torch.arange(1, scores.shape[-1] + 1, device=scores.device)
    found = line * (2 * place - count) + running[..., -1:] - 2 * running
    return torch.zeros_like(scores).scatter(-1, order, found)


@register(
    "criterion",
    "blackbox_ap",
    source=Source(
        "Optimizing Rank-based Metrics with Blackbox Differentiation",
        "Rolínek, Musil, Paulus, Vlastelica, Michaelis and Martius",
        2020,
    ),
    accepts=RANKING,
    family="ranking",
    needs=("positive", "negative"),
    each_positive=True,
    surrogate_gradient=True,
)
def blackbox_ap(scores: Tensor, relation: Rows, *, step: float = 4.0, margin: float = 0.02) -> Tensor:
    """1 - average precision at the true ranks, differentiated as a black box (RaMBO).

    The value is exact; the gradient of the ranks is that of their linear interpolation with a step λ: only positives
    move, so counting whom they overtake replaces the second sort. Positives are lowered and negatives raised by half
    the margin first. Checked against the paper's algorithm 1 and section 4.2 (there ranks of -scores, here of scores,
    hence the sign).

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape; a grade above 0 is a positive.
        step: λ > 0, how far the scores are moved along the gradient.
        margin: in units of the score.

    Returns:
        ``[...]``.
    """
    half = torch.where(relation.positive, -margin / 2, margin / 2).to(scores.dtype)
    shifted = known_scores(scores.detach() + half, relation)
    index, real = ops.gather_positives(relation.positive)
    own_scores = ops.keep(chosen(shifted, index), real)
    own, among = _ranks_in(shifted, own_scores), hard_ranks(own_scores).to(scores.dtype)
    precision = ops.mean(among / own, real)
    # the loss 1 - mean(among / own) by each of the two ranks, both black boxes
    share = real.to(scores.dtype) / real.sum(-1, keepdim=True).clamp_min(1)
    by_own, by_among = share * among / own.square(), -share / own
    moved_scores = own_scores + step * by_own
    moved = shifted.scatter(-1, index, torch.where(real, moved_scores, chosen(shifted, index)))
    gradient = _overtaken(shifted, own_scores, moved_scores).masked_fill_(relation.positive, 0.0)
    change = _ranks_in(moved, moved_scores) - own + hard_ranks(own_scores + step * by_among) - among
    gradient.scatter_add_(-1, index, change.masked_fill(~real, 0.0))
    return with_gradient(1 - precision, scores, gradient.masked_fill_(~relation.known, 0.0) / step)


def _ranks_in(scores: Tensor, own: Tensor) -> Tensor:
    """Ranks ``[..., P]`` of scores ``own`` among ``scores`` ``[..., m]``: 1 + how many are higher."""
    counts = [(scores.unsqueeze(-2) > own[..., cut].unsqueeze(-1)).sum(-1) for cut in cuts(scores, own.shape[-1])]
    return torch.cat(counts, -1).to(scores.dtype) + 1


def _overtaken(scores: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """``[..., m]``: by how many ranks each key falls when ``before`` ``[..., P]`` rise to ``after``."""
    fallen = torch.zeros_like(scores)
    for cut in cuts(scores, before.shape[-1]):
        keys = scores.unsqueeze(-2)
        overtakes = (after[..., cut].unsqueeze(-1) > keys) & (before[..., cut].unsqueeze(-1) <= keys)
        fallen += overtakes.sum(-2)
    return fallen
