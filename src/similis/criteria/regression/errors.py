"""Pointwise regression of scores on target grades, and overlap of soft label sets."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from similis.criteria import ops
from similis.criteria.ranking.ops import mean_square_gap
from similis.criteria.ranking.pairwise import ORDERED
from similis.criteria.regression.scored import SCORED
from similis.registry import Source, register
from similis.relation import Rows


@register(
    "criterion",
    "mae",
    source=Source(
        "Advantages of the Mean Absolute Error over the Root Mean Square Error in Assessing Average Model Performance",
        "Willmott and Matsuura",
        2005,
    ),
    accepts=SCORED,
    family="regression",
)
def mae(scores: Tensor, relation: Rows) -> Tensor:
    """Mean absolute difference of score and target grade over the known pairs.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.

    Returns:
        ``[...]``.
    """
    return ops.mean((scores - relation.grade).abs(), relation.known)


@register(
    "criterion",
    "huber",
    source=Source("Robust Estimation of a Location Parameter", "Huber", 1964),
    accepts=SCORED,
    family="regression",
)
def huber(scores: Tensor, relation: Rows, *, delta: float = 0.1) -> Tensor:
    """Mean Huber loss: half the squared difference up to δ, δ(|difference| - δ/2) beyond.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        delta: δ > 0, in units of the score.

    Returns:
        ``[...]``.
    """
    apart = (scores - relation.grade).abs()
    near = apart.clamp_max(delta)
    return ops.mean(near * (apart - 0.5 * near), relation.known)


@register(
    "criterion",
    "binary_cross_entropy",
    source=Source("Passage Re-ranking with BERT", "Nogueira and Cho", 2019),
    accepts=ORDERED,
    family="ranking",
)
def binary_cross_entropy(
    scores: Tensor, relation: Rows, *, temperature: float = 1.0, positive_weight: float = 1.0
) -> Tensor:
    """Mean cross-entropy of the grade (0..1, soft ones too) and sigmoid(score/τ): pointwise ranking.

    Equals sentence-transformers' BinaryCrossEntropyLoss of a cross-encoder.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        temperature: τ > 0, in units of the score.
        positive_weight: weight of the positive term.

    Returns:
        ``[...]``.
    """
    logits = scores / temperature
    grade = relation.grade.to(scores.dtype)
    entropy = positive_weight * grade * softplus(-logits) + (1 - grade) * softplus(logits)
    return ops.mean(entropy, relation.known)


@register(
    "criterion",
    "jaccard",
    source=Source(
        "Jaccard Metric Losses: Optimizing the Jaccard Index with Soft Labels", "Wang, Ning and Blaschko", 2023
    ),
    accepts=("labels", "graded", "teacher", "hierarchy", "pairs"),
    family="regression",
)
def jaccard(scores: Tensor, relation: Rows, *, temperature: float = 1.0, form: int = 1) -> Tensor:
    """Jaccard metric loss of the soft set x = sigmoid(scores/τ) and the grades y, zero exactly where x = y.

    Form 1: 1 - (|x + y|₁ - |x - y|₁) / (|x + y|₁ + |x - y|₁); form 2: 1 - ⟨x, y⟩ / (⟨x, y⟩ + |x - y|₁). Both equal the
    soft Jaccard loss for hard labels.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape, grades in 0..1.
        temperature: τ > 0, in units of the score.
        form: 1 or 2.

    Returns:
        ``[...]``.
    """
    x = torch.sigmoid(scores / temperature)
    y = relation.grade.to(scores.dtype)
    apart = ops.total((x - y).abs(), relation.known)
    if form == 1:
        both = ops.total(x + y, relation.known)
        shared, whole = both - apart, both + apart
    else:
        shared = ops.total(x * y, relation.known)
        whole = shared + apart
    empty = whole <= 0
    return 1 - torch.where(empty, 1.0, shared / torch.where(empty, torch.ones_like(whole), whole))


@register(
    "criterion",
    "log_ratio",
    source=Source("Deep Metric Learning Beyond Binary Supervision", "Kim, Seo, Laptev, Cho and Kwak", 2019),
    accepts=("graded", "hierarchy"),
    family="regression",
    similarity="euclidean",
)
def log_ratio(scores: Tensor, relation: Rows, *, epsilon: float = 1e-6) -> Tensor:
    """Ratios of distances should be those of the targets: mean over i<j of (log(d_i/d_j) - log(D_i/D_j))².

    d = -score, D = 1 - grade (``Relation.distances``; its scale cancels where ε does not matter). The mean over pairs
    is twice the sample variance of log d - log D: O(m), no pairs. Checked against the authors' LogRatioLoss.

    Args:
        scores: ``[..., m]``, minus distances.
        relation: rows of the same shape.
        epsilon: added to both distances before the logarithm.

    Returns:
        ``[...]``.
    """
    apart = (-scores).clamp_min(0) + epsilon
    wanted = (1 - relation.grade.to(scores.dtype)).clamp_min(0) + epsilon
    return mean_square_gap(apart.log() - wanted.log(), relation.known)
