"""Hubness: a few items that are everybody's neighbour."""

from __future__ import annotations

import numpy as np

from similis.metrics.family import measure
from similis.metrics.geometry.nearest import nearest
from similis.metrics.geometry.sphere import unit
from similis.metrics.ranked import Floats
from similis.registry import Source


@measure(
    "Hubness",
    "embeddings",
    registered="hubness",
    aliases=("k_occurrence_skewness", "k_skewness"),
    higher_is_better=False,
    source=Source(
        "Hubs in space: popular nearest neighbors in high-dimensional data", "Radovanović, Nanopoulos, Ivanović", 2010
    ),
)
def hubness(vectors: Floats, *, cutoff: int) -> float:
    """Skewness of how often each row of ``[n, d]`` is among the k nearest (by cosine) of the others; 0 is even."""
    indices, _ = nearest(unit(vectors), cutoff)
    counts = np.bincount(indices.ravel(), minlength=len(vectors)).astype(np.float64)
    spread = counts.std()
    return float(np.mean((counts - counts.mean()) ** 3) / spread**3) if spread > 0 else 0.0
