"""BM25 search over stored columns of scores: a query is the sum of its terms' columns. NumPy alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from similis.errors import UserError
from similis.indexes.analyzer import Analyzer, detect_language
from similis.indexes.exact import best
from similis.indexes.postings import Postings, PostingsBuilder
from similis.registry import Source, register
from similis.search.ranker import Identifiers, ListedIds, Positions, RankerSearch, Scores

#: Documents counted at a time.
CHUNK = 4096


@register(
    "index",
    "bm25",
    source=Source("Okapi at TREC-3", "Robertson, Walker, Jones, Hancock-Beaulieu and Gatford", 1994),
    family="lexical",
)
class LexicalRetriever(RankerSearch):
    """BM25 (Lucene's form) over documents numbered from 0.

    Only documents that share a term with the query are returned, so a query may have fewer than ``k`` hits or none.
    The scores are those of bm25s to the bit; ties go to the lower position.

    Args:
        postings: the scored columns.
        ids: document ids by position.
    """

    def __init__(self, postings: Postings, ids: Identifiers) -> None:
        self.postings, self.ids = postings, ids
        # Plain views: slicing a memory map itself costs more than the columns' arithmetic.
        self._data, self._indices = np.asarray(postings.data), np.asarray(postings.indices)
        self._indptr = np.asarray(postings.indptr)

    @classmethod
    def build(
        cls, ids: Sequence[str], texts: Sequence[str], *, language: str = "auto", k1: float = 1.2, b: float = 0.75
    ) -> LexicalRetriever:
        """Index texts in memory; ``language`` as in :meth:`Analyzer.of`, or ``auto`` for English where it looks so.

        Raises:
            UserError: ids and texts differ in number, or there are none.
        """
        if len(ids) != len(texts) or not ids:
            raise UserError(f"{len(ids)} ids and {len(texts)} texts to index; there must be as many, and at least one")
        builder = PostingsBuilder(analyzer_for(language, texts), k1, b)
        for start in range(0, len(texts), CHUNK):
            builder.add(texts[start : start + CHUNK])
        return cls(builder.finish(), ListedIds(ids))

    def prepare(self, queries: Sequence[str]) -> list[list[int]]:
        """The known terms of each query as columns, in order, repeats kept."""
        vocabulary = self.postings.vocabulary
        return [
            [vocabulary[term] for term in self.postings.analyzer.terms(query) if term in vocabulary]
            for query in queries
        ]

    def top(self, prepared: Any, k: int) -> list[tuple[Scores, Positions]]:
        """See :class:`similis.search.Ranker`."""
        scores = np.empty(self.postings.documents, np.float32)
        ranked = []
        for columns in prepared:
            scores.fill(0)
            for column in columns:
                # Term by term in the query's order, as bm25s adds them: the same bits.
                documents, parts = self._column(column)
                np.add.at(scores, documents, parts)
            positions = best(scores, k, above=0)
            ranked.append((scores[positions], positions))
        return ranked

    def score(self, prepared: Any, candidates: Sequence[Positions]) -> list[Scores]:
        """See :class:`similis.search.Ranker`; a document that shares no term scores 0."""
        scored = []
        for columns, documents in zip(prepared, candidates, strict=True):
            total = np.zeros(len(documents), np.float32)
            for column in columns if len(documents) else ():
                total += self._at(column, documents)
            scored.append(total)
        return scored

    def explain(self, query: str, documents: Positions) -> list[dict[str, float]]:
        """For each document the matched terms and what each adds to its score, largest first."""
        vocabulary = self.postings.vocabulary
        terms = [term for term in self.postings.analyzer.terms(query) if term in vocabulary]
        parts = {term: self._at(vocabulary[term], documents) * terms.count(term) for term in dict.fromkeys(terms)}
        rows = []
        for number in range(len(documents)):
            matched = {term: float(scores[number]) for term, scores in parts.items() if scores[number] > 0}
            rows.append(dict(sorted(matched.items(), key=lambda item: -item[1])))
        return rows

    def _column(self, column: int) -> tuple[NDArray[np.int32], Scores]:
        """A term's documents and scores."""
        start, end = self._indptr[column], self._indptr[column + 1]
        return self._indices[start:end], self._data[start:end]

    def _at(self, column: int, documents: Positions) -> Scores:
        """A term's scores ``[c]`` for the documents, 0 where they lack it."""
        listed, scores = self._column(column)
        places = np.minimum(np.searchsorted(listed, documents), len(listed) - 1)
        return np.where(listed[places] == documents, scores[places], np.float32(0))


def analyzer_for(language: str, texts: Sequence[str]) -> Analyzer:
    """The analyzer of a language, found from the texts for ``auto``."""
    return Analyzer.of(detect_language(texts) if language == "auto" else language)
