"""Retrievers that number their documents: first stages that can be fused without imputing scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from similis.errors import UserError
from similis.search.hits import Hit, Hits

Positions = NDArray[np.int64]
Scores = NDArray[np.float32]


class Identifiers(Protocol):
    """Document ids by position."""

    def __len__(self) -> int: ...

    def take(self, positions: Positions) -> list[str]:
        """The ids at ``positions`` ``[n]``."""
        ...


class ListedIds:
    """Ids held in memory."""

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids = list(ids)

    def __len__(self) -> int:
        return len(self._ids)

    def take(self, positions: Positions) -> list[str]:
        return [self._ids[p] for p in positions.tolist()]


class Ranker(Protocol):
    """A retriever that numbers its documents from 0 and can score any of them.

    ``prepare`` does the work that a query needs once (encode, tokenise); ``top`` and ``score`` both take its result.
    """

    ids: Identifiers

    def prepare(self, queries: Sequence[str]) -> Any: ...

    def top(self, prepared: Any, k: int) -> list[tuple[Scores, Positions]]:
        """Scores and positions of each query's best documents, at most ``k``, best first, ties by lower position."""
        ...

    def score(self, prepared: Any, candidates: Sequence[Positions]) -> list[Scores]:
        """Scores of each query with its own candidates ``[c_i]``."""
        ...

    def search(self, queries: str | Sequence[str], k: int = 10) -> Hits: ...


class RankerSearch:
    """Gives a :class:`Ranker` its ``search``."""

    ids: Identifiers

    def prepare(self, queries: Sequence[str]) -> Any:
        raise TypeError(f"{type(self).__name__} does not define prepare")

    def top(self, prepared: Any, k: int) -> list[tuple[Scores, Positions]]:
        raise TypeError(f"{type(self).__name__} does not define top")

    def search(self, queries: str | Sequence[str], k: int = 10) -> Hits:
        """The best ``k`` documents of each query; see :class:`similis.search.Retriever`."""
        texts = as_texts(queries)
        check_k(k)
        if not texts:
            return Hits([])
        return named(self.top(self.prepare(texts), k), self.ids)


def named(ranked: Sequence[tuple[Scores, Positions]], ids: Identifiers) -> Hits:
    """Hits from scores and positions; all ids are looked up at once."""
    if not ranked:
        return Hits([])
    names = ids.take(np.concatenate([positions for _, positions in ranked]))
    hits, start = [], 0
    for scores, _ in ranked:
        hits.append(Hit(names[start : start + len(scores)], scores))
        start += len(scores)
    return Hits(hits)


def as_texts(queries: str | Sequence[str]) -> list[str]:
    """One string as a list of one; anything else must be strings.

    Raises:
        UserError: an item is not a string.
    """
    texts = [queries] if isinstance(queries, str) else list(queries)
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise UserError(f"query {number} is {type(text).__name__}, not text; give a string or a list of strings")
    return texts


def check_k(k: int) -> None:
    """Refuse a depth below 1."""
    if k < 1:
        raise UserError(f"k is {k}; ask for at least 1 document")
