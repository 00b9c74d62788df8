"""Distillation from a teacher's scores of the same pairs."""

from __future__ import annotations

import torch
from torch import Tensor

from similis.criteria import ops
from similis.criteria.ranking.ops import (
    chosen,
    grade_places,
    known_scores,
    mean_square_gap,
    one_of,
    soft_ranks,
)
from similis.registry import Source, register
from similis.relation import Rows

_TEACHER = ("teacher", "graded")


@register(
    "criterion",
    "margin_mse",
    source=Source(
        "Improving Efficient Neural Ranking Models with Cross-Architecture Knowledge Distillation",
        "Hofstätter, Althammer, Schröder, Sertkan and Hanbury",
        2020,
    ),
    accepts=_TEACHER,
    family="distillation",
    similarity="dot",
    positional=True,
)
def margin_mse(scores: Tensor, relation: Rows, *, against: str = "first") -> Tensor:
    """Mean squared difference of the student's and the teacher's margins; a shift of either is free.

    Margins are taken ``against`` the ``first`` known key (the positive, where each query has its list: positive, then
    negatives), the ``best`` of the teacher, or between ``all`` pairs of keys, which is twice the sample variance of
    s - t and needs no pairs. ``first`` equals sentence-transformers' MarginMSELoss.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape; grades are the teacher's scores.
        against: ``first``, ``best`` or ``all``.

    Returns:
        ``[...]``.
    """
    one_of("against", against, ("first", "best", "all"))
    known = relation.known
    residual = scores - relation.grade
    if against == "all":
        return mean_square_gap(residual, known)
    if against == "first":
        base = known.to(torch.uint8).argmax(-1, keepdim=True)
    else:
        base = relation.grade.masked_fill(~known, -float("inf")).argmax(-1, keepdim=True)
    apart = residual.gather(-1, base) - residual
    return ops.total(apart.square(), known) / (ops.count(known) - 1).clamp_min(1)


@register(
    "criterion",
    "distill_kl",
    source=Source("Distilling the Knowledge in a Neural Network", "Hinton, Vinyals and Dean", 2015),
    accepts=_TEACHER,
    family="distillation",
)
def distill_kl(
    scores: Tensor,
    relation: Rows,
    *,
    temperature: float = 1.0,
    teacher_temperature: float | None = None,
    divergence: str = "forward",
) -> Tensor:
    """τ² KL(softmax(teacher/τ_t) ‖ softmax(scores/τ)) over the known keys.

    ``reverse`` swaps the two, ``jensen_shannon`` averages both against their mean. ``forward`` equals
    sentence-transformers' DistillKLDivLoss.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape; grades are the teacher's scores.
        temperature: τ > 0.
        teacher_temperature: τ_t > 0; None for τ.
        divergence: ``forward``, ``reverse`` or ``jensen_shannon``.

    Returns:
        ``[...]``.
    """
    one_of("divergence", divergence, ("forward", "reverse", "jensen_shannon"))
    kept = relation.known
    student = _log_share(scores / temperature, relation)
    teacher = _log_share(relation.grade.to(scores.dtype) / (teacher_temperature or temperature), relation)
    if divergence == "forward":
        found = _kl(teacher, student, kept)
    elif divergence == "reverse":
        found = _kl(student, teacher, kept)
    else:
        middle = torch.logaddexp(student, teacher) - torch.log(torch.tensor(2.0, dtype=scores.dtype))
        found = (_kl(teacher, middle, kept) + _kl(student, middle, kept)) / 2
    return found * temperature**2


def _log_share(logits: Tensor, relation: Rows) -> Tensor:
    return known_scores(logits, relation).log_softmax(-1).masked_fill(~relation.known, 0.0)


def _kl(p: Tensor, q: Tensor, kept: Tensor) -> Tensor:
    """KL divergence of log-distributions ``[..., m]`` over the kept."""
    return ops.total(p.exp() * (p - q), kept)


@register(
    "criterion",
    "adr_mse",
    source=Source(
        "Rank-DistiLLM: Closing the Effectiveness Gap Between Cross-Encoders and LLMs for Passage Re-ranking",
        "Schlatt, Fröbe, Scells, Zhuang, Koopman, Zuccon, Stein, Potthast and Hagen",
        2025,
    ),
    accepts=("teacher", "graded", "scored", "hierarchy"),
    family="distillation",
    each_key=True,
    sorts=True,
    terms="keys",
)
def adr_mse(scores: Tensor, relation: Rows, *, temperature: float = 1.0) -> Tensor:
    """Squared error of smooth ranks against the ranks by grade (ties averaged), discounted by 1/log2(1 + rank).

    The teacher gives an order only. O(m²) time a row, O(m) memory. Equals sentence-transformers' ADRMSELoss with alpha
    1/τ, which averages over the keys of the whole batch, with ``reduction="mean_terms"``.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        temperature: τ > 0 of the smooth ranks, in units of the score.

    Returns:
        ``[...]``.
    """
    index = torch.arange(scores.shape[-1], device=scores.device).expand(scores.shape)
    ranks = soft_ranks(known_scores(scores, relation), index, temperature)
    higher, equal = grade_places(relation)
    true = (higher + (equal + 1) / 2).to(scores.dtype)
    return ops.mean((true - ranks).square() / torch.log2(true + 1), relation.known)


@register(
    "criterion",
    "dark_rank",
    source=Source(
        "DarkRank: Accelerating Deep Metric Learning via Cross Sample Similarities Transfer",
        "Chen, Wang and Zhang",
        2018,
    ),
    accepts=("teacher",),
    family="distillation",
    similarity="euclidean",
    sorts=True,
)
def dark_rank(scores: Tensor, relation: Rows, *, k: int = 4, scale: float = 3.0, power: float = 3.0) -> Tensor:
    """Negative log-likelihood, under the student's scores, of the teacher's order of its k nearest keys.

    Student logits are -α d^β with d = -score; the Plackett-Luce likelihood is over those k keys alone. Checked against
    HardDarkRank in the RKD authors' repository (α = β = 3, k = 4).

    Args:
        scores: ``[..., m]``, minus distances.
        relation: rows of the same shape; grades are the teacher's scores, in any unit.
        k: keys of the teacher's order.
        scale: α.
        power: β.

    Returns:
        ``[...]``.
    """
    top = known_scores(relation.grade, relation).topk(min(k, scores.shape[-1]), -1).indices
    real = chosen(relation.known, top)
    logits = ops.keep(-scale * (-chosen(scores, top)).clamp_min(0) ** power, real)
    tails = logits.flip(-1).logcumsumexp(-1).flip(-1)
    return ops.total(tails - logits, real)


@register(
    "criterion",
    "dynamic_distill",
    source=Source(
        "Dynamic Contrastive Distillation for Image-Text Retrieval", "Rao, Ding, Qi, Fang, Liu, Shen and Tao", 2022
    ),
    accepts=("teacher",),
    family="distillation",
    surrogate_gradient=True,
)
def dynamic_distill(
    scores: Tensor, relation: Rows, *, temperature: float = 0.05, teacher_temperature: float = 1.0, hard: int = 16
) -> Tensor:
    """Contrast and distil on the keys the teacher finds hardest, each sample by how unsure the student still is.

    Over the teacher's ``hard`` + 1 best keys: (1 - u)·CE(student, teacher's best key) + u·KL(teacher ‖ student), u the
    student's entropy over its maximum, without a gradient: what the student is sure of it learns by itself, the
    rest from the teacher. The paper's two ideas, hard samples by the teacher and dynamic weights, are kept; its exact
    weights could not be checked against code, and the entropy weight is that of Li et al., "Dynamic Knowledge
    Distillation for Pre-trained Language Models", 2021.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape; grades are the teacher's scores.
        temperature: τ > 0 of the scores.
        teacher_temperature: of the teacher.
        hard: negatives of a row.

    Returns:
        ``[...]``.
    """
    top = known_scores(relation.grade, relation).topk(min(hard + 1, scores.shape[-1]), -1).indices
    real = chosen(relation.known, top)
    student = ops.keep(chosen(scores, top) / temperature, real).log_softmax(-1)
    teacher = ops.keep(chosen(relation.grade.to(scores.dtype), top) / teacher_temperature, real).log_softmax(-1)
    entropy = -ops.total(student.exp() * student, real).detach()
    unsure = entropy / ops.count(real).clamp_min(2).to(scores.dtype).log()
    alone = -student[..., 0].masked_fill(~real[..., 0], 0.0)
    return (1 - unsure) * alone + unsure * _kl(teacher, student, real)


@register(
    "criterion",
    "attract",
    source=Source(
        "EmbedDistill: A Geometric Knowledge Distillation for Information Retrieval",
        "Kim, Rawat, Zaheer and others",
        2023,
    ),
    accepts=("pairs", "labels", "triplets", "graded", "hierarchy"),
    family="distillation",
    needs=("positive",),
    similarity="match",
    reads="positives",
)
def attract(scores: Tensor, relation: Rows) -> Tensor:
    """Minus the mean score of the positives: pairs (student, teacher embedding) pulled together, nothing pushed apart.

    ``similarity="match(squared=1, cosine=0)"`` is the mean squared error of embeddings, ``match(squared=0, cosine=1)``
    their cosine distance less 1, ``euclidean`` the distance: the three metrics of sentence-transformers'
    EmbedDistillLoss.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.

    Returns:
        ``[...]``.
    """
    return -ops.mean(scores, relation.positive)
