"""Similarities in hyperbolic space of curvature -c: the Poincaré ball, the Lorentz model, HiT's subsumption score."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from similis.errors import UserError, did_you_mean
from similis.registry import Source, register
from similis.similarity.base import InnerProduct, Similarity
from similis.similarity.vector import safe_sqrt

#: Points are kept this far inside the ball's boundary, as a share of its radius.
INSIDE = 1e-5


def curvature_of(curvature: float | None, vectors: Tensor) -> float:
    """c, or 1/d where None: a ball of radius √d, into which vectors of coordinates in -1..1 fall (HiT)."""
    return 1.0 / vectors.shape[-1] if curvature is None else curvature


def into_ball(vectors: Tensor, curvature: float) -> Tensor:
    """Points ``[..., d]`` outside the ball of radius 1/√c are moved to just inside its boundary."""
    return shortened(vectors, (1 - INSIDE) / math.sqrt(curvature))


def shortened(vectors: Tensor, length: float) -> Tensor:
    """Vectors ``[..., d]`` longer than ``length`` are cut to it."""
    norms = vectors.square().sum(-1, keepdim=True).clamp_min(1e-30).sqrt()
    return vectors * (length / norms).clamp_max(1.0)


def exponential(tangents: Tensor, curvature: float) -> Tensor:
    """Tangent vectors at the origin ``[..., d]`` → points of the ball: tanh(√c‖v‖) v / (√c‖v‖)."""
    norms = (curvature * tangents.square().sum(-1, keepdim=True)).clamp_min(1e-30).sqrt()
    return into_ball(tangents * norms.tanh() / norms, curvature)


def hyperbolic_norm(points: Tensor, curvature: float) -> Tensor:
    """Distance from the origin, ``[..., d]`` points of the ball → ``[..., 1]``: 2 artanh(√c‖x‖)/√c."""
    root = math.sqrt(curvature)
    return torch.atanh(root * safe_sqrt(points.square().sum(-1, keepdim=True))) * (2 / root)


def arccosh_above_one(excess: Tensor) -> Tensor:
    """arccosh(1 + x) for x ≥ 0, exact for small x; the gradient at 0 is finite."""
    excess = excess.clamp_min(0)
    return torch.log1p(excess + safe_sqrt(excess * (excess + 2)))


def _check_curvature(name: str, curvature: float | None) -> None:
    if curvature is not None and curvature <= 0:
        raise UserError(f"{name} needs a curvature above 0 (the space has -curvature), not {curvature}")


@register(
    "similarity",
    "poincare",
    source=Source("Poincaré Embeddings for Learning Hierarchical Representations", "Nickel and Kiela", 2017),
    family="hyperbolic",
)
class Poincare(InnerProduct):
    """Minus the distance in the Poincaré ball, arccosh(1 + 2c‖q - k‖²/((1 - c‖q‖²)(1 - c‖k‖²)))/√c.

    For a fixed query the order is that of -‖q - k‖²/(1 - c‖k‖²), the inner product
    ``[-‖q‖², 2q, -1]·[1, k, ‖k‖²]/(1 - c‖k‖²)``. Checked against geoopt's ``PoincareBall.dist``. Points outside the
    ball are moved to just inside its boundary.

    Args:
        curvature: c > 0; the ball has radius 1/√c. None: 1/d, as HiT has it for tanh outputs of dimension d.
        tangent: embeddings are tangent vectors at the origin, put into the ball by the exponential map.
        clip: longest tangent vector kept, longer ones are shortened (2.3 in hyperbolic category discovery). None:
            any length.
    """

    def __init__(self, curvature: float | None = 1.0, tangent: bool = False, clip: float | None = None) -> None:
        super().__init__()
        _check_curvature("poincare", curvature)
        self.curvature, self.tangent, self.clip = curvature, tangent, clip

    def points(self, embeddings: Tensor) -> Tensor:
        """``[..., d]`` embeddings → ``[..., d]`` points of the ball."""
        c = curvature_of(self.curvature, embeddings)
        if self.clip is not None:
            embeddings = shortened(embeddings, self.clip)
        return exponential(embeddings, c) if self.tangent else into_ball(embeddings, c)

    def query(self, queries: Tensor) -> Tensor:
        points = self.points(queries)
        squares = points.square().sum(-1, keepdim=True)
        return torch.cat([-squares, 2 * points, -torch.ones_like(squares)], -1)

    def key(self, keys: Tensor) -> Tensor:
        points = self.points(keys)
        squares = points.square().sum(-1, keepdim=True)
        lifted = torch.cat([torch.ones_like(squares), points, squares], -1)
        return lifted / (1 - curvature_of(self.curvature, keys) * squares)

    def offset(self, queries: Tensor) -> Tensor:
        c = curvature_of(self.curvature, queries)
        room = 1 - c * self.points(queries).square().sum(-1, keepdim=True)
        # Both what multiplies the product and the unit of length, so that finish needs nothing else of the query.
        return torch.cat([2 * c / room, torch.full_like(room, c**-0.5)], -1)

    def finish(self, products: Tensor, offset: Tensor | None) -> Tensor:
        assert offset is not None
        return -offset[..., 1:] * arccosh_above_one(-products * offset[..., :1])


@register(
    "similarity",
    "lorentz",
    source=Source(
        "Learning Continuous Hierarchies in the Lorentz Model of Hyperbolic Geometry", "Nickel and Kiela", 2018
    ),
    family="hyperbolic",
)
class Lorentz(InnerProduct):
    """Minus the distance on the hyperboloid, arccosh(-c⟨q, k⟩)/√c with ⟨q, k⟩ = q·k - q₀k₀, q₀ = √(1/c + ‖q‖²).

    An embedding is the space part; the time coordinate q₀ follows from it, so every vector is a point. The order is
    that of the Lorentzian inner product. Checked against geoopt's ``Lorentz(k=1/c).dist``.

    Args:
        curvature: c > 0. None: 1/d.
        tangent: embeddings are tangent vectors at the origin, put onto the hyperboloid by the exponential map
            sinh(√c‖v‖) v / (√c‖v‖).
        form: ``distance``; ``squared``, the squared Lorentzian distance 2/c + 2⟨q, k⟩ (Law, Liao, Snell and Zemel,
            2019), cheaper and smooth everywhere; or ``inner``, the Lorentzian inner product itself.
    """

    FORMS = ("distance", "squared", "inner")

    def __init__(self, curvature: float | None = 1.0, tangent: bool = False, form: str = "distance") -> None:
        super().__init__()
        _check_curvature("lorentz", curvature)
        if form not in self.FORMS:
            raise UserError(
                f"lorentz has no form {form!r}{did_you_mean(form, self.FORMS)} (forms: {', '.join(self.FORMS)})"
            )
        self.curvature, self.tangent, self.form = curvature, tangent, form

    def space(self, embeddings: Tensor) -> Tensor:
        """``[..., d]`` embeddings → ``[..., d]`` space parts of points on the hyperboloid."""
        if not self.tangent:
            return embeddings
        c = curvature_of(self.curvature, embeddings)
        norms = (c * embeddings.square().sum(-1, keepdim=True)).clamp_min(1e-30).sqrt()
        # sinh of more than 30 is the exponential to the last digit and soon overflows in float32.
        return embeddings * norms.clamp_max(30.0).sinh() / norms

    def _point(self, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        space = self.space(embeddings)
        c = curvature_of(self.curvature, embeddings)
        return (1 / c + space.square().sum(-1, keepdim=True)).sqrt(), space

    def query(self, queries: Tensor) -> Tensor:
        return torch.cat(self._point(queries), -1)

    def key(self, keys: Tensor) -> Tensor:
        time, space = self._point(keys)
        return torch.cat([-time, space], -1)

    def offset(self, queries: Tensor) -> Tensor:
        return torch.full_like(queries[..., :1], curvature_of(self.curvature, queries))

    def finish(self, products: Tensor, offset: Tensor | None) -> Tensor:
        assert offset is not None
        if self.form == "inner":
            return products
        if self.form == "squared":
            return (2 / offset + 2 * products).clamp_max(0)
        return -arccosh_above_one(-offset * products - 1) / offset.sqrt()


@register(
    "similarity",
    "subsumption",
    source=Source("Language Models as Hierarchy Encoders", "He, Yuan, Chen and Horrocks", 2024),
    family="hyperbolic",
)
class Subsumption(Similarity):
    """HiT's score that key k subsumes query q: -(d(q, k) + λ(‖k‖ - ‖q‖)), in the Poincaré ball, norms hyperbolic.

    The query is the child, the key the parent: near, and nearer the origin. Not symmetric. Checked against the
    authors' evaluation code, which has the score as -(dist + weight·(parent norm - child norm)), and geoopt. The key's
    norm stands outside the distance, so it has no reduction: retrieve by ``poincare``, re-rank by this. HiT trains it
    as ``triplet(margin=5), similarity=poincare(curvature=None)`` with the regularizer ``centripetal``.

    Args:
        weight: λ ≥ 0, chosen on validation data in the paper.
        curvature: c > 0. None: 1/d.
        tangent: embeddings are tangent vectors at the origin.
    """

    def __init__(self, weight: float = 1.0, curvature: float | None = None, tangent: bool = False) -> None:
        super().__init__()
        self.weight = weight
        self.ball = Poincare(curvature, tangent)

    def _norms(self, embeddings: Tensor) -> Tensor:
        return hyperbolic_norm(self.ball.points(embeddings), curvature_of(self.ball.curvature, embeddings))

    def prepare_queries(self, queries: Tensor) -> tuple[Tensor, ...]:
        return (*self.ball.prepare_queries(queries), self._norms(queries))

    def prepare_keys(self, keys: Tensor) -> tuple[Tensor, ...]:
        return (*self.ball.prepare_keys(keys), self._norms(keys))

    def score(self, queries: tuple[Tensor, ...], keys: tuple[Tensor, ...]) -> Tensor:
        return self.ball.score(queries[:2], keys[:1]) - self.weight * (keys[1].mT - queries[2])

    def lists(self, queries: Tensor, keys: Tensor) -> Tensor:
        return self.ball.lists(queries, keys) - self.weight * (self._norms(keys).squeeze(-1) - self._norms(queries))
