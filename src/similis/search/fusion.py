"""Fusing rankings: by ranks (RRF) and by standardised scores, with a weight fitted on judged queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from similis.errors import UserError
from similis.search.hits import Hit, Hits

Column = NDArray[np.float64]

#: The weights that :func:`fit_weight` tries.
GRID = tuple(round(step / 20, 2) for step in range(21))


def rrf(hits_list: Sequence[Hits], k: float = 60, top: int | None = None) -> Hits:
    """Reciprocal rank fusion: a document scores the sum over rankings of 1 / (k + rank), rank from 1.

    A ranking that lacks the document adds nothing. The scores have no unit; only their order means something.
    Ties go to the document met first (rankings in the order given). ``top`` keeps that many.

    Source: Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods,
    Cormack, Clarke and Buettcher, 2009 (k = 60 there).
    """
    fused = []
    for rankings in _by_query(hits_list):
        sums: dict[str, float] = {}
        for ranking in rankings:
            for rank, doc in enumerate(ranking.ids, 1):
                sums[doc] = sums.get(doc, 0.0) + 1.0 / (k + rank)
        fused.append(_ranked(list(sums), np.array(list(sums.values())), top))
    return Hits(fused)


def weighted(hits_list: Sequence[Hits], weights: Sequence[float], top: int | None = None) -> Hits:
    """Weighted sum of standardised scores.

    For each query the candidates are the union of the rankings. A ranking's scores over the union (a document that
    it lacks gets its lowest score) are centred and divided by their standard deviation, then summed with ``weights``.
    A fused score is therefore in standard deviations from the mean candidate: comparable within a query, not across
    queries. Ties go to the document met first.

    Raises:
        UserError: not one weight a ranking, or a weight that is not finite.
    """
    if len(weights) != len(hits_list) or not np.isfinite(weights).all():
        raise UserError(f"{len(hits_list)} rankings need {len(hits_list)} finite weights, not {list(weights)}")
    fused = []
    for rankings in _by_query(hits_list):
        ids, columns = _union(rankings)
        fused.append(_ranked(ids, combine(columns, weights), top))
    return Hits(fused)


def standardise(column: Column) -> Column:
    """``[u]`` → ``[u]`` with mean 0 and deviation 1; all zeros where the scores do not differ."""
    if not len(column):
        return column
    deviation = column.std()
    centred = column - column.mean()
    # Scores that differ only by rounding carry no preference: do not blow the noise up to one deviation.
    if deviation <= 1e-9 * max(1.0, float(np.abs(column).max())):
        return np.zeros_like(centred)
    return np.asarray(centred / deviation)


def combine(columns: Sequence[Column], weights: Sequence[float]) -> Column:
    """Weighted sum ``[u]`` of the standardised columns ``[u]``."""
    parts = [weight * standardise(column) for column, weight in zip(columns, weights, strict=True)]
    return np.asarray(np.sum(parts, axis=0))


@dataclass(frozen=True)
class FittedWeight:
    """The share of the first ranking that did best, what it reached, and what every share tried reached."""

    weight: float
    value: float
    tried: dict[float, float]

    def __float__(self) -> float:
        return self.weight


def fit_weight(
    hits_a: Hits,
    hits_b: Hits,
    query_ids: Sequence[str],
    qrels: Mapping[str, Mapping[str, float]],
    grid: Sequence[float] = GRID,
    depth: int = 10,
) -> FittedWeight:
    """The weight w of ``w·a + (1 - w)·b`` with the best mean nDCG@``depth`` on judged (dev) queries.

    Queries without a relevant document are left out. Of equally good weights the middle one is taken, which is the
    least likely to sit beside a cliff.

    Raises:
        UserError: no query has a relevant document.
    """
    pools = []
    for qid, *rankings in zip(query_ids, hits_a, hits_b, strict=True):
        ids, columns = _union(rankings)
        pools.append((qid, ids, columns))
    return fit_columns(pools, qrels, grid, depth)


def fit_columns(
    pools: Sequence[tuple[str, Sequence[str], Sequence[Column]]],
    qrels: Mapping[str, Mapping[str, float]],
    grid: Sequence[float] = GRID,
    depth: int = 10,
) -> FittedWeight:
    """:func:`fit_weight` on pools: query id, candidate ids, and one score column ``[u]`` of each of two rankings."""
    judged = [pool for pool in pools if max(qrels.get(pool[0], {}).values(), default=0) > 0]
    if not judged:
        raise UserError("no query has a relevant document, so there is nothing to fit the fusion weight on")
    totals = np.zeros(len(grid))
    for qid, ids, columns in judged:
        grades = np.array([max(0.0, qrels[qid].get(doc, 0)) for doc in ids])
        first, second = (standardise(column) for column in columns)
        for number, weight in enumerate(grid):
            order = np.argsort(-(weight * first + (1 - weight) * second), kind="stable")
            totals[number] += _ndcg(grades[order[:depth]], list(qrels[qid].values()), depth)
    means = totals / len(judged)
    best = np.flatnonzero(means >= means.max() - 1e-12)
    chosen = int(best[len(best) // 2])
    return FittedWeight(
        float(grid[chosen]), float(means[chosen]), dict(zip(map(float, grid), means.tolist(), strict=True))
    )


def _ndcg(ranked: Column, judged: Sequence[float], depth: int) -> float:
    discounts = 1 / np.log2(np.arange(2, depth + 2))
    ideal = np.sort(np.maximum(np.asarray(judged, float), 0))[::-1][:depth]
    return float(ranked @ discounts[: len(ranked)]) / float(ideal @ discounts[: len(ideal)])


def _by_query(hits_list: Sequence[Hits]) -> list[tuple[Hit, ...]]:
    counts = sorted({len(hits) for hits in hits_list})
    if len(counts) != 1:
        raise UserError(f"rankings to fuse must answer the same queries; these have {counts or 'none'}")
    return list(zip(*hits_list, strict=True))


def _union(rankings: Sequence[Hit]) -> tuple[list[str], list[Column]]:
    """Ids in the order met, and each ranking's scores over them, its lowest where it lacks a document."""
    places: dict[str, int] = {}
    for ranking in rankings:
        for doc in ranking.ids:
            places.setdefault(doc, len(places))
    columns = []
    for ranking in rankings:
        lowest = float(ranking.scores.min()) if len(ranking) else 0.0
        column = np.full(len(places), lowest)
        column[[places[doc] for doc in ranking.ids]] = ranking.scores
        columns.append(column)
    return list(places), columns


def _ranked(ids: list[str], scores: Column, top: int | None) -> Hit:
    order = np.argsort(-scores, kind="stable")[:top]
    return Hit([ids[i] for i in order.tolist()], scores[order].astype(np.float32))
