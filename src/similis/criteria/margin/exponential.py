"""Margin criteria that weigh hard pairs exponentially: log-sum-exp over negatives, positives or both."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn.functional import softplus

from similis.criteria import ops
from similis.criteria.margin.options import positives_of, square
from similis.criteria.softmax.infonce import RANKING
from similis.registry import Source, register
from similis.relation import Rows
from similis.similarity.vector import safe_sqrt


@register(
    "criterion",
    "multi_similarity",
    source=Source(
        "Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning",
        "Wang, Han, Huang, Dong and Scott",
        2019,
    ),
    accepts=RANKING,
    family="margin",
)
def multi_similarity(
    scores: Tensor, relation: Rows, *, alpha: float = 2.0, beta: float = 50.0, base: float = 0.5
) -> Tensor:
    """Soft hinges over all positives below and all negatives above one score.

    Definition: (1/α) log(1 + Σ_p exp(-α (s_p - base))) + (1/β) log(1 + Σ_n exp(β (s_n - base))). With the miner
    ``multi_similarity`` it is the paper's whole method.

    Checked against MultiSimilarityLoss of pytorch-metric-learning: equal values and gradients.

    Args:
        scores: ``[..., m]`` cosines.
        relation: rows of the same shape.
        alpha: sharpness on positives, per unit of the score.
        beta: sharpness on negatives.
        base: the paper's λ, in units of the score.

    Returns:
        ``[...]``.
    """
    values, real = positives_of(scores, relation)
    pull = softplus(ops.logsumexp(alpha * (base - values), real)) / alpha
    push = softplus(ops.logsumexp(beta * (scores - base), relation.negative)) / beta
    return pull + push


@register(
    "criterion",
    "circle",
    source=Source(
        "Circle Loss: A Unified Perspective of Pair Similarity Optimization",
        "Sun, Cheng, Zhang, Zhang, Zheng, Wang and Wei",
        2020,
    ),
    accepts=RANKING,
    family="margin",
    needs=("positive", "negative"),
    surrogate_gradient=True,
)
def circle(scores: Tensor, relation: Rows, *, margin: float = 0.25, scale: float = 64.0) -> Tensor:
    """Every pair pulls with a weight of its own distance from the optimum: a circular decision boundary.

    Definition: log(1 + Σ_n exp(γ a_n (s_n - margin)) Σ_p exp(-γ a_p (s_p - 1 + margin))) with a_p = [1 + margin -
    s_p]_+ and a_n = [s_n + margin]_+, constants to the gradient. Over class proxies
    (``keys=proxies``) it is the paper's class-level form.

    Checked against CircleLoss of pytorch-metric-learning: equal values and gradients.

    Args:
        scores: ``[..., m]`` cosines.
        relation: rows of the same shape.
        margin: the relaxation m, in units of the score.
        scale: γ.

    Returns:
        ``[...]``.
    """
    values, real = positives_of(scores, relation)
    own = (1 + margin - values.detach()).relu().mul_(-scale) * (values - (1 - margin))
    other = (scores.detach() + margin).relu_().mul_(scale) * (scores - margin)
    return softplus(ops.logsumexp(own, real) + ops.logsumexp(other, relation.negative))


@register(
    "criterion",
    "tuplet_margin",
    source=Source("Deep Metric Learning with Tuplet Margin Loss", "Yu and Tao", 2019),
    accepts=RANKING,
    family="margin",
    needs=("positive", "negative"),
    terms="positives",
)
def tuplet_margin(scores: Tensor, relation: Rows, *, margin: float = 5.73, scale: float = 64.0) -> Tensor:
    """Each positive, with its angle relaxed by a slack, against all negatives.

    Definition: mean over p of log(1 + Σ_n exp(scale (s_n - cos(θ_p - margin)))), θ_p = arccos s_p. The inner sum is
    the same for all positives, and cos(θ - m) = s cos m + √(1 - s²) sin m needs no arccos.

    Checked against TupletMarginLoss of pytorch-metric-learning: equal values and gradients.

    Args:
        scores: ``[..., m]`` cosines.
        relation: rows of the same shape.
        margin: slack in degrees.
        scale: per unit of the score.

    Returns:
        ``[...]``.
    """
    values, real = positives_of(scores, relation)
    slack = math.radians(margin)
    relaxed = values * math.cos(slack) + safe_sqrt(1 - values.square()) * math.sin(slack)
    negatives = ops.logsumexp(scale * scores, relation.negative).unsqueeze(-1)
    return ops.mean(softplus(negatives - scale * relaxed), real)


@register(
    "criterion",
    "angular",
    source=Source("Deep Metric Learning with Angular Loss", "Wang, Zhou, Wen, Liu and Lin", 2017),
    accepts=("labels",),
    family="margin",
    needs=("positive", "negative"),
    whole=True,
    terms="positives",
)
def angular(scores: Tensor, relation: Rows, *, alpha: float = 40.0) -> Tensor:
    """Bounds the angle at the negative of the triangle of anchor, positive and negative.

    Definition: mean over p of log(1 + Σ_n exp(4 tan²α (s_in + s_pn) - 2 (1 + tan²α) s_ip)), the paper's
    batch form. It reads the row of key p, so the keys must be the queries.

    Checked against AngularLoss of pytorch-metric-learning: equal values and gradients where all anchors have
    equally many positives. Holds ``[n, P, m]`` at once, P the most positives of a row.

    Args:
        scores: ``[n, n]`` cosines.
        relation: rows of the same shape, of labels.
        alpha: the bound in degrees.

    Returns:
        ``[n]``.

    Raises:
        UserError: the keys are not the queries.
    """
    square(scores, "angular")
    index, real = ops.gather_positives(relation.positive)
    tangent = math.tan(math.radians(alpha)) ** 2
    both = (scores.unsqueeze(-2) + scores[index]) * (4 * tangent)
    negatives = ops.logsumexp(both, relation.negative.unsqueeze(-2))
    return ops.mean(softplus(negatives - 2 * (1 + tangent) * scores.gather(-1, index)), real)


@register(
    "criterion",
    "triplet_alignment",
    source=Source(
        "Noisy-Correspondence Learning for Text-to-Image Person Re-identification",
        "Qin, Chen, Peng, Peng, Zhou and Hu",
        2024,
    ),
    accepts=RANKING,
    family="margin",
    needs=("positive", "negative"),
    directions=("q2k", "k2q"),
    surrogate_gradient=True,
)
def triplet_alignment(scores: Tensor, relation: Rows, *, margin: float = 0.1, temperature: float = 0.015) -> Tensor:
    """Triplet alignment loss: the hinge of the positive against a smooth upper bound of the hardest negative.

    Definition: [margin - S+ + τ log Σ_n exp(s_n/τ)]_+, S+ the mean of the positives with weights softmax(s_p/τ),
    constants to the gradient. Each pair counts from both sides.

    Checked against the authors' published function in a loop: equal values and gradients. As τ → 0 it is the
    hardest-negative triplet hinge, and never below it with one positive.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        margin: in units of the score.
        temperature: τ, in units of the score.

    Returns:
        ``[...]``.
    """
    values, real = positives_of(scores, relation)
    weights = ops.keep(values.detach() / temperature, real).softmax(-1)
    negatives = temperature * ops.logsumexp(scores / temperature, relation.negative)
    valid = relation.negative.any(-1) & real.any(-1)
    return (margin - ops.total(weights * values, real) + negatives).masked_fill(~valid, 0.0).relu()
