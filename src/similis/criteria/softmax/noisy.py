"""Criteria for labels that are partly wrong or missing, and for keys drawn unevenly."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from similis.criteria import ops
from similis.criteria.softmax.infonce import BOTH, LABELLED, RANKING, infonce
from similis.criteria.softmax.terms import Positives, known, own_terms, softplus
from similis.registry import Source, register
from similis.relation import Rows


@register(
    "criterion",
    "elr",
    source=Source(
        "Early-Learning Regularization Prevents Memorization of Noisy Labels",
        "Liu, Niles-Weed, Razavian and Fernandez-Granda",
        2020,
    ),
    accepts=LABELLED,
    family="proxy",
    needs=BOTH,
    keys="proxies",
    surrogate_gradient=True,
)
class EarlyLearning(nn.Module):
    """Cross-entropy pulled towards what the model itself said of the sample so far, before it memorises its label.

    Definition: -log p_y + λ log(1 - ⟨p, t⟩), t ← β t + (1 - β) p a moving average for each sample (updated before
    it is used, not differentiated), p clamped to 1e-4..1 - 1e-4. Checked against public copies of the authors'
    code. May be below zero. Rows whose relation names no sample use p for t.

    Args:
        temperature: τ > 0 of the softmax, in units of the score.
        weight: λ ≥ 0.
        memory: β in 0..1.
    """

    def __init__(self, temperature: float = 0.05, weight: float = 3.0, memory: float = 0.7) -> None:
        super().__init__()
        self.temperature, self.weight, self.memory = temperature, weight, memory

    def prepare(self, *, dimension: int, classes: int | None, rows: int | None) -> None:
        """Make room for the ``rows`` samples' averages over ``classes``."""
        if rows is not None and classes is not None:
            self.register_buffer("averages", torch.zeros(rows, classes))

    def forward(self, scores: Tensor, relation: Rows) -> Tensor:
        """Scores ``[..., m]`` → ``[...]``."""
        scaled = known(scores / self.temperature, relation)
        share = scaled.softmax(-1).clamp(1e-4, 1 - 1e-4)
        agreement = (share * self._average(share.detach(), relation)).sum(-1)
        pull: Tensor = torch.log1p(-agreement.clamp_max(1 - 1e-4))
        return own_terms(scaled, relation) + self.weight * pull

    def _average(self, share: Tensor, relation: Rows) -> Tensor:
        """``[..., m]``: the samples' averages with the present share in them."""
        share = share / share.sum(-1, keepdim=True)
        averages: Tensor | None = getattr(self, "averages", None)
        if averages is None or relation.samples is None or averages.shape[-1] != share.shape[-1]:
            return share
        blended = averages[relation.samples].to(share).lerp_(share, 1 - self.memory)
        if self.training and torch.is_grad_enabled():
            averages[relation.samples] = blended.to(averages)
        return blended


@register(
    "criterion",
    "symmetric_cross_entropy",
    source=Source(
        "Symmetric Cross Entropy for Robust Learning with Noisy Labels", "Wang, Ma, Chen, Luo, Yi and Bailey", 2019
    ),
    accepts=RANKING,
    family="softmax",
    needs=BOTH,
)
def symmetric_cross_entropy(
    scores: Tensor,
    relation: Rows,
    *,
    temperature: float = 0.05,
    alpha: float = 1.0,
    beta: float = 1.0,
    log_zero: float = -4.0,
) -> Tensor:
    """Cross-entropy and its reverse, which wrong labels cannot make large.

    Definition: mean over p of -α log p_p - β A (1 - p_p): the reverse cross-entropy -Σ p log q of a one-hot q whose
    log 0 is A < 0. Checked against public implementations, which clamp q at about e^A.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        temperature: τ > 0, in units of the score.
        alpha: α ≥ 0.
        beta: β ≥ 0.
        log_zero: A, what stands for log 0.

    Returns:
        ``[...]``.
    """

    def both(cross_entropy: Tensor) -> Tensor:
        return alpha * cross_entropy + beta * log_zero * torch.expm1(-cross_entropy)

    return own_terms(scores / temperature, relation, apply=both)


@register(
    "criterion",
    "error_norm_truncation",
    source=Source(
        "Error Norm Truncation: Robust Training in the Presence of Data Noise for Text Generation Models",
        "Li et al.",
        2024,
    ),
    accepts=RANKING,
    family="softmax",
    needs=BOTH,
    surrogate_gradient=True,
)
def error_norm_truncation(
    scores: Tensor, relation: Rows, *, temperature: float = 0.05, threshold: float = 1.3
) -> Tensor:
    """InfoNCE without the rows whose prediction is too far from the target as a whole.

    Definition: InfoNCE where ‖p - q‖₂ ≤ threshold, else 0; p the softmax over known keys, q the target. The norm
    is between 0 and √2: only a confident contradiction comes near √2, where the loss alone also drops rows that
    are merely undecided. Use it after a warm-up with plain InfoNCE. Checked against summaries of the paper.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        temperature: τ > 0, in units of the score.
        threshold: of the norm.

    Returns:
        ``[...]``.
    """
    scaled = scores / temperature
    with torch.no_grad():
        target = ops.normalized_grade(relation.grade, relation.positive).to(scores.dtype)
        norm: Tensor = torch.linalg.vector_norm(known(scaled, relation).softmax(-1) - target, dim=-1)
    return infonce(scaled, relation, temperature=1.0) * (norm <= threshold)


@register(
    "criterion",
    "sampled_softmax",
    source=Source("Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations", "Yi et al.", 2019),
    accepts=RANKING,
    family="softmax",
    needs=BOTH,
)
def sampled_softmax(scores: Tensor, relation: Rows, *, temperature: float = 0.05) -> Tensor:
    """InfoNCE with each key's score lowered by the log of how often it is drawn (logQ correction).

    Definition: :func:`infonce` of s_k/τ - log q_k, q the relation's pair weight: popular items, drawn as in-batch
    negatives more often than chance, are not pushed down for it. Without weights it is InfoNCE.
    Checked by drawing: it is the full softmax in the limit.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape; ``weight`` holds the keys' sampling probabilities, > 0.
        temperature: τ > 0, in units of the score.

    Returns:
        ``[...]``.
    """
    scaled = scores / temperature
    if relation.weight is not None:
        scaled = scaled - relation.weight.to(scores.dtype).clamp_min(1e-12).log()
    return infonce(scaled, relation, temperature=1.0)


@register(
    "criterion",
    "asymmetric_focal",
    source=Source("Asymmetric Loss For Multi-Label Classification", "Ridnik et al.", 2021),
    accepts=RANKING,
    family="softmax",
    needs=("positive",),
)
def asymmetric_focal(
    scores: Tensor,
    relation: Rows,
    *,
    temperature: float = 0.1,
    bias: float = 0.0,
    positive_focus: float = 0.0,
    negative_focus: float = 4.0,
    shift: float = 0.05,
) -> Tensor:
    """Logistic loss of each pair that looks away from easy ones, from easy (and suspect) negatives more.

    Definition: -Σ_p (1 - π_p)^γ⁺ log π_p - Σ_n ν_n^γ⁻ log(1 - ν_n), π = σ(s/τ + b), ν = max(π - m, 0). Equal focus
    and m = 0 give the focal loss of Lin et al. 2017. Checked against public implementations.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        temperature: τ > 0, in units of the score.
        bias: b.
        positive_focus: γ⁺ ≥ 0.
        negative_focus: γ⁻ ≥ 0.
        shift: m in 0..1: negatives of a probability below it are discarded.

    Returns:
        ``[...]``.
    """
    logits = scores / temperature + bias
    positives = Positives.of(logits, relation)
    own = positives.take(logits)
    attract = softplus(-own) * torch.sigmoid(-own).pow(positive_focus)
    count = ops.count(relation.positive).to(scores.dtype)
    shifted = (torch.sigmoid(logits) - shift).clamp(0, 1 - 1e-7)
    repel = -torch.log1p(-shifted) * shifted.pow(negative_focus)
    return positives.mean(attract) * count + ops.total(repel, relation.negative)
