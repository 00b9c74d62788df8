"""Runs and judgements as dictionaries of string ids -> :class:`~similis.metrics.ranked.Ranked`.

The order is trec_eval's: scores in single precision, descending; equal scores by document id, descending.
Ids are never sorted or hashed for the whole run: a judged document's rank is one more than the number of scores
above its own, so only the scores travel into arrays, and names are read only where a judged score is tied.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, repeat

import numpy as np
import numpy.typing as npt

from similis.errors import UserError
from similis.metrics.ranked import Floats, Ints, Ranked

Row = Mapping[str, float]
Singles = npt.NDArray[np.float32]
_BLOCK = 1 << 21  # scores held at once
_MISSING = float("nan")


def from_dicts(run: Mapping[str, Row], qrels: Mapping[str, Row]) -> Ranked:
    """Rank ``{query: {doc: score}}`` against ``{query: {doc: grade}}``; the queries are those of ``qrels``.

    Documents without a judgement only push others down; judged documents that the run lacks count as not found.

    Raises:
        UserError: a score or grade is not a number, naming query and document.
    """
    ids = list(qrels)
    nothing: dict[str, float] = {}
    rows = [run.get(query, nothing) for query in ids]
    lengths = np.fromiter(map(len, rows), np.int64, len(ids))
    judged = list(qrels.values())
    starts = np.concatenate([[0], np.cumsum(np.fromiter(map(len, judged), np.int64, len(ids)))])
    query = np.repeat(np.arange(len(ids)), np.diff(starts))
    grade = _numbers(judged, int(starts[-1]), ids, "grade").astype(np.float64)
    rank = np.zeros(len(query), np.int64)
    for first, last in _blocks(lengths):
        here = slice(int(starts[first]), int(starts[last]))
        scores = _numbers(rows[first:last], int(lengths[first:last].sum()), ids[first:last], "score")
        rank[here] = _ranks(scores, lengths[first:last], rows[first:last], judged[first:last], query[here] - first)
    return assemble(ids, query, grade, rank, lengths)


def assemble(ids: Sequence[str], query: Ints, grade: Floats, rank: Ints, retrieved: Ints) -> Ranked:
    """Sort judged documents ``[A]`` (rank 0: not retrieved; ``query`` ascending) into the columns of a Ranked."""
    found = np.flatnonzero(rank)
    found = found[np.lexsort((rank[found], query[found]))]
    ideal = np.lexsort((-grade, query)) if np.any((np.diff(grade) > 0) & (np.diff(query) == 0)) else slice(None)
    return Ranked(ids, query[found], rank[found], grade[found], query[ideal], grade[ideal], retrieved)


def _numbers(rows: Sequence[Row], count: int, ids: Sequence[str], what: str) -> Singles:
    """All values of the dictionaries, one after another; a value that is no number is the user's mistake."""
    try:
        with np.errstate(over="ignore"):
            values = np.fromiter(chain.from_iterable(row.values() for row in rows), np.float32, count)
    except (TypeError, ValueError):
        values = None
    if values is None or np.isnan(values).any():
        raise UserError(_not_a_number(rows, ids, what))
    return values


def _not_a_number(rows: Sequence[Row], ids: Sequence[str], what: str) -> str:
    for query, row in zip(ids, rows, strict=True):
        for doc, value in row.items():
            try:
                bad = np.isnan(float(value))
            except (TypeError, ValueError):
                bad = True
            if bad:
                return f"the {what} of document {doc!r} for query {query!r} is {value!r}; it must be a number"
    return f"a {what} is not a number"


def _blocks(lengths: Ints) -> Iterator[tuple[int, int]]:
    """Ranges of queries that together hold about a block of scores."""
    ends = np.cumsum(lengths)
    first = 0
    while first < len(lengths):
        before = ends[first] - lengths[first]
        last = max(first + 1, int(np.searchsorted(ends, before + _BLOCK, side="right")))
        yield first, last
        first = last


def _ranks(scores: Singles, lengths: Ints, rows: Sequence[Row], judged: Sequence[Row], query: Ints) -> Ints:
    """1-based rank of every judged document, 0 where the run lacks it -> ``[A]``; ``scores`` is sorted in place."""
    looked = (map(row.get, wanted, repeat(_MISSING)) for row, wanted in zip(rows, judged, strict=True))
    with np.errstate(over="ignore"):
        score = np.fromiter(chain.from_iterable(looked), np.float32, len(query))
    found = np.flatnonzero(~np.isnan(score))
    ends = np.cumsum(lengths)
    for start, end in zip((ends - lengths).tolist(), ends.tolist(), strict=True):
        scores[start:end].sort()
    end = ends[query[found]]
    below, upto = _bisect(scores, end - lengths[query[found]], end, score[found])
    ranks = np.zeros(len(query), np.int64)
    ranks[found] = end - upto + 1
    tied = found[upto - below > 1]
    if len(tied):
        docs = list(chain.from_iterable(judged))
        places = _places_among_equals([docs[i] for i in tied], query[tied], score[tied], rows)
        ranks[tied] += np.fromiter(places, np.int64, len(tied))
    return ranks


def _bisect(values: Singles, low: Ints, high: Ints, wanted: Singles) -> tuple[Ints, Ints]:
    """Left and right insertion points of ``wanted[i]`` in the ascending ``values[low[i]:high[i]]``, all i at once."""
    bounds = []
    rounds = int((high - low).max(initial=0)).bit_length()
    for right in (False, True):
        left, end = low.copy(), high.copy()
        for _ in range(rounds):
            going = left < end
            middle = (left + end) >> 1
            value = values[np.minimum(middle, len(values) - 1)]
            up = going & ((value <= wanted) if right else (value < wanted))
            left = np.where(up, middle + 1, left)
            end = np.where(going & ~up, middle, end)
        bounds.append(left)
    return bounds[0], bounds[1]


def _places_among_equals(docs: Sequence[str], query: Ints, score: Singles, rows: Sequence[Row]) -> Iterable[int]:
    """For each tied document the number of equally scored ones before it: ids in descending order."""
    places: dict[str, int] = {}
    starts = np.flatnonzero(np.diff(query, prepend=-1)).tolist()
    for first, last in zip(starts, [*starts[1:], len(query)], strict=True):
        row = rows[query[first]]
        with np.errstate(over="ignore"):
            values = np.fromiter(row.values(), np.float32, len(row))
        names = list(row)
        equal = np.flatnonzero(np.isin(values, score[first:last]))
        ordered = sorted(((float(values[i]), names[i]) for i in equal), reverse=True)
        places.clear()
        group, start = None, 0
        for place, (value, name) in enumerate(ordered):
            if value != group:
                group, start = value, place
            places[name] = place - start
        yield from (places[doc] for doc in docs[first:last])
