"""The spherical family: classification losses that need only the sum and the sum of squares of a row's scores."""

from __future__ import annotations

import torch
from torch import Tensor

from similis.criteria import ops
from similis.criteria.softmax.infonce import BOTH, LABELLED
from similis.criteria.softmax.terms import Positives, softplus
from similis.registry import Source, register
from similis.relation import Rows


@register(
    "criterion",
    "z_loss",
    source=Source(
        "The Z-loss: a shift and scale invariant classification loss belonging to the Spherical Family",
        "de Brébisson and Vincent",
        2016,
    ),
    accepts=LABELLED,
    family="proxy",
    needs=BOTH,
    keys="proxies",
    similarity="dot",
)
def z_loss(scores: Tensor, relation: Rows, *, a: float = 1.0, b: float = 3.0) -> Tensor:
    """Softplus of how many standard deviations the positive's score lies above the row's mean.

    Definition: (1/a) log(1 + exp(a (b - z_p))), z_p = (s_p - mean_k s_k)/std_k s_k over the known keys.

    Invariant to shift and scale of the scores. Checked against a published summary (the population standard
    deviation; a and b its two parameters).

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        a: a > 0, sharpness.
        b: where the softplus bends, in standard deviations.

    Returns:
        ``[...]``.
    """
    mean, spread = _moments(scores, relation)
    positives = Positives.of(scores, relation)
    z = (positives.take(scores) - positives.beside(mean)) / positives.beside(spread)
    return positives.mean(softplus(a * (b - z)) / a)


def _moments(scores: Tensor, relation: Rows) -> tuple[Tensor, Tensor]:
    """``[...]`` mean and population standard deviation of the known scores; the latter at least 1e-6."""
    if relation.left_out is None:
        mean = scores.mean(-1)
        variance = (scores - mean.unsqueeze(-1)).square().mean(-1)
    else:
        count = ops.count(relation.known).clamp_min(1)
        mean = scores.masked_fill(relation.left_out, 0.0).sum(-1) / count
        centred = (scores - mean.unsqueeze(-1)).masked_fill(relation.left_out, 0.0)
        variance = centred.square().sum(-1) / count
    return mean, variance.clamp_min(1e-12).sqrt()


@register(
    "criterion",
    "spherical_softmax",
    source=Source(
        "An Exploration of Softmax Alternatives Belonging to the Spherical Loss Family",
        "de Brébisson and Vincent",
        2016,
    ),
    accepts=LABELLED,
    family="proxy",
    needs=BOTH,
    keys="proxies",
    similarity="dot",
)
def spherical_softmax(scores: Tensor, relation: Rows, *, epsilon: float = 1e-3) -> Tensor:
    """Cross-entropy of probabilities proportional to squared scores.

    Definition: mean over p of -log((s_p² + ε) / Σ_{known k} (s_k² + ε)). Checked against a public implementation.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        epsilon: ε > 0, keeps the logarithm finite.

    Returns:
        ``[...]``.
    """
    return _cross_entropy(scores.square() + epsilon, relation)


@register(
    "criterion",
    "taylor_softmax",
    source=Source(
        "An Exploration of Softmax Alternatives Belonging to the Spherical Loss Family",
        "de Brébisson and Vincent",
        2016,
    ),
    accepts=LABELLED,
    family="proxy",
    needs=BOTH,
    keys="proxies",
    similarity="dot",
)
def taylor_softmax(scores: Tensor, relation: Rows) -> Tensor:
    """Cross-entropy of probabilities proportional to 1 + s + s²/2, the exponential's second-order expansion.

    Definition: mean over p of -log(f(s_p) / Σ_{known k} f(s_k)), f(s) = 1 + s + s²/2 ≥ 1/2. Checked against a
    public implementation.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.

    Returns:
        ``[...]``.
    """
    return _cross_entropy(1 + scores + scores.square() / 2, relation)


def _cross_entropy(masses: Tensor, relation: Rows) -> Tensor:
    """``[..., m]`` positive masses → ``[...]``: -log of the positives' shares, averaged."""
    kept = masses if relation.left_out is None else masses.masked_fill(relation.left_out, 0.0)
    positives = Positives.of(masses, relation)
    whole = kept.sum(-1).clamp_min(torch.finfo(masses.dtype).tiny).log()
    return positives.mean(positives.beside(whole) - positives.take(masses).log())
