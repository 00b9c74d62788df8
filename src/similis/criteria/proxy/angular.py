"""Margin softmax over class proxies: CosFace, ArcFace and their kin, on cosines."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from similis.criteria.proxy.own import by_class, nearest, own_softmax
from similis.criteria.softmax.infonce import BOTH, LABELLED
from similis.criteria.softmax.terms import Positives, negative_mass, own_terms
from similis.errors import UserError
from similis.registry import Source, register
from similis.relation import Rows


def plus_angle(cosine: Tensor, margin: float) -> Tensor:
    """cos(θ + m) of cos θ, without an arc cosine; beyond θ = π - m the falling line cos θ - m sin m.

    The square root stops short of zero, so the gradient stays finite where a cosine reaches ±1.
    """
    made: Tensor = _PlusAngle.apply(cosine, margin)  # type: ignore[no-untyped-call]
    return made


class _PlusAngle(torch.autograd.Function):
    """The slope is kept from the forward pass: cos m + sin m cot θ, or 1 where the line falls."""

    @staticmethod
    def forward(ctx: Any, cosine: Tensor, margin: float) -> Tensor:
        along, across = math.cos(margin), math.sin(margin)
        square = 1 - cosine.square()
        least = 1e-6 if cosine.dtype == torch.float32 else 1e-12
        sine = square.clamp_min(least).sqrt_()
        turns = cosine >= -along
        slope = (cosine / sine).masked_fill_(square < least, 0.0).mul_(across).add_(along)
        ctx.save_for_backward(torch.where(turns, slope, 1.0))
        return torch.where(turns, sine.mul_(-across).add_(cosine, alpha=along), cosine - margin * across)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None]:
        return outer[0] * ctx.saved_tensors[0], None


def times_angle(cosine: Tensor, times: int) -> Tensor:
    """ψ(θ) = (-1)^k cos(mθ) - 2k, k = ⌊mθ/π⌋: falls over all of 0..π. cos(mθ) is Chebyshev's polynomial."""
    before, now = torch.ones_like(cosine), cosine
    for _ in range(times - 1):
        before, now = now, 2 * cosine * now - before
    with torch.no_grad():
        turns = (times * cosine.clamp(-1, 1).acos() / math.pi).floor().clamp_max(times - 1)
    return (1 - 2 * (turns % 2)) * now - 2 * turns


@register(
    "criterion",
    "cosface",
    source=Source("CosFace: Large Margin Cosine Loss for Deep Face Recognition", "Wang et al.", 2018),
    accepts=LABELLED,
    family="proxy",
    needs=BOTH,
    keys="proxies",
)
def cosface(scores: Tensor, relation: Rows, *, margin: float = 0.35, scale: float = 64.0) -> Tensor:
    """Softmax over class cosines with a margin taken off the own class's (also called AM-softmax).

    Definition: -log softmax of α(s_c - m [c = own]). Equals pytorch-metric-learning's CosFaceLoss.

    Args:
        scores: ``[..., m]`` cosines.
        relation: rows of the same shape.
        margin: m, in units of the cosine.
        scale: α > 0.

    Returns:
        ``[...]``.
    """
    return own_softmax(scores, relation, scale, lambda own: own - margin)


@register(
    "criterion",
    "arcface",
    source=Source(
        "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", "Deng, Guo, Xue and Zafeiriou", 2019
    ),
    accepts=LABELLED,
    family="proxy",
    needs=BOTH,
    keys="proxies",
)
def arcface(scores: Tensor, relation: Rows, *, margin: float = 28.6, scale: float = 64.0) -> Tensor:
    """Softmax over class cosines with a margin added to the own class's angle.

    Definition: -log softmax of α cos(θ_c + m [c = own]); past θ = π - m the own logit is α(cos θ - m sin m), so that
    it keeps falling. Equals pytorch-metric-learning's ArcFaceLoss, margin in degrees as there.

    Args:
        scores: ``[..., m]`` cosines.
        relation: rows of the same shape.
        margin: m, in degrees.
        scale: α > 0.

    Returns:
        ``[...]``.
    """
    turn = math.radians(margin)
    return own_softmax(scores, relation, scale, lambda own: plus_angle(own, turn))


@register(
    "criterion",
    "subcenter_arcface",
    source=Source(
        "Sub-center ArcFace: Boosting Face Recognition by Large-scale Noisy Web Faces",
        "Deng, Guo, Liu, Gong and Zafeiriou",
        2020,
    ),
    accepts=LABELLED,
    family="proxy",
    needs=BOTH,
    keys="proxies(per_class=3)",
)
def subcenter_arcface(scores: Tensor, relation: Rows, *, margin: float = 28.6, scale: float = 64.0) -> Tensor:
    """:func:`arcface` where a class has several centres and the nearest of them counts.

    Definition: ArcFace of S_c = max_k s_ck. Noisy items gather at centres that are not dominant. Equals
    pytorch-metric-learning's SubCenterArcFaceLoss.

    Args:
        scores: ``[..., m]`` cosines with the K centres of each of C classes, m = K C.
        relation: rows of the same shape.
        margin: m, in degrees.
        scale: α > 0.

    Returns:
        ``[...]``.

    Raises:
        UserError: the proxies cannot be K for each class.
    """
    centres, rows = by_class(scores, relation)
    return arcface(nearest(centres), rows, margin=margin, scale=scale)


@register(
    "criterion",
    "sphereface",
    source=Source("SphereFace: Deep Hypersphere Embedding for Face Recognition", "Liu et al.", 2017),
    accepts=LABELLED,
    family="proxy",
    needs=BOTH,
    keys="proxies",
)
def sphereface(scores: Tensor, relation: Rows, *, margin: int = 4, scale: float = 30.0) -> Tensor:
    """Softmax over class cosines with the own class's angle multiplied by a whole number.

    Definition: -log softmax of α ψ(θ) for the own class and α cos θ for the others, ψ(θ) = (-1)^k cos(mθ) - 2k on
    [kπ/m, (k+1)π/m].

    The scale stands for the paper's length of the embedding, which a row of cosines does not have (as in
    SphereFace Revived, Liu et al. 2022); on embeddings of length α it equals pytorch-metric-learning's
    SphereFaceLoss. cos(mθ) is evaluated as a polynomial, so no arc cosine is differentiated.

    Args:
        scores: ``[..., m]`` cosines.
        relation: rows of the same shape.
        margin: m ≥ 1, the whole number.
        scale: α > 0.

    Returns:
        ``[...]``.

    Raises:
        UserError: the margin is not a whole number of at least 1.
    """
    if margin != int(margin) or margin < 1:
        raise UserError(f"the margin multiplies the angle: a whole number of at least 1, not {margin!r}")
    return own_softmax(scores, relation, scale, lambda own: times_angle(own, int(margin)))


@register(
    "criterion",
    "large_margin_softmax",
    source=Source("Large-Margin Softmax Loss for Convolutional Neural Networks", "Liu, Wen, Yu and Yang", 2016),
    accepts=LABELLED,
    family="proxy",
    needs=BOTH,
    keys="proxies",
)
def large_margin_softmax(scores: Tensor, relation: Rows, *, margin: int = 4, scale: float = 1.0) -> Tensor:
    """:func:`sphereface` with the scale left at 1, the loss it grew from.

    Definition: as there. The paper multiplies each cosine by the lengths of embedding and proxy; here both are
    taken as 1 and the scale stands for their product. Equals pytorch-metric-learning's LargeMarginSoftmaxLoss
    where embeddings and weights have unit length.

    Args:
        scores: ``[..., m]`` cosines.
        relation: rows of the same shape.
        margin: m ≥ 1, the whole number.
        scale: α > 0.

    Returns:
        ``[...]``.
    """
    return sphereface(scores, relation, margin=margin, scale=scale)


@register(
    "criterion",
    "curricularface",
    source=Source("CurricularFace: Adaptive Curriculum Learning Loss for Deep Face Recognition", "Huang et al.", 2020),
    accepts=LABELLED,
    family="proxy",
    needs=BOTH,
    keys="proxies",
    whole=True,
    surrogate_gradient=True,
)
class CurricularFace(nn.Module):
    """:func:`arcface` whose hard negatives weigh little at first and more as the own cosines rise.

    Definition: a negative above the own cos(θ + m) has the logit α s (t + s) instead of α s; t is a moving average
    of the batch's mean own cosine, taken as given by the gradient.

    Checked against public implementations of the paper: t is updated before it is used.

    Args:
        margin: m, in degrees.
        scale: α > 0.
        decay: weight of the batch in the moving average.
    """

    level: Tensor

    def __init__(self, margin: float = 28.6, scale: float = 64.0, decay: float = 0.01) -> None:
        super().__init__()
        self.margin, self.scale, self.decay = math.radians(margin), scale, decay
        self.register_buffer("level", torch.zeros(()))

    def forward(self, scores: Tensor, relation: Rows) -> Tensor:
        """Scores ``[n, m]`` → ``[n]``."""
        positives = Positives.of(scores, relation)
        own = positives.take(scores)
        raised = plus_angle(own, self.margin)
        mean = own.detach().mean() if len(own) else self.level
        level = self.decay * mean + (1 - self.decay) * self.level
        if self.training and torch.is_grad_enabled():
            self.level.copy_(level)
        bar = positives.mean(raised).detach().unsqueeze(-1)
        negatives = torch.where(scores > bar, scores * (level.to(scores) + scores), scores)
        mass = negative_mass(negatives * self.scale, relation)
        return own_terms(scores, relation, mass=mass, changed=lambda value: self.scale * plus_angle(value, self.margin))


@register(
    "criterion",
    "combined_margin",
    source=Source(
        "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", "Deng, Guo, Xue and Zafeiriou", 2019
    ),
    accepts=LABELLED,
    family="proxy",
    needs=BOTH,
    keys="proxies",
)
def combined_margin(
    scores: Tensor, relation: Rows, *, times: int = 1, plus: float = 17.2, minus: float = 0.2, scale: float = 64.0
) -> Tensor:
    """The three margins at once: the own angle multiplied and enlarged, its cosine lowered.

    Definition: own logit α(cos(m₁θ + m₂) - m₃), the paper's united form; with m₁ = 1, m₂ = 0 it is CosFace, with
    m₁ = 1, m₃ = 0 ArcFace without the line past π - m₂.

    Args:
        scores: ``[..., m]`` cosines.
        relation: rows of the same shape.
        times: m₁ ≥ 1, a whole number.
        plus: m₂, in degrees.
        minus: m₃, in units of the cosine.
        scale: α > 0.

    Returns:
        ``[...]``.
    """
    turn = math.radians(plus)

    def raised(own: Tensor) -> Tensor:
        cosine = own.clamp(-1 + 1e-6, 1 - 1e-6)
        angle = times * cosine.acos() + turn
        return angle.cos() - minus

    return own_softmax(scores, relation, scale, raised)
