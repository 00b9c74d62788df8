"""Similarities from norms of the difference: Manhattan, any Lp, and distances along the sphere."""

from __future__ import annotations

import torch
from torch import Tensor

from similis.errors import UserError
from similis.registry import Source, register
from similis.similarity.base import Similarity
from similis.similarity.vector import Cosine, safe_sqrt

_LP = Source(
    "On the Surprising Behavior of Distance Metrics in High Dimensional Space", "Aggarwal, Hinneburg and Keim", 2001
)


@register("similarity", "lp", source=_LP, family="vector")
class Lp(Similarity):
    """Minus the Minkowski distance -(Σ_d |q_d - k_d|^p)^(1/p), without an ``[n, m, d]`` array.

    No reduction to an inner product: search re-ranks with it. p = 2 is :class:`Euclidean`, which has one.

    Args:
        p: at least 1; ``inf`` is the largest coordinate difference (Chebyshev).

    Raises:
        UserError: p is below 1.
    """

    def __init__(self, p: float = 1.0) -> None:
        super().__init__()
        if p < 1:
            raise UserError(f"lp needs p of at least 1, as in lp(p=1.5), not {p}")
        self.p = float(p)

    def score(self, queries: tuple[Tensor, ...], keys: tuple[Tensor, ...]) -> Tensor:
        return -torch.cdist(queries[0], keys[0], p=self.p)

    def lists(self, queries: Tensor, keys: Tensor) -> Tensor:
        return -torch.cdist(queries.unsqueeze(1), keys, p=self.p).squeeze(1)


@register("similarity", "manhattan", source=_LP, family="vector")
class Manhattan(Lp):
    """Minus the sum of absolute differences, -Σ_d |q_d - k_d|; equals sentence-transformers' ``manhattan_sim``."""

    def __init__(self) -> None:
        super().__init__(1.0)


_SPHERE = Source("Universal Sentence Encoder", "Cer, Yang, Kong, Hua, Limtiaco, St. John and others", 2018)


@register("similarity", "geodesic", source=_SPHERE, family="vector")
class Geodesic(Cosine):
    """Minus the angle between two vectors, in radians: -θ in -π..0, the length of the arc on the unit sphere.

    θ = 2·atan2(√(1 - c), √(1 + c)) with c the cosine, which keeps small angles exact where arccos does not; the
    gradient at θ = 0 and θ = π, where it does not exist, is zero. Same order as the cosine.
    """

    def finish(self, products: Tensor, offset: Tensor | None) -> Tensor:
        return -2 * torch.atan2(safe_sqrt(1 - products), safe_sqrt(1 + products))


@register("similarity", "chordal", source=_SPHERE, family="vector")
class Chordal(Cosine):
    """Minus the straight distance of the directions, -‖q/‖q‖ - k/‖k‖‖ = -√(2 - 2 cos), in -2..0."""

    def finish(self, products: Tensor, offset: Tensor | None) -> Tensor:
        return -safe_sqrt(2 - 2 * products)
