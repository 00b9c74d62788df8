"""Examples: the rows of a data set as codes of distinct texts, and the relation of any batch of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from similis.relation import Relation
from similis.sampling import Items
from similis.sampling.grouped import named_groups

Integers: TypeAlias = NDArray[np.int64]


def fold(text: str) -> str:
    """A text without differences of case and white space: what counts as the same text in a batch."""
    return " ".join(text.casefold().split())


class TextTable:
    """Distinct texts, each with a code in order of first appearance, and the code of its folded form."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._codes: dict[str, int] = {}
        self._folded_codes: dict[str, int] = {}
        self._folded: list[int] = []

    def __len__(self) -> int:
        return len(self.texts)

    def add(self, texts: Iterable[str]) -> Integers:
        """Codes of ``texts`` ``[n]``, taking in those that are new."""
        known, folded = self._codes, self._folded_codes
        codes = np.fromiter((known.setdefault(text, len(known)) for text in texts), np.int64)
        new = list(islice(known, len(self.texts), None))
        self.texts += new
        self._folded += [folded.setdefault(fold(text), len(folded)) for text in new]
        return codes

    @property
    def folded(self) -> Integers:
        """Code of each text's folded form, ``[T]``."""
        return np.array(self._folded, np.int64)


@dataclass(frozen=True, eq=False)
class Batch:
    """What one step reads: codes of texts to embed, and what supervision says of them.

    Attributes:
        queries: text codes ``[n]``.
        keys: text codes ``[m]``, or ``[n, L]`` where each query has a list of its own (-1: none); None: the keys are
            the queries.
        relation: of shape ``(n, m)``, lists, or a list of n pairs.
        vectors: key embeddings ``[m, d]`` that are given, not learnt; None: those of ``keys``.
    """

    queries: Integers
    keys: Integers | None
    relation: Relation
    vectors: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Examples:
    """Rows to learn from.

    Attributes:
        supervision: ``pairs``, ``triplets``, ``labels``, ``scored`` or ``labeled_pairs``, as ``Relation`` names them.
        table: the texts.
        queries: text code of each row's query, anchor, first sentence or labelled text, ``[n]``.
        keys: text code of each row's positive or second sentence, ``[n]``; None for labels.
        negatives: text codes ``[n, r]``, -1 where a row has fewer; None where there are none.
        labels: class numbers ``[n]``; None where there are none.
        scores: grades ``[n]`` in 0..1; None where there are none.
        classes: the name of each class.
        samples: number of each row in the data set, ``[n]``.
    """

    supervision: str
    table: TextTable
    queries: Integers
    keys: Integers | None = None
    negatives: Integers | None = None
    labels: Integers | None = None
    scores: NDArray[np.float32] | None = None
    classes: Sequence[Any] = ()
    samples: Integers = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        if not len(self.samples):
            object.__setattr__(self, "samples", np.arange(len(self.queries)))
        object.__setattr__(self, "_folded", self.table.folded)
        object.__setattr__(self, "_known", _Positives.of(self, self.table.folded))

    def __len__(self) -> int:
        return len(self.queries)

    @property
    def learns(self) -> str:
        """The supervision of the batches' relations."""
        return self.supervision

    def subset(self, rows: Integers) -> Examples:
        """The same examples, only some rows; row numbers in the data set are kept."""

        def cut(values: Any) -> Any:
            return None if values is None else values[rows]

        return replace(
            self,
            queries=self.queries[rows],
            keys=cut(self.keys),
            negatives=cut(self.negatives),
            labels=cut(self.labels),
            scores=cut(self.scores),
            samples=self.samples[rows],
        )

    def text_codes(self) -> Integers:
        """Distinct codes of every text the rows use, in ascending order."""
        parts = [self.queries, *(p.ravel() for p in (self.keys, self.negatives) if p is not None)]
        return np.unique(np.concatenate(parts)[np.concatenate(parts) >= 0])

    def items(self, lengths: Integers | None = None) -> Items:
        """The rows as samplers see them; ``lengths`` are those of the texts ``[T]``."""
        columns = [self.queries[:, None]] + ([] if self.keys is None else [self.keys[:, None]])
        if self.negatives is not None:
            columns.append(self.negatives)
        codes = np.concatenate(columns, 1)
        folded: Integers = np.append(self._folded, -1)  # type: ignore[attr-defined]
        known = None if lengths is None else np.where(codes >= 0, np.append(lengths, 0)[codes], 0).sum(1)
        groups = None if self.labels is None else named_groups(self.classes)
        above = None if groups is None or self.labels is None else groups[self.labels]
        return Items(len(self), folded[codes], self.labels, known, above)

    def batch(self, rows: Integers) -> Batch:
        """The texts and the relation of some rows.

        Texts are compared folded. A key that repeats a row's positive or the query itself, and a key that is a
        positive of the same query anywhere in the data, is never a negative.
        """
        queries = self.queries[rows]
        samples = torch.from_numpy(self.samples[rows])
        if self.supervision == "labels":
            assert self.labels is not None
            relation = Relation.labels(torch.from_numpy(self.labels[rows]))
            return Batch(queries, None, replace(relation, samples=samples))
        assert self.keys is not None
        if self.scores is not None:
            made = Relation.labeled_pairs if self.supervision == "labeled_pairs" else Relation.scored
            relation = made(torch.from_numpy(self.scores[rows]))
            return Batch(queries, self.keys[rows], relation)
        keys = self.keys[rows]
        if self.negatives is not None:
            given = self.negatives[rows].T.ravel()
            keys = np.concatenate([keys, given[given >= 0]])
        return Batch(queries, keys, replace(self._pairs(queries, keys), samples=samples))

    def _pairs(self, queries: Integers, keys: Integers) -> Relation:
        folded: Integers = self._folded  # type: ignore[attr-defined]
        query_ids, key_ids = folded[queries], folded[keys]
        relation = Relation.pairs(
            len(queries), len(keys), query_ids=torch.from_numpy(query_ids), key_ids=torch.from_numpy(key_ids)
        )
        also: Tensor | None = self._known.among(query_ids, key_ids)  # type: ignore[attr-defined]
        unknown = relation.unknown if also is None else (*relation.unknown, also)
        return replace(relation, supervision=self.supervision, unknown=unknown)


@dataclass(frozen=True, eq=False)
class _Positives:
    """For queries with several positives: all of them, as sorted (folded query, folded key) pairs."""

    queries: Integers
    keys: Integers

    @classmethod
    def of(cls, examples: Examples, folded: Integers) -> _Positives:
        if examples.keys is None or examples.scores is not None:
            return cls(np.zeros(0, np.int64), np.zeros(0, np.int64))
        pairs = np.unique(np.stack([folded[examples.queries], folded[examples.keys]], 1), axis=0)
        several = np.bincount(pairs[:, 0])[pairs[:, 0]] > 1 if len(pairs) else np.zeros(0, bool)
        return cls(pairs[several, 0], pairs[several, 1])

    def among(self, query_ids: Integers, key_ids: Integers) -> Tensor | None:
        """``[n, m]`` True where key j is any positive of query i, or None where no query has several."""
        low = np.searchsorted(self.queries, query_ids)
        counts = np.searchsorted(self.queries, query_ids, side="right") - low
        total = int(counts.sum())
        if not total:
            return None
        rows = np.repeat(np.arange(len(query_ids)), counts)
        within = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
        positives = self.keys[np.repeat(low, counts) + within]
        order = np.argsort(key_ids, kind="stable")
        ordered = key_ids[order]
        first = np.searchsorted(ordered, positives)
        repeats = np.searchsorted(ordered, positives, side="right") - first
        hits = int(repeats.sum())
        column = np.repeat(first, repeats) + np.arange(hits) - np.repeat(np.cumsum(repeats) - repeats, repeats)
        mask = torch.zeros(len(query_ids), len(key_ids), dtype=torch.bool)
        mask[torch.from_numpy(np.repeat(rows, repeats)), torch.from_numpy(order[column])] = True
        return mask
