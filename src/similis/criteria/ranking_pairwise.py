"""Pairwise ranking criteria: every key against the keys of a lower grade, plain or weighted by what a swap costs."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from similis.criteria import ops
from similis.criteria.ranking_ops import (
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
from similis.criteria.ranking_swaps import swap_cost
from similis.criteria.softmax import RANKING
from similis.registry import Source, register
from similis.relation import Rows

#: Supervisions that put keys in an order.
ORDERED = (*RANKING, "scored", "labeled_pairs", "teacher")

_LAMBDA_LOSS = Source(
    "The LambdaLoss Framework for Ranking Metric Optimization", "Wang, Li, Golbandi, Bendersky and Najork", 2018
)


def _logistic(difference: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """``ln(1 + exp(-σx))`` and its derivative."""
    return softplus(-sigma * difference), torch.sigmoid(-sigma * difference).mul_(-sigma)


@register(
    "criterion",
    "ranknet",
    source=Source(
        "Learning to Rank using Gradient Descent",
        "Burges, Shaked, Renshaw, Lazier, Deeds, Hamilton and Hullender",
        2005,
    ),
    accepts=ORDERED,
    family="ranking",
    needs=("ordered",),
    each_positive=True,
)
def ranknet(
    scores: Tensor, relation: Rows, *, sigma: float = 1.0, k: int | None = None, weighting: str = "none"
) -> Tensor:
    """Mean logistic loss ln(1 + exp(-σ(s_i - s_j))) over the pairs graded i > j.

    The paper's cost with target probability 1. Checked against sentence-transformers' RankNetLoss, which is this in
    base 2 and averages over the pairs of the whole batch instead of each row. ``weighting="reciprocal"`` divides a
    pair by the sum of its two ranks by grade, as FIRST does (Reddy et al. 2024, equation 4), and sums.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape; the grades give the order.
        sigma: steepness, in 1/units of the score.
        k: only pairs with a key among the k highest scores; None for all.
        weighting: ``none`` or ``reciprocal``.

    Returns:
        ``[...]``.
    """
    one_of("weighting", weighting, ("none", "reciprocal"))
    index, real = ops.gather_positives(relation.ordered)
    lesser = lower(relation, index, real)
    top = None if k is None else hard_ranks(known_scores(scores, relation)) <= k
    by_grade = relation.grade.masked_fill(~relation.known, -float("inf"))
    places = hard_ranks(by_grade).to(scores.dtype) if weighting == "reciprocal" else scores

    def term(difference: Tensor, cut: slice) -> tuple[Tensor, Tensor, Tensor]:
        pairs = lesser(cut)
        if top is not None:
            pairs = pairs & (chosen(top, index)[..., cut].unsqueeze(-1) | top.unsqueeze(-2))
        value, slope = _logistic(difference, sigma)
        if weighting == "reciprocal":
            weight = (chosen(places, index)[..., cut].unsqueeze(-1) + places.unsqueeze(-2)).reciprocal_()
            value, slope = value * weight, slope * weight
        return value.mul_(pairs), slope.mul_(pairs), pairs

    total, count = pair_sum(scores, index, term)
    return total if weighting == "reciprocal" else total / count.clamp_min(1)


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
        value, slope = _logistic(difference, sigma)
        return value.mul_(weight), slope.mul_(weight), pairs

    return pair_sum(scores, index, term)[0]


@register(
    "criterion",
    "lambda_loss",
    source=_LAMBDA_LOSS,
    accepts=RANKING,
    family="ranking",
    needs=("positive", "ordered"),
    each_positive=True,
    sorts=True,
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

    Checked against the paper's equations 11 to 18 and sentence-transformers' LambdaLoss with its five schemes; that
    one averages over the pairs of the whole batch, ours over each row's.

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
        value, slope = _logistic(difference, sigma)
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
        n = known.sum(-1)
        count = n * n if k is None else n * n - (n - k).clamp_min(0) ** 2
    return total / count.clamp_min(1) / math.log(2)


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
    weight g_i - g_j; both over Σ g_i. Checked against the paper's section 4.2 (ARPLoss1 and ARPLoss2).

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
        value, slope = _logistic(difference, sigma)
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


@register(
    "criterion",
    "rank_hinge",
    source=Source("Large Margin Rank Boundaries for Ordinal Regression", "Herbrich, Graepel and Obermayer", 2000),
    accepts=ORDERED,
    family="ranking",
    needs=("ordered",),
    each_positive=True,
)
def rank_hinge(scores: Tensor, relation: Rows, *, margin: float = 1.0, by_grade: bool = False) -> Tensor:
    """Mean hinge [margin - (s_i - s_j)]_+ over the pairs graded i > j: ranking SVM's loss.

    Checked against TF-Ranking's PairwiseHingeLoss (margin 1, a sum instead of a mean).

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        margin: in units of the score.
        by_grade: multiply the margin by the pair's difference of grades.

    Returns:
        ``[...]``.
    """
    index, real = ops.gather_positives(relation.ordered)
    lesser = lower(relation, index, real)
    grade = relation.grade.to(scores.dtype)
    own = chosen(grade, index)

    def term(difference: Tensor, cut: slice) -> tuple[Tensor, Tensor, Tensor]:
        pairs = lesser(cut)
        wanted = margin * (own[..., cut].unsqueeze(-1) - grade.unsqueeze(-2)) if by_grade else margin
        short = (wanted - difference).mul_(pairs).clamp_min_(0)
        return short, -(short > 0).to(scores.dtype), pairs

    total, count = pair_sum(scores, index, term)
    return total / count.clamp_min(1)


@register(
    "criterion",
    "fidelity",
    source=Source("FRank: A Ranking Method with Fidelity Loss", "Tsai, Liu, Qin, Chen and Ma", 2007),
    accepts=ORDERED,
    family="ranking",
    needs=("ordered",),
    each_positive=True,
)
def fidelity(
    scores: Tensor, relation: Rows, *, temperature: float = 1.0, target_temperature: float | None = None
) -> Tensor:
    """Mean fidelity loss 1 - √(p̂p) - √((1-p̂)(1-p)) over the pairs graded i > j, bounded in 0..1.

    p = Φ((s_i - s_j)/(√2 τ)), Thurstone's model; p̂ = 1, or likewise from the grades with ``target_temperature`` (their
    standard deviation), as DeQA-Score (You et al. 2025) trains data sets of different scales together. FRank has the
    logistic in place of Φ.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        temperature: τ > 0, standard deviation of a score.
        target_temperature: standard deviation of a grade; None for certain targets.

    Returns:
        ``[...]``.
    """
    index, real = ops.gather_positives(relation.ordered)
    lesser = lower(relation, index, real)
    grade = relation.grade.to(scores.dtype)
    own = chosen(grade, index)
    tiny = torch.finfo(scores.dtype).eps

    def term(difference: Tensor, cut: slice) -> tuple[Tensor, Tensor, Tensor]:
        pairs = lesser(cut)
        x = difference / (math.sqrt(2) * temperature)
        p = torch.special.ndtr(x).clamp(tiny, 1 - tiny)
        if target_temperature is None:
            target = torch.ones_like(p)
        else:
            apart = own[..., cut].unsqueeze(-1) - grade.unsqueeze(-2)
            target = torch.special.ndtr(apart / (math.sqrt(2) * target_temperature))
        value = 1 - (p * target).sqrt() - ((1 - p) * (1 - target)).sqrt()
        density = torch.exp(-0.5 * x.square()) / (math.sqrt(2 * math.pi) * math.sqrt(2) * temperature)
        slope = 0.5 * density * (((1 - target) / (1 - p)).sqrt() - (target / p).sqrt())
        return value * pairs, slope * pairs, pairs

    total, count = pair_sum(scores, index, term)
    return total / count.clamp_min(1)
