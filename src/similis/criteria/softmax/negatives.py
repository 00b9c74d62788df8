"""Softmax criteria that reweigh, correct or decouple the negatives."""

from __future__ import annotations

import torch
from torch import Tensor

from similis.criteria import ops
from similis.criteria.softmax.infonce import BOTH, RANKING, infonce
from similis.criteria.softmax.terms import Positives, negative_count, negative_mass, not_negative, own_terms, softplus
from similis.registry import Source, register
from similis.relation import Rows


def _hardened(scaled: Tensor, relation: Rows, hardness: float) -> Tensor:
    """``[...]``: log of the mean of exp(s_n) over negatives drawn in proportion to exp(hardness · s_n)."""
    apart = not_negative(relation)
    if hardness == 0:
        return ops.logsumexp_outside(scaled, apart) - negative_count(relation).to(scaled.dtype).log()
    harder = ops.logsumexp_outside(scaled * (1 + hardness), apart)
    return harder - ops.logsumexp_outside(scaled if hardness == 1 else scaled * hardness, apart)


@register(
    "criterion",
    "hn_nce",
    source=Source(
        "Filtering, Distillation, and Hard Negatives for Vision-Language Pre-Training", "Radenovic et al.", 2023
    ),
    accepts=RANKING,
    family="softmax",
    needs=BOTH,
    directions=("q2k", "k2q"),
)
def hn_nce(
    scores: Tensor, relation: Rows, *, temperature: float = 0.05, alpha: float = 1.0, beta: float = 0.25
) -> Tensor:
    """Both-sided softmax whose negatives weigh more the harder they are (DiHT).

    Definition: mean over p of -log(exp(s_p/τ) / (α exp(s_p/τ) + Σ_n w_n exp(s_n/τ))) with
    w_n = N exp(β s_n/τ) / Σ_n' exp(β s_n'/τ), N the number of negatives.

    β = 0 and α = 1 give InfoNCE. Computed as the difference of two log-sum-exps. Checked against public
    implementations of the paper; the weights take part in the gradient as there.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        temperature: τ > 0, in units of the score.
        alpha: α ≥ 0, the positive's own weight in the denominator.
        beta: β ≥ 0, how hardness is preferred.

    Returns:
        ``[...]``.
    """
    scaled = scores / temperature
    mass = _hardened(scaled, relation, beta) + negative_count(relation).to(scores.dtype).log()
    if alpha == 1:
        return own_terms(scaled, relation, mass=mass)
    positives = Positives.of(scaled, relation)
    own, others = positives.take(scaled), positives.beside(mass)
    if alpha == 0:
        return positives.mean(others - own)
    weighed = own + torch.tensor(alpha, dtype=scores.dtype).log().item()
    return positives.mean(torch.logaddexp(weighed, others) - own)


@register(
    "criterion",
    "decoupled_contrastive",
    source=Source("Decoupled Contrastive Learning", "Yeh et al.", 2022),
    accepts=RANKING,
    family="softmax",
    needs=BOTH,
)
def decoupled_contrastive(scores: Tensor, relation: Rows, *, temperature: float = 0.1) -> Tensor:
    """Softmax without the positive in the denominator, so that easy negatives do not switch it off (DCL).

    Definition: mean over p of -s_p/τ + log Σ_n exp(s_n/τ). May be below zero.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        temperature: τ > 0, in units of the score.

    Returns:
        ``[...]``.
    """
    scaled = scores / temperature
    positives = Positives.of(scaled, relation)
    return positives.mean(positives.beside(negative_mass(scaled, relation)) - positives.take(scaled))


@register(
    "criterion",
    "debiased_contrastive",
    source=Source("Debiased Contrastive Learning", "Chuang, Robinson, Lin, Torralba and Jegelka", 2020),
    accepts=RANKING,
    family="softmax",
    needs=BOTH,
)
def debiased_contrastive(
    scores: Tensor, relation: Rows, *, temperature: float = 0.5, prior: float = 0.1, lowest: float = -1.0
) -> Tensor:
    """Softmax that takes out of the negatives' mass the share that is of the query's own class by chance.

    Definition: mean over p of -log(exp(s_p/τ) / (exp(s_p/τ) + N g)) with
    g = max(exp(lowest/τ), (mean_n exp(s_n/τ) - π mean_p exp(s_p/τ)) / (1 - π)), N the number of negatives.

    Checked against the authors' implementation as public repositories carry it (its tau_plus is π here).

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        temperature: τ > 0, in units of the score.
        prior: π in 0..1, the chance that an unlabelled key is a positive.
        lowest: the lowest score there is, -1 for a cosine.

    Returns:
        ``[...]``.
    """
    return hard_negative(scores, relation, temperature=temperature, prior=prior, beta=0.0, lowest=lowest)


@register(
    "criterion",
    "hard_negative",
    source=Source("Contrastive Learning with Hard Negative Samples", "Robinson, Chuang, Sra and Jegelka", 2021),
    accepts=RANKING,
    family="softmax",
    needs=BOTH,
)
def hard_negative(
    scores: Tensor,
    relation: Rows,
    *,
    temperature: float = 0.5,
    prior: float = 0.1,
    beta: float = 1.0,
    lowest: float = -1.0,
) -> Tensor:
    """:func:`debiased_contrastive` with the negatives drawn in proportion to exp(β s_n/τ).

    Definition: g there becomes (Σ_n u_n exp(s_n/τ) - π mean_p exp(s_p/τ)) / (1 - π), u_n ∝ exp(β s_n/τ), Σ u = 1.

    Checked against the authors' implementation as public repositories carry it; β = 0 is the debiased loss, π = 0
    and β = 0 the plain one.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        temperature: τ > 0, in units of the score.
        prior: π in 0..1, the chance that an unlabelled key is a positive.
        beta: β ≥ 0, concentration on hard negatives.
        lowest: the lowest score there is, -1 for a cosine.

    Returns:
        ``[...]``.
    """
    scaled = scores / temperature
    positives = Positives.of(scaled, relation)
    drawn = _hardened(scaled, relation, beta)
    count = ops.count(relation.positive).clamp_min(1).to(scores.dtype)
    own = torch.where(relation.has("positive"), positives.mass(scaled) - count.log(), drawn)
    # Relative to the larger of the two, so that nothing overflows and rows without negatives stay finite.
    top = torch.maximum(torch.maximum(drawn, own), torch.full_like(own, lowest / temperature)).detach()
    floor = (lowest / temperature - top).exp().clamp_min(torch.finfo(scores.dtype).tiny)
    corrected = ((drawn - top).exp() - prior * (own - top).exp()) / (1 - prior)
    mass = torch.maximum(corrected, floor).log() + top + negative_count(relation).to(scores.dtype).log()
    return positives.mean(softplus(positives.beside(mass) - positives.take(scaled)))


@register(
    "criterion",
    "contrastive_learning_penalty",
    source=Source(
        "Efficient fine-tuning methodology of text embedding models for information retrieval: "
        "contrastive learning penalty (clp)",
        "Yu",
        2024,
    ),
    accepts=("pairs", "triplets", "labels", "graded"),
    family="softmax",
    needs=BOTH,
    whole=True,
)
def contrastive_learning_penalty(
    scores: Tensor, relation: Rows, *, temperature: float = 0.05, weight: float = 0.1
) -> Tensor:
    """InfoNCE plus a penalty where a query's negative key comes closer to it than to the key's own queries.

    Definition: InfoNCE_i + λ mean over the negatives n that have a query of their own in the batch of
    -log(exp(o_n/τ) / (exp(o_n/τ) + exp(s_in/τ))), o_n the mean score of key n with its own queries.

    The paper's idea — a negative must not be dragged from the queries it answers — with a weighting of ours: its
    own formula is published as a picture and could not be checked.

    Args:
        scores: ``[n, m]``.
        relation: rows of the same shape.
        temperature: τ > 0, in units of the score.
        weight: λ ≥ 0.

    Returns:
        ``[n]``.
    """
    scaled = scores / temperature
    positives = Positives.of(scaled, relation)
    owners = ops.count(relation.positive, -2)
    own = scaled.new_zeros(owners.shape).index_add(0, positives.at % owners.shape[-1], positives.take(scaled))
    crowded = softplus(scaled - own / owners.clamp_min(1))
    penalty = ops.mean(crowded, relation.negative & (owners > 0))
    return infonce(scaled, relation, temperature=1.0) + weight * penalty
