"""Ranking metrics differentiated through a sort: NeuralSort's smooth permutation, ranks as a black box."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from similis.criteria import ops
from similis.criteria.ranking.ops import (
    chosen,
    cuts,
    discounts,
    gains,
    hard_ranks,
    known_scores,
    max_dcg,
    with_gradient,
)
from similis.criteria.softmax.infonce import RANKING
from similis.registry import Source, register
from similis.relation import Rows


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

    Place i receives softmax(((n + 1 - 2i) s - A)/τ)·G with A_j = Σ_l |s_j - s_l| (Grover et al. 2019); A
    comes from one sort, and the places one at a time, so memory is O(m). Checked against allRank's neuralNDCG,
    which also rescales the permutation by Sinkhorn steps, and TF-Ranking's NeuralSortNDCGLoss (PiRank), which like ours
    does not.

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
    count = ops.count(known, keepdim=True)
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
    order = ops.order(torch.where(known, scores.detach(), -ops.low(scores)))
    line = scores.gather(-1, order)
    real = known.gather(-1, order)
    running = line.masked_fill(~real, 0.0).cumsum(-1)
    count = ops.count(known, keepdim=True)
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
    the margin first.

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
    share = real.to(scores.dtype) / ops.count(real, keepdim=True).clamp_min(1)
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
