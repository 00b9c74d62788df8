"""Rankings of integer document ids -> :class:`~similis.metrics.ranked.Ranked`; no dictionary, no string."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from similis.errors import UserError
from similis.metrics.building import assemble
from similis.metrics.ranked import Floats, Ints, Ranked

_FEW = 4000  # comparisons a query below which comparing beats a table
_ROWS = 1024  # rows sorted at once


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
    docs: npt.NDArray[Any],
    scores: npt.NDArray[Any] | None,
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


def _ordered(docs: npt.NDArray[Any], scores: npt.NDArray[Any]) -> npt.NDArray[Any]:
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


def _ranks(docs: npt.NDArray[Any], judgements: Judgements) -> Ints:
    """1-based rank of every judgement's document, 0 where it was not retrieved -> ``[A]``."""
    _refuse_repeats(docs)
    if len(judgements.docs) * docs.shape[1] <= _FEW * len(docs):
        return _ranks_by_comparison(docs, judgements)
    return _ranks_by_table(docs, judgements)


def _ranks_by_comparison(docs: npt.NDArray[Any], judgements: Judgements) -> Ints:
    """For few judgements and short rows: each judged document against its whole row at once."""
    query = np.repeat(np.arange(len(docs)), np.diff(judgements.starts))
    same = docs[query] == judgements.docs[:, None]
    return np.where(same.any(axis=1), same.argmax(axis=1) + 1, 0)


def _ranks_by_table(docs: npt.NDArray[Any], judgements: Judgements) -> Ints:
    """One table as long as the collection holds the ranks of the query at hand and is wiped after it."""
    known = max(int(docs.max(initial=-1)), int(judgements.docs.max(initial=-1))) + 1
    table = np.zeros(known + 1, np.int64)  # the last place swallows the padding, whose number is -1
    places = np.arange(1, docs.shape[1] + 1)
    ranks = np.zeros(len(judgements.docs), np.int64)
    starts = judgements.starts.tolist()
    for row, first, last in zip(docs, starts[:-1], starts[1:], strict=True):
        table[row] = places
        ranks[first:last] = table[judgements.docs[first:last]]
        table[row] = 0
    return ranks


def _refuse_repeats(docs: npt.NDArray[Any]) -> None:
    for first in range(0, len(docs), _ROWS):
        ordered = np.sort(docs[first : first + _ROWS], axis=1)
        twice = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
        if twice.any():
            row, place = np.argwhere(twice)[0]
            raise UserError(f"document {ordered[row, place]} is listed twice for the same query")
