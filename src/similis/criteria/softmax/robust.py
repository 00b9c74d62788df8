"""Classification losses on a softmax that bear wrong labels: comp-sum, generalised cross-entropy, LDR."""

from __future__ import annotations

import torch
from torch import Tensor

from similis.criteria.softmax.infonce import BOTH, LABELLED, RANKING
from similis.criteria.softmax.terms import negative_count, own_terms
from similis.registry import Source, register
from similis.relation import Rows


@register(
    "criterion",
    "comp_sum",
    source=Source("Cross-Entropy Loss Functions: Theoretical Analysis and Applications", "Mao, Mohri and Zhong", 2023),
    accepts=RANKING,
    family="softmax",
    needs=BOTH,
)
def comp_sum(scores: Tensor, relation: Rows, *, tempering: float = 1.5, temperature: float = 0.05) -> Tensor:
    """The comp-sum family: cross-entropy at t = 1, generalised cross-entropy for 1 < t < 2, 1 - p at t = 2.

    Definition: with u = Σ_n exp((s_n - s_p)/τ), mean over p of ((1 + u)^(1-t) - 1)/(1 - t), log(1 + u) at t = 1.
    t = 0 is the sum-exponential loss u itself. Checked at t = 1 and t = 2, cross-entropy and 1 - p.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        tempering: t ≥ 0; above 1 the loss is bounded by 1/(t - 1), so wrong labels cannot dominate.
        temperature: τ > 0, in units of the score.

    Returns:
        ``[...]``.
    """

    def tempered(cross_entropy: Tensor) -> Tensor:
        if tempering == 1:
            return cross_entropy
        return torch.expm1((1 - tempering) * cross_entropy) / (1 - tempering)

    return own_terms(scores / temperature, relation, apply=tempered)


@register(
    "criterion",
    "generalized_cross_entropy",
    source=Source(
        "Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels",
        "Zhang and Sabuncu",
        2018,
    ),
    accepts=RANKING,
    family="softmax",
    needs=BOTH,
)
def generalized_cross_entropy(scores: Tensor, relation: Rows, *, q: float = 0.7, temperature: float = 0.05) -> Tensor:
    """(1 - p^q)/q of the positive's softmax probability p: between cross-entropy (q → 0) and 1 - p (q = 1).

    It is :func:`comp_sum` at t = 1 + q.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        q: 0 < q ≤ 1.
        temperature: τ > 0, in units of the score.

    Returns:
        ``[...]``.
    """
    return comp_sum(scores, relation, tempering=1 + q, temperature=temperature)


@register(
    "criterion",
    "ldr",
    source=Source(
        "Label Distributionally Robust Losses for Multi-class Classification: Consistency, Robustness and Adaptivity",
        "Zhu, Ying and Yang",
        2023,
    ),
    accepts=RANKING,
    family="softmax",
    needs=BOTH,
)
def ldr(scores: Tensor, relation: Rows, *, temperature: float = 0.05, margin: float = 0.0) -> Tensor:
    """Label-distributionally robust loss: margin and temperature as the two sides of one worst case over labels.

    Definition: mean over p of λ log(1/K Σ_k exp((s_k - s_p + c_k)/λ)), k over p itself (c = 0) and the negatives
    (c = margin), K of them. It is max over distributions π of Σ π_k (s_k - s_p + c_k) - λ KL(π, uniform).

    λ = 1 and c = 0 is cross-entropy less log K; λ → 0 is Crammer and Singer's hinge. Checked against these limits.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        temperature: λ > 0, in units of the score.
        margin: c ≥ 0, in units of the score.

    Returns:
        ``[...]``, not below -λ log K.
    """
    keys = (negative_count(relation) + 1).to(scores.dtype)

    def raised(own: Tensor) -> Tensor:
        return own - margin / temperature

    return temperature * (own_terms(scores / temperature, relation, changed=raised) - keys.log())


@register(
    "criterion",
    "harmonic",
    source=Source("Harmonic Loss Trains Interpretable AI Models", "Baek et al.", 2025),
    accepts=LABELLED,
    family="proxy",
    needs=BOTH,
    keys="proxies",
    similarity="euclidean(squared=True)",
)
def harmonic(scores: Tensor, relation: Rows, *, exponent: float = 16.0) -> Tensor:
    """Softmax of minus the logarithm of distances: scale invariant, and its optimum is the class centre itself.

    Definition: -log(d_p^-n / Σ_k d_k^-n), d the Euclidean distance to each proxy, n the harmonic exponent (the
    paper takes about the square root of the dimension).

    The scores are minus squared distances, so n log d = (n/2) log(-s). Checked against public implementations.

    Args:
        scores: ``[..., m]`` minus squared distances.
        relation: rows of the same shape.
        exponent: n > 0.

    Returns:
        ``[...]``.
    """
    # Squared distances below this share of the row's mean are rounding of zero; their logarithm has no gradient.
    squares = -scores
    tiny = 1e-12 * squares.detach().mean(-1, keepdim=True).clamp_min(1e-12)
    return own_terms(squares.clamp_min(tiny).log() * (-exponent / 2), relation)
