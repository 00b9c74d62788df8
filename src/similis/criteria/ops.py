"""Masked arithmetic on the last dimension, finite in value and gradient whatever the mask."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

#: The integers that have as many bits as the floats of main memory's fast paths.
_BITS = {torch.float32: torch.int32, torch.float64: torch.int64}


def low(scores: Tensor) -> float:
    """A value that softmax and max ignore, finite so that gradients stay finite."""
    return torch.finfo(scores.dtype).min / 4


class _Masked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, mask: Tensor, fill: float) -> Tensor:
        ctx.save_for_backward(mask)
        return _filled(values, mask, fill) if fill else _zeroed(values, mask)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None, None]:
        return _zeroed(outer[0], ctx.saved_tensors[0]), None, None


def _zeroed(values: Tensor, mask: Tensor) -> Tensor:
    """Bits are kept or cleared: a third of the time of a choice between two values, with infinities cleared too."""
    if values.device.type != "cpu" or values.dtype not in _BITS:
        return torch.where(mask, values, 0.0)
    bits = _BITS[values.dtype]
    kept = mask.view(torch.int8).to(bits).neg_()
    return values.view(bits).bitwise_and(kept).view(values.dtype)


def _filled(values: Tensor, mask: Tensor, fill: float) -> Tensor:
    """A fill so large that a score added to it is lost needs no choice either."""
    if values.device.type != "cpu" or values.dtype not in _BITS:
        return torch.where(mask, values, fill)
    return torch.add(values, (~mask).view(torch.uint8).to(values.dtype), alpha=fill)


def _masked(values: Tensor, mask: Tensor, fill: float) -> Tensor:
    if torch.broadcast_shapes(values.shape, mask.shape) != values.shape:
        return torch.where(mask, values, fill)
    made: Tensor = _Masked.apply(values, mask, fill)  # type: ignore[no-untyped-call]
    return made


def masked(values: Tensor, mask: Tensor) -> Tensor:
    """Values where ``mask``, 0 elsewhere, in value and gradient."""
    return _masked(values, mask, 0.0)


def keep(scores: Tensor, mask: Tensor) -> Tensor:
    """Scores where ``mask``, :func:`low` elsewhere: for a maximum or a log-sum-exp over the kept."""
    return _masked(scores, mask, low(scores))


def drop(scores: Tensor, mask: Tensor) -> Tensor:
    """Scores outside ``mask``, :func:`low` inside; :func:`keep` with the mask the other way round."""
    return keep(scores, ~mask)


class _LogSumExp(torch.autograd.Function):
    """The shares are kept from the forward pass: no exponential, and no second masking, in the backward pass."""

    @staticmethod
    def forward(ctx: Any, filled: Tensor, scores: Tensor) -> Tensor:
        top = filled.amax(-1, keepdim=True)
        shares = filled.softmax(-1)
        ctx.save_for_backward(shares, top > low(filled) / 2)
        # the largest share is exp(top - log-sum-exp)
        return (top - shares.amax(-1, keepdim=True).log()).squeeze(-1)

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[None, Tensor]:
        shares, kept = ctx.saved_tensors
        return None, shares * (outer[0].unsqueeze(-1) * kept)


def _logsumexp(filled: Tensor, scores: Tensor) -> Tensor:
    if not filled.shape[-1]:
        return filled.logsumexp(-1)
    found: Tensor = _LogSumExp.apply(filled, scores.expand_as(filled))  # type: ignore[no-untyped-call]
    return found


def logsumexp(scores: Tensor, mask: Tensor) -> Tensor:
    """``[..., m]`` → ``[...]``: log Σ exp over the kept; about :func:`low` where nothing is kept."""
    return _logsumexp(keep(scores.detach(), mask), scores)


def logsumexp_outside(scores: Tensor, mask: Tensor | None) -> Tensor:
    """``[..., m]`` → ``[...]``: log Σ exp over what ``mask`` does not leave out; of all without a mask."""
    return _logsumexp(scores.detach() if mask is None else drop(scores.detach(), mask), scores)


def count(mask: Tensor, dim: int = -1, *, keepdim: bool = False) -> Tensor:
    """``[..., m]`` booleans → ``[...]`` integers: how many are kept; a plain ``sum`` takes ten times as long."""
    return mask.sum(dim, keepdim=keepdim, dtype=torch.int32).long()


def total(values: Tensor, mask: Tensor) -> Tensor:
    """``[..., m]`` → ``[...]``: sum over the kept."""
    return masked(values, mask).sum(-1)


def mean(values: Tensor, mask: Tensor) -> Tensor:
    """``[..., m]`` → ``[...]``: mean over the kept; 0 where nothing is kept."""
    return total(values, mask) / count(mask).clamp_min(1)


class _Highest(torch.autograd.Function):
    """Equal ones share the gradient, as in torch's own, at half its passes; nothing kept has none."""

    @staticmethod
    def forward(ctx: Any, filled: Tensor, scores: Tensor) -> Tensor:
        top = filled.amax(-1)
        ctx.save_for_backward(filled, top)
        return top

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[None, Tensor]:
        filled, top = ctx.saved_tensors
        reached = (filled == top.unsqueeze(-1)).view(torch.uint8).to(filled.dtype)
        share = (outer[0] / reached.sum(-1)).masked_fill_(top < low(filled) / 2, 0.0)
        return None, reached.mul_(share.unsqueeze(-1))


def hardest(scores: Tensor, mask: Tensor) -> Tensor:
    """``[..., m]`` → ``[...]``: the highest kept score; about :func:`low` where nothing is kept."""
    if not scores.shape[-1] or torch.broadcast_shapes(scores.shape, mask.shape) != scores.shape:
        return keep(scores, mask).amax(-1)
    found: Tensor = _Highest.apply(keep(scores.detach(), mask), scores)  # type: ignore[no-untyped-call]
    return found


def easiest(scores: Tensor, mask: Tensor) -> Tensor:
    """``[..., m]`` → ``[...]``: the lowest kept score."""
    return -hardest(-scores, mask)


def places(mask: Tensor) -> Tensor:
    """``[..., m]`` booleans → ``[T]``: where the flattened mask is True, in order; fast where few are."""
    flat = mask.reshape(-1)
    if flat.numel() % 8 or flat.storage_offset() % 8:
        return flat.nonzero().squeeze(-1)
    # eight booleans are looked at as one integer first
    words = flat.view(torch.int64).nonzero().squeeze(-1)
    inside = flat.view(-1, 8)[words].nonzero()
    return words[inside[:, 0]] * 8 + inside[:, 1]


def gather_positives(positive: Tensor) -> tuple[Tensor, Tensor]:
    """Where the positives of each row are.

    Returns:
        ``[..., P]`` indices and ``[..., P]`` booleans (False = padding), P the most positives of any row.
    """
    rows = positive.shape[:-1].numel()
    at = places(positive)
    if len(at) and len(at) % rows == 0:
        row, most = at // positive.shape[-1], len(at) // rows
        if bool((row.view(rows, most) == torch.arange(rows, device=at.device).unsqueeze(1)).all()):
            index = (at % positive.shape[-1]).view(*positive.shape[:-1], most)
            return index, torch.ones_like(index, dtype=torch.bool)
    most = max(1, int(count(positive).max())) if positive.numel() else 1
    found, index = positive.to(torch.uint8).topk(most, -1)
    return index, found.bool()


def order(values: Tensor) -> Tensor:
    """``[..., m]`` → ``[..., m]`` places by rising value, without gradient; ties in the order given.

    In main memory, float32 values and their places are sorted as one integer each, by numpy's vector instructions: a
    third of the time of torch's sort.
    """
    values = values.detach()
    if values.dtype != torch.float32 or values.device.type != "cpu":
        return values.argsort(dim=-1, stable=True)
    # adding zero makes -0 the same as 0; a float's bits order like an integer's once the negative ones are turned
    bits = (values + 0.0).view(torch.int32)
    packed = bits.bitwise_xor((bits >> 31).bitwise_and_(0x7FFFFFFF)).to(torch.int64)
    packed = packed.bitwise_left_shift_(32).bitwise_or_(torch.arange(values.shape[-1]))
    packed.numpy().sort(-1)
    return packed.bitwise_and_(0xFFFFFFFF)


def normalized_grade(grade: Tensor, positive: Tensor) -> Tensor:
    """Grades of the positives divided by their sum in each row; 0 elsewhere and in rows without positives."""
    kept = masked(grade, positive)
    return kept / kept.sum(-1, keepdim=True).clamp_min(torch.finfo(kept.dtype).tiny)
