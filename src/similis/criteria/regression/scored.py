"""Criteria over real-valued targets: scored pairs and teachers."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from similis.criteria import ops
from similis.criteria.ranking.ops import running_logsumexp
from similis.criteria.softmax.terms import Positives
from similis.registry import Source, register
from similis.relation import Rows

SCORED = ("scored", "labeled_pairs", "graded", "teacher", "hierarchy", "labels")


@register(
    "criterion",
    "mse",
    source=Source("Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks", "Reimers and Gurevych", 2019),
    accepts=SCORED,
    family="regression",
)
def mse(scores: Tensor, relation: Rows) -> Tensor:
    """Mean squared difference of score and target grade over the known pairs (CosineSimilarityLoss with cosine).

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.

    Returns:
        ``[...]``.
    """
    return ops.mean((scores - relation.grade).square(), relation.known)


@register(
    "criterion",
    "cosent",
    source=Source("CoSENT: A More Efficient Sentence Vector Scheme than Sentence-BERT", "Su", 2022),
    accepts=SCORED,
    family="regression",
    sorts=True,
)
def cosent(scores: Tensor, relation: Rows, *, temperature: float = 0.05) -> Tensor:
    """log(1 + Σ over pairs graded i > j of exp((s_j - s_i)/τ)): a list's scores in the order of its grades.

    Computed in O(m log m): sorted by grade, the inner sum over lower grades is a running log-sum-exp. With two grades
    only, it is one log-sum-exp of each, without a sort.
    Equal grades make no pair. Equals sentence-transformers' CoSENTLoss with scale 1/τ.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape; the grades give the order.
        temperature: τ > 0, in units of the score.

    Returns:
        ``[...]``.
    """
    scaled = scores / temperature
    if relation.given_grade is None:
        below = ops.logsumexp(scaled, relation.negative)
        return softplus(below + Positives.of(scaled, relation).mass(-scaled))
    grade = relation.grade.masked_fill(~relation.known, float("inf"))
    order = ops.order(grade)
    grade = grade.gather(-1, order)
    real = relation.known.gather(-1, order)
    sorted_scores = scaled.gather(-1, order)
    lower = running_logsumexp(ops.keep(sorted_scores, real))
    first = torch.searchsorted(grade.contiguous(), grade.contiguous())
    below = lower.gather(-1, (first - 1).clamp_min(0))
    pairs = torch.where(real & (first > 0), below - sorted_scores, ops.low(scores))
    return softplus(ops.logsumexp_outside(pairs, None))
