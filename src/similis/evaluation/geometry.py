"""Embeddings without labels: their geometry, and the agreement of two models."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from similis.errors import UserError
from similis.evaluation.report import Report, Score
from similis.evaluation.runs import Metrics
from similis.metrics.family import Needs
from similis.metrics.parsing import parse_all

USUAL = ("RankMe", "IsoScore", "MeanCosine", "Uniformity", "TwoNN", "Hubness@10")
BETWEEN = ("CKA", "MutualKNN@10")


def evaluate_embeddings(
    embeddings: npt.NDArray[Any], metrics: Metrics | None = None, *, other: npt.NDArray[Any] | None = None
) -> Report:
    """Geometry of embeddings ``[n, d]``, and their agreement with another embedding ``[n, e]`` of the same items.

    Args:
        embeddings: one row an item.
        metrics: by default those usual for what is given.
        other: rows in the same order: a second model's, or (for Alignment) what belongs to each item.

    Raises:
        UserError: fewer than three items, values that are no numbers, or a measure that needs ``other``.
    """
    vectors = _checked(embeddings)
    kinds: list[Needs] = ["embeddings"] if other is None else ["embeddings", "embedding_pairs"]
    chosen = parse_all(metrics or (USUAL if other is None else BETWEEN), kinds)
    second = vectors if other is None else _checked(other)
    if len(second) != len(vectors):
        raise UserError(f"both embeddings must be of the same items: there are {len(vectors)} and {len(second)} rows")
    found = {}
    for metric in chosen:
        value = metric.compute(*([vectors, second] if metric.needs == "embedding_pairs" else [vectors]))
        found[str(metric)] = Score(str(metric), value, None, len(vectors))
    return Report(found)


def _checked(embeddings: npt.NDArray[Any]) -> npt.NDArray[Any]:
    vectors = np.asarray(embeddings, np.float64)
    if vectors.ndim != 2 or len(vectors) < 3:
        raise UserError(f"embeddings must have the shape [n, d] with at least 3 rows, not {vectors.shape}")
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise UserError(f"the embedding of row {bad[0] + 1} is not finite")
    return vectors
