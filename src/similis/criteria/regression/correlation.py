"""Correlation of a list's scores with its grades: Pearson, Spearman by smooth ranks, concordance."""

from __future__ import annotations

import torch
from torch import Tensor

from similis.criteria import ops
from similis.criteria.ranking.ops import grade_places, known_scores, soft_ranks
from similis.criteria.ranking.pairwise import ORDERED
from similis.registry import Source, register
from similis.relation import Rows


def _moments(x: Tensor, y: Tensor, kept: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Variances of x and y, their covariance and their difference of means, over the kept: each ``[...]``."""
    count = ops.count(kept, keepdim=True).clamp_min(1)
    gap = ops.masked(x - y, kept).sum(-1, keepdim=True) / count
    x = ops.masked(x - ops.total(x, kept).unsqueeze(-1) / count, kept)
    y = ops.masked(y - ops.total(y, kept).unsqueeze(-1) / count, kept)
    n = count.squeeze(-1)
    return x.square().sum(-1) / n, y.square().sum(-1) / n, (x * y).sum(-1) / n, gap.squeeze(-1)


def _correlation(x: Tensor, y: Tensor, kept: Tensor) -> Tensor:
    """Pearson's r over the kept; 0 (with a zero gradient) where either side is constant."""
    x_variance, y_variance, covariance, _ = _moments(x, y, kept)
    product = x_variance * y_variance
    varied = product > torch.finfo(x.dtype).tiny * 1e8
    return torch.where(varied, covariance / torch.where(varied, product, torch.ones_like(product)).sqrt(), 0.0)


@register(
    "criterion",
    "pearson",
    source=Source("Thirteen Ways to Look at the Correlation Coefficient", "Rodgers and Nicewander", 1988),
    accepts=ORDERED,
    family="regression",
)
def pearson(scores: Tensor, relation: Rows) -> Tensor:
    """1 - Pearson correlation of scores and grades over the known keys of a row: shift and scale are free.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.

    Returns:
        ``[...]``, in 0..2.
    """
    return 1 - _correlation(scores, relation.grade.to(scores.dtype), relation.known)


@register(
    "criterion",
    "spearman",
    source=Source("The Proof and Measurement of Association between Two Things", "Spearman", 1904),
    accepts=("scored", "labeled_pairs", "graded", "teacher", "hierarchy"),
    family="regression",
    each_key=True,
    sorts=True,
)
def spearman(scores: Tensor, relation: Rows, *, temperature: float = 0.05) -> Tensor:
    """1 - Pearson correlation of the smooth ranks of the scores and the ranks of the grades (ties averaged).

    The smooth rank is 1 + Σ sigmoid((s_k - s_i)/τ) (Qin, Liu and Li 2010): O(m²) time a row, O(m) memory.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        temperature: τ > 0, in units of the score; smaller is nearer Spearman's ρ.

    Returns:
        ``[...]``, in 0..2.
    """
    index = torch.arange(scores.shape[-1], device=scores.device).expand(scores.shape)
    ranks = soft_ranks(known_scores(scores, relation), index, temperature)
    higher, equal = grade_places(relation)
    return 1 - _correlation(ranks, (higher + (equal + 1) / 2).to(scores.dtype), relation.known)


@register(
    "criterion",
    "concordance",
    source=Source("A Concordance Correlation Coefficient to Evaluate Reproducibility", "Lin", 1989),
    accepts=ORDERED,
    family="regression",
)
def concordance(scores: Tensor, relation: Rows) -> Tensor:
    """1 - Lin's concordance 2·cov / (var_s + var_g + (mean_s - mean_g)²): correlation and agreement of scale at once.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.

    Returns:
        ``[...]``, in 0..2.
    """
    of_scores, of_grades, together, gap = _moments(scores, relation.grade.to(scores.dtype), relation.known)
    below = of_scores + of_grades + gap.square()
    return 1 - torch.where(below > 0, 2 * together / torch.where(below > 0, below, torch.ones_like(below)), 0.0)
