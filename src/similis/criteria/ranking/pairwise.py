"""Pairwise ranking criteria: every key against the keys of a lower grade."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from similis.criteria import ops
from similis.criteria.ranking.ops import (
    chosen,
    hard_ranks,
    known_scores,
    lower,
    one_of,
    pair_sum,
)
from similis.criteria.softmax.infonce import RANKING
from similis.registry import Source, register
from similis.relation import Rows

#: Supervisions that put keys in an order.
ORDERED = (*RANKING, "scored", "labeled_pairs", "teacher")


def logistic(difference: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
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
    pair by the sum of its two ranks by grade, as FIRST does (Reddy et al. 2024), and sums.

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
        value, slope = logistic(difference, sigma)
        if weighting == "reciprocal":
            weight = (chosen(places, index)[..., cut].unsqueeze(-1) + places.unsqueeze(-2)).reciprocal_()
            value, slope = value * weight, slope * weight
        return value.mul_(pairs), slope.mul_(pairs), pairs

    total, count = pair_sum(scores, index, term)
    return total if weighting == "reciprocal" else total / count.clamp_min(1)


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

    Checked against TF-Ranking's PairwiseHingeLoss (margin 1).

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
