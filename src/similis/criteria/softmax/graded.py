"""Softmax criteria whose targets or positives carry weights, and the soft top-k operator."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from similis.criteria import ops
from similis.criteria.softmax.infonce import BOTH, RANKING
from similis.criteria.softmax.terms import Positives, known, known_mass, softplus
from similis.errors import UserError
from similis.registry import Source, register
from similis.relation import Rows


@register(
    "criterion",
    "generalized_contrastive",
    source=Source(
        "Generalized Contrastive Learning for Multi-Modal Retrieval and Ranking", "Zhu, Jung and Clark", 2024
    ),
    accepts=("graded", "pairs", "triplets", "labels", "hierarchy"),
    family="softmax",
    needs=BOTH,
    directions=("q2k", "k2q"),
)
def generalized_contrastive(
    scores: Tensor, relation: Rows, *, temperature: float = 0.05, weighting: str = "linear"
) -> Tensor:
    """In-batch cross-entropy of each judged pair times a function of its grade, in both directions.

    Definition: 1/|P| Σ_p w(g_p) · -log(exp(s_p/τ) / Σ_{known k} exp(s_k/τ)); w(g) is g ("linear"), √g ("sqrt"),
    log₂(1 + g) ("log") or 1 ("constant", which is InfoNCE).

    Checked against the paper's abstract: a score-to-weight function multiplies the cross-entropy of each
    query-document pair. Fields (title and image) are mixed before scoring, by the encoder.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape; grades in 0..1.
        temperature: τ > 0, in units of the score.
        weighting: the score-to-weight function.

    Returns:
        ``[...]``.

    Raises:
        UserError: an unknown weighting.
    """
    scaled = scores / temperature
    positives = Positives.of(scaled, relation)
    grade = positives.take(relation.grade).to(scores.dtype)
    match weighting:
        case "linear":
            weight = grade
        case "sqrt":
            weight = grade.sqrt()
        case "log":
            weight = grade.log1p() / math.log(2.0)
        case "constant":
            weight = torch.ones_like(grade)
        case _:
            raise UserError(f"weighting must be linear, sqrt, log or constant, not {weighting!r}")
    everything = known_mass(scaled, relation)
    return positives.mean(weight * (positives.beside(everything) - positives.take(scaled)))


@register(
    "criterion",
    "cwcl",
    source=Source("CWCL: Cross-Modal Transfer with Continuously Weighted Contrastive Loss", "Srinivasa et al.", 2023),
    accepts=(*RANKING, "teacher"),
    family="softmax",
)
def cwcl(scores: Tensor, relation: Rows, *, temperature: float = 0.05) -> Tensor:
    """Softmax cross-entropy towards every key, weighed by how similar a frozen tower finds the two items.

    Definition: -(1/Σ_j w_j) Σ_j w_j log(exp(s_j/τ) / Σ_{known k} exp(s_k/τ)), w = (cosine + 1)/2.

    The frozen tower's cosine is the relation's guide, or the teacher's score; with neither the grade itself is the
    weight, and an identity relation gives InfoNCE. The paper uses it in the frozen modality's direction
    and InfoNCE in the other. Checked: with an identity for the weights it is InfoNCE.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        temperature: τ > 0, in units of the score.

    Returns:
        ``[...]``.
    """
    if relation.guide is not None:
        weight = (relation.guide.to(scores.dtype) + 1) / 2
    elif relation.supervision == "teacher":
        weight = (relation.grade.to(scores.dtype) + 1) / 2
    else:
        weight = relation.grade.to(scores.dtype)
    weight = weight.clamp_min(0)
    if relation.left_out is not None:
        weight = weight.masked_fill(relation.left_out, 0.0)
    scaled = scores / temperature
    everything = known_mass(scaled, relation).unsqueeze(-1)
    return (weight * (everything - scaled)).sum(-1) / weight.sum(-1).clamp_min(1e-12)


@register(
    "criterion",
    "soft_topk",
    source=Source("Dual-Encoders for Extreme Multi-Label Classification", "Gupta et al.", 2024),
    accepts=RANKING,
    family="softmax",
    needs=BOTH,
    sorts=True,
)
def soft_topk(scores: Tensor, relation: Rows, *, k: int = 5, temperature: float = 0.05) -> Tensor:
    """-log of each positive's membership in a soft top-k of the row: full once it is safely among the k highest.

    Definition: z_j = σ(s_j/τ + t) with t such that Σ_{known} z_j = k; the loss is 1/|P| Σ_p -log z_p.

    The threshold t is found by safeguarded Newton steps without a graph, and a last step with one carries its
    exact derivative (implicit function theorem). Checked against the paper's abstract, whose operator
    is a monotone function shifted to sum to k; the sigmoid is our choice of that function. With k not
    below the number of known keys every membership would be 1; k is then that number less one half.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        k: how many of the highest to aim for.
        temperature: τ > 0, in units of the score.

    Returns:
        ``[...]``.
    """
    scaled = known(scores / temperature, relation)
    count = ops.count(relation.known).to(scores.dtype) if relation.left_out is not None else None
    size = scores.new_full(scores.shape[:-1], float(scores.shape[-1])) if count is None else count
    wanted = torch.minimum(torch.full_like(size, float(k)), (size - 0.5).clamp_min(0.5))
    threshold = _threshold(scaled, wanted, size, relation)
    positives = Positives.of(scaled, relation)
    return positives.mean(softplus(-(positives.take(scaled) + positives.beside(threshold))))


def _threshold(scaled: Tensor, wanted: Tensor, size: Tensor, relation: Rows) -> Tensor:
    """``[...]``: t with Σ σ(x + t) = wanted, differentiable in x."""
    with torch.no_grad():
        share = (wanted / size.clamp_min(1.0)).clamp(1e-6, 1 - 1e-6)
        low = share.log() - scaled.amax(-1)
        high = torch.logit(share) - ops.easiest(scaled, relation.known)
        high = torch.where(size > 0, torch.maximum(high, low), low)
        start = -scaled.topk(min(int(wanted.max().ceil()), scaled.shape[-1]), -1).values[..., -1]
        shift = start.clamp(low, high)
        tolerance = 1e-9 if scaled.dtype == torch.float64 else 1e-5
        for _ in range(60):
            member = torch.sigmoid(scaled + shift.unsqueeze(-1))
            excess = member.sum(-1) - wanted
            if bool((excess.abs() <= tolerance * wanted).all()):
                break
            slope = member.mul_(1 - member).sum(-1)
            low, high = torch.where(excess < 0, shift, low), torch.where(excess > 0, shift, high)
            step = shift - excess / slope.clamp_min(1e-30)
            shift = torch.where((step > low) & (step < high), step, (low + high) / 2)
    member = torch.sigmoid(scaled + shift.unsqueeze(-1))
    slope = (member * (1 - member)).detach().sum(-1).clamp_min(1e-30)
    return shift - (member.sum(-1) - wanted) / slope
