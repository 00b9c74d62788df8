"""Criteria that compare with another model, or mistrust some of the preferences they are given."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from similis.criteria import ops
from similis.criteria.margin.options import for_every_row
from similis.criteria.softmax.infonce import BOTH, RANKING
from similis.criteria.softmax.terms import softplus
from similis.registry import Source, register
from similis.relation import Rows


@register(
    "criterion",
    "confidence_ranking",
    source=Source("Confidence Ranking for CTR Prediction", "Zhu, Liu, Wang, Zhao, Lin and Shao", 2023),
    accepts=(*RANKING, "labeled_pairs"),
    family="ranking",
)
def confidence_ranking(scores: Tensor, relation: Rows, *, temperature: float = 1.0, weight: float = 1.0) -> Tensor:
    """Log loss, and a log loss of beating an older model: surer than it of positives, less sure of negatives.

    Definition: mean over known k of softplus(-y z) + weight · softplus(-y (z - g)), y = 1 for positives and -1 for
    negatives, z = s/τ and g the older model's logit, the relation's guide: the logistic surrogate of accuracy on the
    label-signed difference of the two models. Without a guide it is the log loss. After the paper's abstract (a
    ranking of two models' logits through a convex surrogate of accuracy or AUC); the equations were not at hand, and
    surrogate and weight are chosen here.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape, with ``guide``.
        temperature: τ > 0, in units of the score.
        weight: of the comparison.

    Returns:
        ``[...]``.
    """
    logits = scores / temperature
    sign = 2 * relation.positive.to(scores.dtype) - 1
    values = softplus(-sign * logits)
    if relation.guide is not None:
        values = values + weight * softplus(-sign * (logits - relation.guide.to(scores.dtype)))
    return ops.mean(values, relation.known)


@register(
    "criterion",
    "robust_preferences",
    source=Source(
        "Towards Robust Alignment of Language Models: Distributionally Robustifying Direct Preference Optimization",
        "Wu, Xie, Yang, Wu, Chen, Gao, Ding, Wang and He",
        2024,
    ),
    accepts=RANKING,
    family="ranking",
    needs=BOTH,
    each_positive=True,
    whole=True,
)
def robust_preferences(scores: Tensor, relation: Rows, *, temperature: float = 0.1, trust: float = 1.0) -> Tensor:
    """Pairwise logistic loss in which a preference that the model contradicts counts less: it may be a flipped one.

    Definition: -β' log mean over (i, p, n) of exp(log σ((s_ip - s_in)/τ)/β'), the mean over a row's pairs and then
    over the rows that have any. β' → ∞ is ``bpr``, the plain mean; small β' listens to the pairs that agree (Dr. DPO,
    whose margin is a difference of log-ratios to a reference model). Checked against the authors' published loss,
    -β' log of the mean over pairs of exp(-loss/β') (β' = 1): equal where every row has equally many pairs.

    Args:
        scores: ``[n, m]``.
        relation: rows of the same shape.
        temperature: τ > 0, in units of the score.
        trust: β' > 0.

    Returns:
        ``[n]``, the same in every row.
    """
    scaled = scores / temperature
    index, real = ops.gather_positives(relation.positive)
    agreement = -softplus(scaled.unsqueeze(-2) - scaled.gather(-1, index).unsqueeze(-1)) / trust
    pairs = real.unsqueeze(-1) & relation.negative.unsqueeze(-2)
    counts = pairs.flatten(-2).sum(-1)
    rows = ops.logsumexp(agreement.flatten(-2), pairs.flatten(-2)) - counts.clamp_min(1).to(scores.dtype).log()
    valid = counts > 0
    whole = ops.logsumexp(rows, valid) - math.log(max(1, int(ops.count(valid).sum())))
    return for_every_row(-trust * torch.where(valid.any(), whole, 0.0), scores)
