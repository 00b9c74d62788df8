"""Pairwise criteria weighted by what a pair costs a ranking metric: LambdaRank and the LambdaLoss family."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from similis.criteria import ops
from similis.criteria.ranking.ops import (
    chosen,
    discounts,
    gains,
    hard_ranks,
    known_scores,
    lower,
    max_dcg,
    one_of,
    pair_sum,
)
from similis.criteria.ranking.pairwise import logistic
from similis.criteria.ranking.swaps import swap_cost
from similis.criteria.softmax.infonce import RANKING
from similis.registry import Source, register
from similis.relation import Rows

_LAMBDA_LOSS = Source(
    "The LambdaLoss Framework for Ranking Metric Optimization", "Wang, Li, Golbandi, Bendersky and Najork", 2018
)


@register(
    "criterion",
    "lambda_rank",
    source=Source("Learning to Rank with Nonsmooth Cost Functions", "Burges, Ragno and Le", 2006),
    accepts=RANKING,
    family="ranking",
    needs=("positive", "ordered"),
    each_positive=True,
    sorts=True,
)
def lambda_rank(
    scores: Tensor,
    relation: Rows,
    *,
    metric: str = "ndcg",
    k: int | None = None,
    sigma: float = 1.0,
    gain: str = "exponential",
) -> Tensor:
    """Logistic loss over pairs graded i > j, each weighted by how much swapping them changes a metric.

    Definition: Σ_{g_i > g_j} |Δmetric_ij| ln(1 + exp(-σ(s_i - s_j))), Δ at the current order, without a gradient.

    Metrics: ``ndcg``, ``mrr``, ``map`` (grades above 0 relevant), ``precision``; each exact for the swap of two keys.
    Checked: LambdaRankScheme of sentence-transformers is ``ndcg`` with the mean over pairs in base 2.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        metric: what to optimise.
        k: its cut-off; None for the whole list.
        sigma: steepness, in 1/units of the score.
        gain: ``exponential`` (2^g - 1) or ``linear``, for ndcg.

    Returns:
        ``[...]``.
    """
    index, real = ops.gather_positives(relation.ordered)
    lesser = lower(relation, index, real)
    ranks = hard_ranks(known_scores(scores, relation))
    cost = swap_cost(metric, relation, ranks, index, k, gain, scores)

    def term(difference: Tensor, cut: slice) -> tuple[Tensor, Tensor, Tensor]:
        pairs = lesser(cut)
        weight = cost(cut).masked_fill_(~pairs, 0.0)
        value, slope = logistic(difference, sigma)
        return value.mul_(weight), slope.mul_(weight), pairs

    return pair_sum(scores, index, term)[0]


def _weighted_pairs(
    scores: Tensor, relation: Rows, weighting: str, k: int | None, sigma: float, mu: float, gain: str
) -> tuple[Tensor, Tensor]:
    """A row's sum over pairs, in base e, and the number of pairs, both ``[...]``."""
    one_of("weighting", weighting, ("none", "ndcg1", "ndcg2", "lambda_rank", "ndcg2pp"))
    index, real = ops.gather_positives(relation.ordered)
    lesser = lower(relation, index, real)
    ranks = hard_ranks(known_scores(scores, relation))
    normal = gains(relation, gain, scores)
    normal = normal / max_dcg(normal, k)
    inverse = discounts(ranks, None, scores.dtype)
    own_gain, own_inverse, own_rank = (chosen(t, index) for t in (normal, inverse, ranks))
    every = weighting == "ndcg1"
    known = relation.known

    def term(difference: Tensor, cut: slice) -> tuple[Tensor, Tensor, Tensor]:
        pairs = (known.unsqueeze(-2) & real[..., cut].unsqueeze(-1)) if every else lesser(cut)
        if k is not None:
            pairs = pairs & ((own_rank[..., cut].unsqueeze(-1) <= k) | (ranks.unsqueeze(-2) <= k))
        value, slope = logistic(difference, sigma)
        weight = pairs.to(scores.dtype)
        if every:
            weight *= (own_gain * own_inverse)[..., cut].unsqueeze(-1)
        if weighting in ("ndcg2", "ndcg2pp", "lambda_rank"):
            swap = torch.zeros_like(difference)
            if weighting != "lambda_rank":
                apart = (own_rank[..., cut].unsqueeze(-1) - ranks.unsqueeze(-2)).abs_().clamp_min_(1)
                swap = discounts(apart, None, scores.dtype) - discounts(apart + 1, None, scores.dtype)
                swap.mul_(1.0 if weighting == "ndcg2" else mu)
            if weighting != "ndcg2":
                swap += (own_inverse[..., cut].unsqueeze(-1) - inverse.unsqueeze(-2)).abs_()
            weight = weight * swap.mul_((own_gain[..., cut].unsqueeze(-1) - normal.unsqueeze(-2)).abs_())
        return value.mul_(weight), slope.mul_(weight), pairs

    total, count = pair_sum(scores, index, term)
    if every:
        n = ops.count(known)
        count = n * n if k is None else n * n - (n - k).clamp_min(0) ** 2
    return total, count


def _pairs(
    scores: Tensor,
    relation: Rows,
    *,
    weighting: str = "ndcg2pp",
    k: int | None = None,
    sigma: float = 1.0,
    mu: float = 10.0,
    gain: str = "exponential",
) -> Tensor:
    """How many pairs the mean of each row is over, ``[...]``."""
    return _weighted_pairs(scores, relation, weighting, k, sigma, mu, gain)[1]


@register(
    "criterion",
    "lambda_loss",
    source=_LAMBDA_LOSS,
    accepts=RANKING,
    family="ranking",
    needs=("positive", "ordered"),
    each_positive=True,
    sorts=True,
    terms=_pairs,
)
def lambda_loss(
    scores: Tensor,
    relation: Rows,
    *,
    weighting: str = "ndcg2pp",
    k: int | None = None,
    sigma: float = 1.0,
    mu: float = 10.0,
    gain: str = "exponential",
) -> Tensor:
    """Mean weighted log2(1 + exp(-σ(s_i - s_j))): the LambdaLoss family for nDCG.

    With G the gain over the maximal DCG and D(r) = log2(1 + r), a pair weighs: ``ndcg1`` G_i/D(r_i) over all pairs;
    ``ndcg2`` |G_i - G_j| |1/D(δ) - 1/D(δ+1)|, δ = |r_i - r_j|; ``lambda_rank`` |G_i - G_j| |1/D(r_i) - 1/D(r_j)|;
    ``ndcg2pp`` μ·ndcg2 + lambda_rank; ``none`` 1. All but ndcg1 over the pairs graded i > j.

    Equal to sentence-transformers' LambdaLoss with its five schemes, which averages over the pairs of the whole batch,
    with ``reduction="mean_terms"``; ``none`` is its RankNetLoss.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        weighting: of the pairs, as above.
        k: only pairs with a key among the k highest scores, and DCG@k; None for all.
        sigma: steepness, in 1/units of the score.
        mu: weight of ndcg2 in ndcg2pp.
        gain: ``exponential`` (2^g - 1) or ``linear``.

    Returns:
        ``[...]``.
    """
    total, pairs = _weighted_pairs(scores, relation, weighting, k, sigma, mu, gain)
    return total / pairs.clamp_min(1) / math.log(2)


@register(
    "criterion",
    "arp_loss",
    source=_LAMBDA_LOSS,
    accepts=RANKING,
    family="ranking",
    needs=("positive", "ordered"),
    each_positive=True,
)
def arp_loss(scores: Tensor, relation: Rows, *, bound: int = 2, sigma: float = 1.0) -> Tensor:
    """Bound on the average relevance position Σ g_i r_i / Σ g_i by logistic losses.

    ``bound=1``: Σ_i Σ_{j≠i} g_i log2(1 + exp(-σ(s_i - s_j))); ``bound=2``, tighter: over the pairs graded i > j with
    weight g_i - g_j; both over Σ g_i (the paper's ARPLoss1 and ARPLoss2).

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        bound: 1 or 2.
        sigma: steepness, in 1/units of the score.

    Returns:
        ``[...]``.
    """
    one_of("bound", str(bound), ("1", "2"))
    index, real = ops.gather_positives(relation.positive if bound == 1 else relation.ordered)
    lesser = lower(relation, index, real)
    grade = gains(relation, "linear", scores)
    own = chosen(grade, index)

    def term(difference: Tensor, cut: slice) -> tuple[Tensor, Tensor, Tensor]:
        value, slope = logistic(difference, sigma)
        if bound == 1:
            pairs = relation.known.unsqueeze(-2) & real[..., cut].unsqueeze(-1)
            weight = own[..., cut].unsqueeze(-1) * pairs
        else:
            pairs = lesser(cut)
            weight = (own[..., cut].unsqueeze(-1) - grade.unsqueeze(-2)).mul_(pairs)
        return value.mul_(weight), slope.mul_(weight), pairs

    mass = grade.sum(-1)
    total = pair_sum(scores, index, term)[0] / math.log(2)
    if bound == 1:  # the pair of a key with itself is log2(2) = 1
        total = total - mass
    return total / torch.where(mass > 0, mass, torch.ones_like(mass))
