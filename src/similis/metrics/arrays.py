"""Rankings of integer document ids -> :class:`~similis.metrics.ranked.Ranked`; no dictionary, no string."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from similis.errors import UserError
from similis.metrics.building import assemble
from similis.metrics.ranked import Floats, Ints, Ranked


@dataclass(frozen=True)
class Judgements:
    """Judgements of ``Q`` queries in compressed rows: query q's are ``docs[starts[q]:starts[q + 1]]``.

    Attributes:
        starts: ``[Q + 1]``, ascending from 0.
        docs: ``[A]`` document numbers, from 0; none twice for the same query.
        grades: ``[A]``.
    """

    starts: Ints
    docs: Ints
    grades: Floats


def from_arrays(
    docs: npt.NDArray[np.integer],
    scores: npt.NDArray[np.floating] | None,
    judgements: Judgements,
    query_ids: Sequence[str] | None = None,
) -> Ranked:
    """Rank documents ``[Q, k]`` by ``scores`` ``[Q, k]``; the sorting is skipped for rows already in order.

    Args:
        docs: document numbers; -1 fills up short rows.
        scores: higher is better; equal scores (in single precision) are ordered by document number, descending, so
            number the documents in the order of their names to get trec_eval's order. None: the rows are rankings.
        judgements: what is known of the documents.
        query_ids: ``Q`` names; by default ``"0"``, ``"1"``, …

    Raises:
        UserError: shapes that do not fit, a document twice in a row, or a score that is not a number.
    """
    docs = np.asarray(docs)
    size = len(judgements.starts) - 1
    if docs.ndim != 2 or len(docs) != size or (scores is not None and scores.shape != docs.shape):
        raise UserError(f"documents and scores must have the shape [{size}, k], one row a query; got {docs.shape}")
    if scores is not None:
        docs = _ordered(docs, scores)
    ids = [str(q) for q in range(size)] if query_ids is None else query_ids
    query = np.repeat(np.arange(size), np.diff(judgements.starts))
    rank = _ranks(docs, judgements)
    return assemble(ids, query, np.asarray(judgements.grades, np.float64), rank, np.count_nonzero(docs >= 0, axis=1))


def _ordered(docs: npt.NDArray[np.integer], scores: npt.NDArray[np.floating]) -> npt.NDArray[np.integer]:
    """Rows by score, then document number, both descending; padding last."""
    with np.errstate(over="ignore"):
        singles = scores.astype(np.float32)
    padding = docs < 0
    if np.isnan(singles[~padding]).any():
        raise UserError("a score is not a number (NaN)")
    singles[padding] = -np.inf
    before, after = singles[:, :-1], singles[:, 1:]
    good = (before > after) | ((before == after) & (docs[:, :-1] >= docs[:, 1:]))
    mixed = np.flatnonzero(~good.all(axis=1))
    if len(mixed):
        docs = docs.copy()
        order = np.lexsort((-docs[mixed], -singles[mixed]))
        docs[mixed] = np.take_along_axis(docs[mixed], order, axis=1)
    return docs


def _ranks(docs: npt.NDArray[np.integer], judgements: Judgements) -> Ints:
    """1-based rank of every judgement's document, 0 where it was not retrieved -> ``[A]``.

    One table as long as the collection holds the ranks of the query at hand and is wiped after it.
    """
    known = max(int(docs.max(initial=-1)), int(judgements.docs.max(initial=-1))) + 1
    table = np.zeros(known + 1, np.int64)  # the last place swallows the padding, whose number is -1
    places = np.arange(1, docs.shape[1] + 1)
    ranks = np.zeros(len(judgements.docs), np.int64)
    starts = judgements.starts.tolist()
    for row, first, last in zip(docs, starts[:-1], starts[1:], strict=True):
        table[row] = places
        ranks[first:last] = table[judgements.docs[first:last]]
        if not np.array_equal(table[row][row >= 0], places[row >= 0]):
            raise UserError(f"document {_repeated(row)} is listed twice for the same query")
        table[row] = 0
    return ranks


def _repeated(row: npt.NDArray[np.integer]) -> int:
    values, counts = np.unique(row[row >= 0], return_counts=True)
    return int(values[counts > 1][0])
