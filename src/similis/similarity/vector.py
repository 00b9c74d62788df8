"""Similarities of single vectors: cosine, dot product, Euclidean distance, signal-to-noise ratio."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from similis.registry import Source, register
from similis.similarity.base import InnerProduct, aligned

_VECTOR_SPACE = Source("A Vector Space Model for Automatic Indexing", "Salton, Wong and Yang", 1975)


def safe_sqrt(squares: Tensor) -> Tensor:
    """Square root of values that rounding may push below zero; its gradient at zero is zero, not infinite."""
    positive = squares > 1e-12
    return torch.where(positive, torch.where(positive, squares, 1.0).sqrt(), 0.0)


class _Unit(torch.autograd.Function):
    """The lengths are kept from the forward pass, and the gradient takes three passes over the vectors."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor) -> Tensor:
        inverse = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True).clamp_min_(1e-12).reciprocal_()
        made: Tensor = vectors * inverse
        ctx.save_for_backward(made, inverse)
        return made

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor]:
        made, inverse = ctx.saved_tensors
        gradient = outer[0] * made
        along = gradient.sum(-1, keepdim=True).mul_(inverse)
        # in the same memory: new pages cost a small batch as much as the arithmetic
        return (torch.mul(outer[0], inverse, out=gradient).addcmul_(made, along, value=-1),)


def unit(vectors: Tensor) -> Tensor:
    """``[..., d]`` → ``[..., d]`` of unit length; a zero vector stays zero."""
    made: Tensor = _Unit.apply(vectors)  # type: ignore[no-untyped-call]
    return made


class _MinusSquare(torch.autograd.Function):
    """The square itself tells where rounding went past zero, so nothing else is kept."""

    @staticmethod
    def forward(ctx: Any, products: Tensor, offset: Tensor) -> Tensor:
        made = (products - offset).clamp_max_(0)
        ctx.save_for_backward(made)
        return made

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, Tensor | None]:
        (made,) = ctx.saved_tensors
        share = outer[0] * (made < 0).view(torch.uint8).to(made.dtype)
        return share, -share.sum(-1, keepdim=True) if ctx.needs_input_grad[1] else None


def minus_square(products: Tensor, offset: Tensor) -> Tensor:
    """``products - offset`` of ``[..., m]`` products and ``[..., 1]`` offsets, at most 0: minus a squared distance."""
    made: Tensor = _MinusSquare.apply(products, offset)  # type: ignore[no-untyped-call]
    return made


class _MinusRoot(torch.autograd.Function):
    """The root itself is kept, and its gradient takes two passes."""

    @staticmethod
    def forward(ctx: Any, products: Tensor, offset: Tensor) -> Tensor:
        root = (offset - products).clamp_min_(0).sqrt_()
        # rounding leaves something of a distance that is zero
        made = torch.threshold_(root, 1e-6, 0.0).neg_()
        ctx.save_for_backward(made)
        return made

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, Tensor | None]:
        (made,) = ctx.saved_tensors
        # at a distance of zero, where there is no gradient, it is zero
        share = (-2 * made).reciprocal_().masked_fill_(made == 0, 0.0).mul_(outer[0])
        return share, -share.sum(-1, keepdim=True) if ctx.needs_input_grad[1] else None


def minus_root(products: Tensor, offset: Tensor) -> Tensor:
    """``-√(offset - products)`` of ``[..., m]`` products and ``[..., 1]`` offsets: minus a distance."""
    made: Tensor = _MinusRoot.apply(products, offset)  # type: ignore[no-untyped-call]
    return made


@register("similarity", "cosine", source=_VECTOR_SPACE, family="vector")
class Cosine(InnerProduct):
    """Cosine of the angle between two vectors, in -1..1; a zero vector scores 0 with everything."""

    def query(self, queries: Tensor) -> Tensor:
        return unit(queries)

    def key(self, keys: Tensor) -> Tensor:
        return unit(keys)

    def prepare_both(self, items: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        made = self.prepare_queries(items)
        return made, made


@register("similarity", "dot", source=_VECTOR_SPACE, family="vector")
class Dot(InnerProduct):
    """Inner product."""


@register(
    "similarity",
    "euclidean",
    source=Source("Distance Metric Learning with Application to Clustering", "Xing, Ng, Jordan and Russell", 2002),
    family="vector",
)
class Euclidean(InnerProduct):
    """Minus the Euclidean distance: -‖q - k‖, or -‖q - k‖² with ``squared``.

    With ``normalized``, q and k are scaled to unit length first, as pytorch-metric-learning's LpDistance does by
    default. Reduces to ``[2q, -1]·[k, ‖k‖²]``, which is ‖q‖² - ‖q - k‖².
    """

    def __init__(self, squared: bool = False, normalized: bool = False) -> None:
        super().__init__()
        self.squared, self.normalized = squared, normalized

    def placed(self, vectors: Tensor) -> Tensor:
        """``[..., d]`` → ``[..., d]``, the points whose distance it is."""
        return _placed(vectors, self.normalized)

    def query(self, queries: Tensor) -> Tensor:
        return _doubled(self.placed(queries))

    def key(self, keys: Tensor) -> Tensor:
        placed = self.placed(keys)
        return torch.cat([placed, _squares(placed)], -1)

    def offset(self, queries: Tensor) -> Tensor:
        return _squares(self.placed(queries))

    def prepare_both(self, items: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        placed = self.placed(items)
        squares = _squares(placed)
        return (aligned(_doubled(placed)), squares), (aligned(torch.cat([placed, squares], -1)),)

    def finish(self, products: Tensor, offset: Tensor | None) -> Tensor:
        assert offset is not None
        return minus_square(products, offset) if self.squared else minus_root(products, offset)


@register(
    "similarity",
    "snr",
    source=Source(
        "Signal-to-Noise Ratio: A Robust Distance Metric for Deep Metric Learning",
        "Yuan, Deng, Tang, Tang and Chen",
        2019,
    ),
    family="vector",
)
class SignalToNoise(InnerProduct):
    """Minus the signal-to-noise distance Var(q - k) / Var(q), variances over the coordinates; not symmetric.

    With mean-centred q and k, Var(q - k) is ‖q - k‖²/d, so the distance is ‖q - k‖²/‖q‖² and reduces to
    ``[2q, -1]·[k, ‖k‖²]`` divided by the query's own ‖q‖². Checked against SNRDistance of
    pytorch-metric-learning, which scales q and k to unit length first by default, as ``normalized`` does.
    """

    def __init__(self, normalized: bool = False) -> None:
        super().__init__()
        self.normalized = normalized

    def query(self, queries: Tensor) -> Tensor:
        centred = _centre(_placed(queries, self.normalized))
        return _doubled(centred) / _power(centred)

    def key(self, keys: Tensor) -> Tensor:
        centred = _centre(_placed(keys, self.normalized))
        return torch.cat([centred, _squares(centred)], -1)

    def prepare_both(self, items: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        centred = _centre(_placed(items, self.normalized))
        queries = _doubled(centred) / _power(centred)
        return (aligned(queries),), (aligned(torch.cat([centred, _squares(centred)], -1)),)

    def finish(self, products: Tensor, offset: Tensor | None) -> Tensor:
        return (products - 1).clamp_max(0)


def _placed(vectors: Tensor, normalized: bool) -> Tensor:
    return unit(vectors) if normalized else vectors


def _doubled(placed: Tensor) -> Tensor:
    return torch.cat([2 * placed, -torch.ones_like(placed[..., :1])], -1)


def _squares(placed: Tensor) -> Tensor:
    return placed.square().sum(-1, keepdim=True)


def _centre(vectors: Tensor) -> Tensor:
    return vectors - vectors.mean(-1, keepdim=True)


def _power(centred: Tensor) -> Tensor:
    return _squares(centred).clamp_min(1e-12)
