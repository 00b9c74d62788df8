"""What criteria over class proxies share: several proxies a class, and the own class's term in one piece."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from similis.criteria import ops
from similis.criteria.softmax.terms import own_terms
from similis.errors import UserError
from similis.relation import Rows

Change = Callable[[Tensor], Tensor]


def by_class(scores: Tensor, relation: Rows) -> tuple[Tensor, Rows]:
    """Scores of several proxies a class, apart: ``[..., m]`` → ``[..., K, C]``, and rows over the C classes.

    The proxies of a class are those the relation calls positive together; proxy j belongs to class j mod C.

    Raises:
        UserError: the keys are not K for each of C classes.
    """
    each = _each(relation)
    if scores.shape[-1] % each:
        raise UserError(f"{scores.shape[-1]} proxies cannot be {each} for each class; use keys=proxies(per_class=...)")
    classes = scores.shape[-1] // each
    left_out = None if relation.left_out is None else relation.left_out[..., :classes]
    rows = Rows(same=relation.positive[..., :classes], left_out=left_out, samples=relation.samples)
    rows.own = None if relation.own is None else relation.own[..., :1]  # that of the first C proxies comes first
    return scores.unflatten(-1, (each, classes)), rows


def _each(relation: Rows) -> int:
    """The most proxies that a row has of its class, at least 1."""
    if relation.own is not None:
        return relation.own.shape[-1]
    return max(1, int(ops.count(relation.positive).max())) if relation.positive.numel() else 1


class _Nearest(torch.autograd.Function):
    """A maximum over few slices; equal ones share the gradient, as in torch's own, at half its passes."""

    @staticmethod
    def forward(ctx: Any, centres: Tensor) -> Tensor:
        top = centres.amax(-2)
        ctx.save_for_backward(centres, top)
        return top

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor]:
        centres, top = ctx.saved_tensors
        reached = (centres == top.unsqueeze(-2)).view(torch.uint8).to(top.dtype)
        return (reached.mul_((outer[0] / reached.sum(-2)).unsqueeze(-2)),)


class _SoftNearest(torch.autograd.Function):
    """Mean of few slices, weighted by their softmax: the gradient p (1 + (s - S) / γ) in one array of their size."""

    @staticmethod
    def forward(ctx: Any, centres: Tensor, gamma: float) -> Tensor:
        shares = (centres / gamma).softmax(-2)
        mean = (shares * centres).sum(-2)
        ctx.save_for_backward(centres, shares, mean)
        ctx.gamma = gamma
        return mean

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None]:
        centres, shares, mean = ctx.saved_tensors
        gradient = (centres - mean.unsqueeze(-2)).div_(ctx.gamma).add_(1)
        return gradient.mul_(shares).mul_(outer[0].unsqueeze(-2)), None


class _OwnSoftmax(torch.autograd.Function):
    """One matrix is kept, and the backward pass goes over it once."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, own: Tensor, scale: float, changed: Change | None) -> Tensor:
        logits, slope = scores * scale, None
        raised = logits.gather(-1, own)
        if changed is not None:
            raised, slope = _with_slope(changed, scores.gather(-1, own))
            logits.scatter_(-1, own, raised.mul_(scale))
        top = logits.amax(-1, keepdim=True)
        shares = logits.softmax(-1)
        # the largest share is exp(top - log-sum-exp)
        losses = (top - raised).sub_(shares.amax(-1, keepdim=True).log_())
        ctx.save_for_backward(shares, own, slope)
        ctx.scale = scale
        return losses.squeeze(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None, None, None]:
        shares, own, slope = ctx.saved_tensors
        weight = (outer[0] * ctx.scale).unsqueeze(-1)
        gradient = shares * weight
        at_own = gradient.gather(-1, own).sub_(weight)
        gradient.scatter_(-1, own, at_own if slope is None else at_own.mul_(slope))
        return gradient, None, None, None


def _with_slope(changed: Change, values: Tensor) -> tuple[Tensor, Tensor]:
    """A function of each value by itself, and its derivative there."""
    with torch.enable_grad():
        made = changed(values.requires_grad_())
    (slope,) = torch.autograd.grad(made, values, torch.ones_like(made))
    return made.detach(), slope


def own_softmax(scores: Tensor, relation: Rows, scale: float, changed: Change | None = None) -> Tensor:
    """-log softmax of a row's own class among all known: :func:`own_terms` of the scaled scores.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        scale: of the scores.
        changed: of the own scores, each by itself, before they are scaled; it has nothing to learn.

    Returns:
        ``[...]``.
    """
    if relation.own is None or relation.own.shape[-1] != 1:
        raised = None if changed is None else lambda own: scale * changed(own / scale)
        return own_terms(scores * scale, relation, changed=raised)
    # where each row has one class, known beforehand, all of it is one piece
    made: Tensor = _OwnSoftmax.apply(scores, relation.own, scale, changed)  # type: ignore[no-untyped-call]
    return made


class _SquareToOwn(torch.autograd.Function):
    """The differences from 1 and 0 are kept, and the backward pass goes over them once."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, own: Tensor) -> Tensor:
        apart = scores.scatter_add(-1, own, scores.new_full((), -1.0).expand_as(own))
        ctx.save_for_backward(apart)
        made: Tensor = torch.linalg.vector_norm(apart, dim=-1)
        return made.square_().div_(scores.shape[-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None]:
        (apart,) = ctx.saved_tensors
        return apart * (outer[0] * (2 / apart.shape[-1])).unsqueeze(-1), None


def nearest(centres: Tensor) -> Tensor:
    """``[..., K, C]`` → ``[..., C]``: the score of each class's nearest centre."""
    made: Tensor = _Nearest.apply(centres)  # type: ignore[no-untyped-call]
    return made


def soft_nearest(centres: Tensor, gamma: float) -> Tensor:
    """``[..., K, C]`` → ``[..., C]``: the scores of each class's centres, weighted by their softmax over γ."""
    made: Tensor = _SoftNearest.apply(centres, gamma)  # type: ignore[no-untyped-call]
    return made


def square_to_own(scores: Tensor, relation: Rows) -> Tensor:
    """``[..., m]`` → ``[...]``: mean over the known of (s - 1)² at positives and s² elsewhere."""
    if relation.own is None:
        target = relation.positive.view(torch.uint8).to(scores.dtype)
        return ops.mean((scores - target).square(), relation.known)
    made: Tensor = _SquareToOwn.apply(scores, relation.own)  # type: ignore[no-untyped-call]
    return made
