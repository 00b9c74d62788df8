"""Similarities of single vectors: cosine, dot product, Euclidean distance, signal-to-noise ratio."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from similis.registry import Source, register
from similis.similarity.base import InnerProduct

_VECTOR_SPACE = Source("A Vector Space Model for Automatic Indexing", "Salton, Wong and Yang", 1975)


def safe_sqrt(squares: Tensor) -> Tensor:
    """Square root of values that rounding may push below zero; its gradient at zero is zero, not infinite."""
    positive = squares > 1e-12
    return torch.where(positive, torch.where(positive, squares, 1.0).sqrt(), 0.0)


@register("similarity", "cosine", source=_VECTOR_SPACE, family="vector")
class Cosine(InnerProduct):
    """Cosine of the angle between two vectors, in -1..1; a zero vector scores 0 with everything."""

    def query(self, queries: Tensor) -> Tensor:
        return normalize(queries, dim=-1)

    def key(self, keys: Tensor) -> Tensor:
        return normalize(keys, dim=-1)


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

    def query(self, queries: Tensor) -> Tensor:
        placed = _placed(queries, self.normalized)
        return torch.cat([2 * placed, -torch.ones_like(placed[..., :1])], -1)

    def key(self, keys: Tensor) -> Tensor:
        placed = _placed(keys, self.normalized)
        return torch.cat([placed, placed.square().sum(-1, keepdim=True)], -1)

    def offset(self, queries: Tensor) -> Tensor:
        return _placed(queries, self.normalized).square().sum(-1, keepdim=True)

    def finish(self, products: Tensor, offset: Tensor | None) -> Tensor:
        assert offset is not None
        squares = offset - products
        return -squares.clamp_min(0) if self.squared else -safe_sqrt(squares)


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
    ``[2q, -1]·[k, ‖k‖²]`` divided by the query's own ‖q‖². Checked against the paper's equation 6. With
    ``normalized``, q and k are scaled to unit length first, as pytorch-metric-learning's SNRDistance does by default.
    """

    def __init__(self, normalized: bool = False) -> None:
        super().__init__()
        self.normalized = normalized

    def query(self, queries: Tensor) -> Tensor:
        centred = _centre(_placed(queries, self.normalized))
        power = _power(centred)
        return torch.cat([2 * centred, -torch.ones_like(power)], -1) / power

    def key(self, keys: Tensor) -> Tensor:
        centred = _centre(_placed(keys, self.normalized))
        return torch.cat([centred, centred.square().sum(-1, keepdim=True)], -1)

    def finish(self, products: Tensor, offset: Tensor | None) -> Tensor:
        return (products - 1).clamp_max(0)


def _placed(vectors: Tensor, normalized: bool) -> Tensor:
    return normalize(vectors, dim=-1) if normalized else vectors


def _centre(vectors: Tensor) -> Tensor:
    return vectors - vectors.mean(-1, keepdim=True)


def _power(centred: Tensor) -> Tensor:
    return centred.square().sum(-1, keepdim=True).clamp_min(1e-12)
