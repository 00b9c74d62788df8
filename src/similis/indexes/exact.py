"""Exact search: a blocked matrix product that keeps only what can still be among the best.

NumPy alone. Selecting with a partition of every row costs several times the product itself; here a block of scores is
compared with each query's running k-th best score and only the few survivors are looked at, which adds about 3%.
Where torch is loaded and the processor has bf16, the products of a batch are made in it (see ``half``).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from similis.indexes.half import HalfKeys, usable
from similis.indexes.reduction import Scorer, Vectors, inner_products
from similis.registry import Source, register

Positions = NDArray[np.int64]

#: Queries of one block, and scores of one block (16 MB): the product runs at full speed and the scores stay in cache.
QUERIES, SCORES = 256, 1 << 22
#: Up to how many queries are multiplied one by one, and by how many keys at a time (they stay in cache).
FEW, ROWS = 8, 2048
#: Candidates of one query that are kept beyond four times k.
SPARE = 1000


@register(
    "index",
    "exact",
    source=Source("A Vector Space Model for Automatic Indexing", "Salton, Wong and Yang", 1975),
    family="dense",
)
class ExactIndex:
    """Largest inner products by looking at every vector.

    Args:
        vectors: float32 ``[n, d]``, may be memory-mapped; read block by block.
        longest: the largest length of a vector, if it is known; else found at the first search.
    """

    kind = "exact"

    def __init__(self, vectors: Vectors, longest: float | None = None) -> None:
        self.vectors = vectors
        self._longest = longest
        self._half: HalfKeys | None = None
        self._half_pays = True

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def longest(self) -> float:
        """The largest length of a vector."""
        if self._longest is None:
            self._longest = longest(self.vectors)
        return self._longest

    def search(self, queries: Vectors, k: int, score: Scorer = inner_products) -> tuple[Vectors, Positions]:
        """Scores ``[q, min(k, n)]``, falling, and positions of the same shape; ties go to the lower position.

        Args:
            queries: float32 ``[q, d]``.
            k: how many.
            score: gives the reported scores of the best, which must rise with the inner product. The product only
                finds them: its last bits depend on the block, so whatever lies within rounding of the k-th best
                is scored again in a fixed order, and equal vectors tie whatever the batch.
        """
        k = min(k, len(self.vectors))
        queries = np.ascontiguousarray(queries, np.float32)
        scores = np.empty((len(queries), k), np.float32)
        positions = np.empty((len(queries), k), np.int64)
        for start in range(0, len(queries), QUERIES):
            block = queries[start : start + QUERIES]
            rows, found = self._candidates(block, k)
            part = slice(start, start + len(block))
            scores[part], positions[part] = _rescored(self.vectors, block, rows, found, k, score)
        return scores, positions

    def _candidates(self, queries: Vectors, k: int) -> tuple[Positions, Positions]:
        """Whose candidate (rising) and which document: all that can be among a query's best ``k``."""
        if not (self._half_pays and usable(self.vectors, len(queries))):
            return _candidates(self.vectors, queries, k, self._slack(queries))[:2]
        self._half = self._half or HalfKeys(self.vectors)
        rounded, slack = self._half.queries(queries)
        rows, found, crowded = _candidates(self.vectors, queries, k, slack, partial(self._half.products, rounded))
        if not len(crowded):
            return rows, found
        # So many documents within the rounding of bf16 that some were dropped: these queries are done in full. Keys
        # of very unequal coordinates, as distances have them, make that the rule: then it is not tried again.
        self._half_pays = len(crowded) <= len(queries) // 8
        own, again = _candidates(self.vectors, queries[crowded], k, self._slack(queries[crowded]))[:2]
        kept = ~np.isin(rows, crowded)
        rows, found = np.concatenate([rows[kept], crowded[own]]), np.concatenate([found[kept], again])
        order = np.argsort(rows, kind="stable")
        return rows[order], found[order]

    def _slack(self, queries: Vectors) -> Vectors:
        """``[q]``, how far rounding may move an inner product: of the order of ε √d ‖q‖ ‖k‖."""
        lengths = np.sqrt(np.square(queries).sum(-1))
        return np.asarray(lengths * np.float32(self.longest * np.finfo(np.float32).eps * queries.shape[1] ** 0.5))


def longest(vectors: Vectors) -> float:
    """The largest length of the rows ``[n, d]``, read block by block."""
    block = max(1, SCORES // max(1, vectors.shape[1]))
    squares = [np.square(vectors[i : i + block]).sum(-1).max() for i in range(0, len(vectors), block)]
    return float(np.sqrt(max(squares, default=0.0)))


def lower_bounds(scores: Vectors, k: int) -> Vectors:
    """``[q, n]`` → ``[q]``, a value that at least ``k`` of each row reach, and seldom many more than ``k``.

    The k-th largest of the maxima of many small groups is such a value, and costs one pass where selecting costs ten.
    """
    n = scores.shape[1]
    width = min(64, n // (4 * k))
    if width >= 4:
        groups = n // width
        scores = scores[:, : groups * width].reshape(len(scores), width, groups).max(1)
        n = groups
    bounds: Vectors = np.partition(scores, n - k, axis=1)[:, n - k]
    return bounds


def best(scores: Vectors, k: int, above: float = -np.inf) -> Positions:
    """Places of the ``k`` largest of ``[n]`` that exceed ``above``, falling, ties by lower place."""
    if k < len(scores):
        bound = lower_bounds(scores[None], k)[0]
        places = np.flatnonzero(scores >= bound if bound > above else scores > above)
    else:
        places = np.flatnonzero(scores > above) if above > -np.inf else np.arange(len(scores))
    return places[np.argsort(-scores[places], kind="stable")[:k]]


def rescore(vectors: Vectors, query: Vectors, found: Positions, k: int, score: Scorer) -> tuple[Vectors, Positions]:
    """The best ``k`` of the rows ``found`` (rising) by ``score``."""
    scores = score(query, np.asarray(vectors[found]))
    order = best(scores, k)
    return scores[order], found[order]


def _rescored(
    vectors: Vectors, queries: Vectors, rows: Positions, found: Positions, k: int, score: Scorer
) -> tuple[Vectors, Positions]:
    """``[q, k]`` scores and positions of the best of ``found`` ``[c]``, candidates of the queries ``rows`` ``[c]``."""
    scores = np.empty(len(rows), np.float32)
    size = max(1, SCORES // queries.shape[1])
    for start in range(0, len(rows), size):
        part = slice(start, start + size)
        scores[part] = score(queries[rows[part]], np.asarray(vectors[found[part]]))
    order = np.lexsort((found, -scores, rows))
    firsts = np.searchsorted(rows, np.arange(len(queries)))
    chosen = order[firsts[:, None] + np.arange(k)]
    return scores[chosen], found[chosen]


def _candidates(
    vectors: Vectors,
    queries: Vectors,
    k: int,
    slack: Vectors,
    multiply: Callable[[int, int], Vectors] | None = None,
) -> tuple[Positions, Positions, Positions]:
    """Candidates whose product comes within ``slack`` of their query's k-th best.

    ``multiply`` gives the products with the keys from one position to another, where they are not the plain ones.
    Returns query numbers, rising; positions; and the queries that had more candidates than are kept.
    """
    survivors = _Survivors(len(queries), k, slack)
    size = max(SCORES // len(queries), 4 * k)
    out = np.empty((len(queries), min(size, len(vectors)) if multiply is None else 0), np.float32)
    for start in range(0, len(vectors), size):
        stop = min(start + size, len(vectors))
        if multiply is not None:
            survivors.add(multiply(start, stop), start)
            continue
        products = out if stop - start == out.shape[1] else np.empty((len(queries), stop - start), np.float32)
        _multiply(queries, vectors[start:stop], products)
        survivors.add(products, start)
    return survivors.found()


def _multiply(queries: Vectors, keys: Vectors, out: Vectors) -> None:
    """``[q, d]``, ``[b, d]`` → ``out`` ``[q, b]``."""
    if len(queries) > FEW:
        np.matmul(queries, keys.T, out=out)
        return
    # Few queries only read the keys: dot products one by one do that at the memory's speed, where a matrix product
    # first repacks the keys and wakes threads whose waiting on a busy machine costs more than the search.
    for start in range(0, len(keys), ROWS):
        for query, row in zip(queries, out, strict=True):
            np.vecdot(keys[start : start + ROWS], query, out=row[start : start + ROWS])


class _Survivors:
    """The (query, position, product) triples that may still be among a query's best ``k``."""

    def __init__(self, queries: int, k: int, slack: Vectors) -> None:
        self.k, self.slack, self.queries = k, slack, queries
        self.threshold = np.full(queries, -np.inf, np.float32)
        self.rows = np.empty(0, np.int64)
        self.places = np.empty(0, np.int64)
        self.products = np.empty(0, np.float32)
        self.kept = 0
        self.crowded = np.zeros(queries, bool)

    def add(self, products: Vectors, start: int) -> None:
        """Take in a block ``[q, b]`` of products whose first column is position ``start``."""
        width = products.shape[1]
        if start == 0 and width > self.k:
            self.threshold = lower_bounds(products, self.k) - self.slack
        flat = np.flatnonzero(products >= self.threshold[:, None])
        self.rows = np.concatenate([self.rows, flat // width])
        self.places = np.concatenate([self.places, flat % width + start])
        self.products = np.concatenate([self.products, products.reshape(-1)[flat]])
        if len(self.rows) - self.kept > self.queries * self.k:
            self._prune()

    def found(self) -> tuple[Positions, Positions, Positions]:
        """The survivors' queries, rising, their positions, and the queries of which some were dropped."""
        self._prune()
        return self.rows, self.places, np.flatnonzero(self.crowded)

    def _prune(self) -> None:
        """Raise the thresholds to what the survivors allow, and drop those below."""
        order = np.lexsort((self.places, -self.products, self.rows))
        rows, products = self.rows[order], self.products[order]
        starts = np.searchsorted(rows, np.arange(self.queries + 1))
        full = np.flatnonzero(np.diff(starts) >= self.k)
        self.threshold[full] = products[starts[full] + self.k - 1] - self.slack[full]
        # Many documents may tie with the k-th (duplicates, a zero query): keep enough of the first to fill the list.
        rank = np.arange(len(rows)) - starts[rows]
        keep = products >= self.threshold[rows]
        excess = keep & (rank >= 4 * self.k + SPARE)
        self.crowded[rows[excess]] = True
        keep &= ~excess
        self.rows, self.places, self.products = rows[keep], self.places[order][keep], products[keep]
        self.kept = len(self.rows)
