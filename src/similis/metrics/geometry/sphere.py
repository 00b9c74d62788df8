"""Embeddings on the unit sphere: how crowded it is, and how near what belongs together lies."""

from __future__ import annotations

import numpy as np

from similis.metrics.family import measure
from similis.metrics.ranked import Floats
from similis.registry import Source

_BLOCK = 1 << 22  # distances held at once
_HYPERSPHERE = Source(
    "Understanding contrastive representation learning through alignment and uniformity on the hypersphere",
    "Wang, Isola",
    2020,
)


def unit(vectors: Floats) -> Floats:
    """Rows of ``[n, d]`` at length 1; a row of zeros stays."""
    vectors = np.asarray(vectors, np.float64)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(length > 0, length, 1.0))


@measure(
    "MeanCosine",
    "embeddings",
    registered="mean_cosine",
    higher_is_better=False,
    source=Source("How contextual are contextualized word representations?", "Ethayarajh", 2019),
)
def mean_cosine(vectors: Floats) -> float:
    """Mean cosine of two different rows of ``[n, d]``: near 0 if spread evenly, near 1 in a narrow cone."""
    rows = unit(vectors)
    n = len(rows)
    return float((np.sum(rows.sum(axis=0) ** 2) - np.sum(rows * rows)) / (n * (n - 1)))


@measure("Uniformity", "embeddings", registered="uniformity", higher_is_better=False, source=_HYPERSPHERE)
def uniformity(vectors: Floats, *, t: float = 2.0) -> float:
    """Log of the mean of ``exp(-t |x - y|^2)`` over different rows of ``[n, d]`` at length 1; lower is more even."""
    rows = unit(vectors)
    n, step = len(rows), max(1, _BLOCK // len(rows))
    total = 0.0
    for first in range(0, n, step):
        products = rows[first : first + step] @ rows.T
        near = np.exp(-t * (2.0 - 2.0 * np.minimum(products, 1.0)))
        total += float(near.sum() - near[np.arange(len(near)), first + np.arange(len(near))].sum())
    return float(np.log(total / (n * (n - 1))))


@measure("Alignment", "embedding_pairs", registered="alignment", higher_is_better=False, source=_HYPERSPHERE)
def alignment(first: Floats, second: Floats, *, alpha: float = 2.0) -> float:
    """Mean distance, to the power ``alpha``, of what belongs together: rows of two ``[n, d]`` at length 1."""
    distance = np.linalg.norm(unit(first) - unit(second), axis=1)
    return float(np.mean(distance**alpha))
