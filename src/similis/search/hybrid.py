"""Dense and lexical search fused by a weighted sum of standardised scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from similis.errors import UserError
from similis.search.fusion import GRID, FittedWeight, combine, fit_columns, standardise
from similis.search.hits import Hit, Hits
from similis.search.ranker import Positions, Ranker, Scores, as_texts, check_k

#: How many documents of each ranking are fused at least; deeper changes little, shallower loses recall.
DEPTH = 100


@dataclass(frozen=True)
class Pool:
    """One query's candidates: the union of both rankings, each document scored by both rankers.

    Attributes:
        positions: ``[u]``, rising.
        dense: ``[u]`` scores of the first ranker.
        lexical: ``[u]`` scores of the second.
    """

    positions: Positions
    dense: NDArray[np.float64]
    lexical: NDArray[np.float64]


class Hybrid:
    """Fuses two rankers over the same documents: ``weight·z(dense) + (1 - weight)·z(lexical)``.

    The candidates of a query are the union of both rankings to depth max(k, 100). Each ranker then scores every
    candidate, so nothing is imputed for a document that only the other one found. z centres a ranker's scores over
    the candidates and divides by their standard deviation: a fused score is in standard deviations above the mean
    candidate, comparable within a query and not across queries.

    Args:
        dense, lexical: rankers numbering the same documents in the same order.
        weight: share of the dense scores, in 0..1; :meth:`fit` finds it on judged queries.

    Raises:
        UserError: the rankers hold different numbers of documents, or the weight is outside 0..1.
    """

    def __init__(self, dense: Ranker, lexical: Ranker, weight: float = 0.5) -> None:
        if len(dense.ids) != len(lexical.ids):
            raise UserError(
                f"the rankers to fuse hold {len(dense.ids)} and {len(lexical.ids)} documents; they must hold the same"
            )
        self.dense, self.lexical = dense, lexical
        self.weight = check_weight(weight)

    def search(self, queries: str | Sequence[str], k: int = 10, explain: bool = False) -> Hits:
        """The best ``k`` documents of each query by fused score; ``explain`` adds each part's score and share."""
        texts = as_texts(queries)
        check_k(k)
        if not texts:
            return Hits([])
        pools, _ = self.pools(texts, k)
        return Hits([self._hit(pool, k, explain) for pool in pools])

    def pools(self, texts: Sequence[str], k: int) -> tuple[list[Pool], tuple[Any, Any]]:
        """Candidates of each query scored by both rankers, and the prepared queries of both."""
        prepared = self.dense.prepare(texts), self.lexical.prepare(texts)
        depth = max(k, DEPTH)
        ranked_a, ranked_b = self.dense.top(prepared[0], depth), self.lexical.top(prepared[1], depth)
        unions = [np.union1d(a, b) for (_, a), (_, b) in zip(ranked_a, ranked_b, strict=True)]
        columns_a = _complete(self.dense, prepared[0], unions, ranked_a)
        columns_b = _complete(self.lexical, prepared[1], unions, ranked_b)
        return [Pool(*parts) for parts in zip(unions, columns_a, columns_b, strict=True)], prepared

    def fit(
        self,
        query_ids: Sequence[str],
        texts: Sequence[str],
        qrels: Mapping[str, Mapping[str, float]],
        grid: Sequence[float] = GRID,
    ) -> FittedWeight:
        """Set ``weight`` to the one with the best nDCG@10 on judged (dev) queries, and return the fit."""
        pools, _ = self.pools(as_texts(list(texts)), DEPTH)
        named = [
            (qid, self.dense.ids.take(pool.positions), (pool.dense, pool.lexical))
            for qid, pool in zip(query_ids, pools, strict=True)
        ]
        fitted = fit_columns(named, qrels, grid)
        self.weight = fitted.weight
        return fitted

    def _hit(self, pool: Pool, k: int, explain: bool) -> Hit:
        shares = (self.weight, 1 - self.weight)
        fused = combine((pool.dense, pool.lexical), shares)
        # Candidates are in rising position, so a stable sort gives ties to the lower position.
        order = np.argsort(-fused, kind="stable")[:k]
        ids = self.dense.ids.take(pool.positions[order])
        return Hit(ids, fused[order].astype(np.float32), self._explain(pool, order) if explain else None)

    def _explain(self, pool: Pool, order: NDArray[np.intp]) -> list[dict[str, float]]:
        dense, lexical = standardise(pool.dense), standardise(pool.lexical)
        return [
            {
                "dense": float(pool.dense[i]),
                "dense_share": float(self.weight * dense[i]),
                "lexical": float(pool.lexical[i]),
                "lexical_share": float((1 - self.weight) * lexical[i]),
            }
            for i in order.tolist()
        ]


def check_weight(weight: float) -> float:
    """The weight, refused outside 0..1."""
    if not 0 <= weight <= 1:
        raise UserError(f"the fusion weight is {weight}; it must be in 0..1 (1 is dense alone)")
    return float(weight)


def _complete(
    ranker: Ranker, prepared: Any, unions: Sequence[Positions], ranked: Sequence[tuple[Scores, Positions]]
) -> list[NDArray[np.float64]]:
    """Scores over each union: those of the ranking, and the ranker's own for the documents it did not list."""
    missing = [np.setdiff1d(union, found, assume_unique=True) for union, (_, found) in zip(unions, ranked, strict=True)]
    extra = ranker.score(prepared, missing)
    columns = []
    for union, gaps, filling, (scores, found) in zip(unions, missing, extra, ranked, strict=True):
        column = np.empty(len(union))
        column[np.searchsorted(union, found)] = scores
        column[np.searchsorted(union, gaps)] = filling
        columns.append(column)
    return columns
