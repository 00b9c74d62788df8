"""Penalties in hyperbolic space: parents nearer the origin than their children."""

from __future__ import annotations

from torch import Tensor

from similis.registry import Source, register
from similis.similarity.hyperbolic import Poincare, curvature_of, hyperbolic_norm


@register(
    "regularizer",
    "centripetal",
    source=Source("Language Models as Hierarchy Encoders", "He, Yuan, Chen and Horrocks", 2024),
    family="hyperbolic",
    reads="pairs",
)
def centripetal(
    queries: Tensor, keys: Tensor, *, margin: float = 0.1, curvature: float | None = None, tangent: bool = False
) -> Tensor:
    """Mean over pairs of max(0, ‖parent‖ - ‖child‖ + margin), hyperbolic norms; queries are children, keys parents.

    HiT's centripetal loss, checked against the authors' code and geoopt's ``dist0``; its clustering loss is the
    criterion ``triplet`` with ``similarity=poincare(curvature=None)``.

    Args:
        queries: ``[n, d]`` children.
        keys: ``[n, d]`` parents.
        margin: in units of hyperbolic distance (0.1 in the paper's experiments).
        curvature: c > 0 of the Poincaré ball. None: 1/d.
        tangent: embeddings are tangent vectors at the origin, as in ``poincare(tangent=True)``.
    """
    ball = Poincare(curvature, tangent)
    c = curvature_of(curvature, queries)
    child, parent = (hyperbolic_norm(ball.points(side), c) for side in (queries, keys))
    return (parent - child + margin).relu().mean()
