"""Intrinsic dimension: how many coordinates the embeddings would need."""

from __future__ import annotations

import numpy as np

from similis.errors import UserError
from similis.metrics.family import measure
from similis.metrics.geometry.nearest import nearest
from similis.metrics.ranked import Floats
from similis.registry import Source


@measure(
    "TwoNN",
    "embeddings",
    registered="two_nn",
    source=Source(
        "Estimating the intrinsic dimension of datasets by a minimal neighborhood information",
        "Facco, d'Errico, Rodriguez, Laio",
        2017,
    ),
)
def two_nn(vectors: Floats, *, discard: float = 0.1) -> float:
    """Dimension of ``[n, d]`` from the ratio of each row's distances to its second and first neighbour.

    Slope through the origin of -log(1 - F) over the log of the ratios, the highest share ``discard`` of them left out,
    as the paper recommends. Rows that coincide with another are left out.

    Raises:
        UserError: fewer than three distinct rows.
    """
    first, second = nearest(_distinct(vectors, "TwoNN", 3), 2)[1].T
    ratio = np.sort(np.log(second / first))
    n = len(ratio)
    kept = max(1, int(n * (1.0 - discard)))
    x, y = ratio[:kept], -np.log(1.0 - np.arange(1, kept + 1) / (n + 1))
    return float(np.sum(x * y) / np.sum(x * x))


@measure(
    "LID",
    "embeddings",
    registered="mle_dimension",
    aliases=("MLE", "mle_id"),
    source=Source("Maximum likelihood estimation of intrinsic dimension", "Levina, Bickel", 2004),
)
def mle_dimension(vectors: Floats, *, k: int = 20) -> float:
    """Dimension of ``[n, d]`` by maximum likelihood from the distances to ``k`` neighbours.

    The rows' estimates are averaged as inverses (MacKay and Ghahramani, 2005), which takes out most of the bias.

    Raises:
        UserError: ``k`` below 3, or not more than ``k`` distinct rows.
    """
    if k < 3:
        raise UserError(f"LID: k must be at least 3, not {k}")
    distance = nearest(_distinct(vectors, "LID", k + 1), k)[1]
    inverse = np.mean(np.log(distance[:, -1:] / distance[:, :-1]), axis=1)
    return float(1.0 / inverse.mean())


def _distinct(vectors: Floats, name: str, least: int) -> Floats:
    rows = np.unique(np.asarray(vectors, np.float64), axis=0)
    if len(rows) < least:
        raise UserError(f"{name} needs at least {least} distinct embeddings, not {len(rows)}")
    return rows
