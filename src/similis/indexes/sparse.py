"""Search by learned-sparse vectors: the exact product of queries with the words' postings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from similis.errors import UserError
from similis.indexes.exact import best
from similis.indexes.late import documents_of
from similis.registry import Source, register
from similis.search.ranker import Identifiers, ListedIds, Positions, RankerSearch, Scores

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

#: Scores held at once, in numbers: 2^24 float32 are 64 MB.
SCORES = 1 << 24


@register(
    "index",
    "sparse",
    source=Source("SPLADE v2: Sparse Lexical and Expansion Model for Information Retrieval", "Formal et al.", 2021),
    family="sparse",
)
class SparseRetriever(RankerSearch):
    """Documents by the inner product of word weights; with ``cosine``, of weights of unit length.

    Where no weight is negative only documents that share a word with the query are returned, so a query may have
    fewer than ``k`` hits or none. Nothing is pruned or rounded: the scores are the model's.

    Args:
        encoder: a sparse encoder.
        vectors: scipy CSR, float32 ``[documents, vocabulary]``.
        ids: document ids by position.
    """

    def __init__(self, encoder: Any, vectors: csr_matrix, ids: Identifiers) -> None:
        self.encoder, self.ids = encoder, ids
        self._unit = encoder.similarity_name == "cosine"
        self.vectors = _unit(vectors) if self._unit else vectors
        #: A row a word: its documents and their weights.
        self.postings = self.vectors.T.tocsr()
        self._least = float(vectors.data.min()) if vectors.nnz else 0.0

    @classmethod
    def build(cls, encoder: Any, ids: Sequence[str], texts: Sequence[str], *, batch_size: int = 32) -> SparseRetriever:
        """Encode texts into postings in memory.

        Raises:
            UserError: the encoder is not sparse, ids and texts differ in number or there are none, or a weight is not
                finite.
        """
        from scipy.sparse import vstack

        if getattr(encoder, "family", "") != "sparse":
            raise UserError(f"postings hold sparse vectors, and this is a {getattr(encoder, 'family', 'dense')} model")
        parts = list(documents_of(encoder, ids, texts, batch_size))
        vectors = vstack(parts, format="csr")
        if not np.isfinite(vectors.data).all():
            row = int(np.searchsorted(vectors.indptr, np.flatnonzero(~np.isfinite(vectors.data))[0], side="right")) - 1
            raise UserError(f"the encoder gave a weight that is not finite for document {row}; its weights are damaged")
        return cls(encoder, vectors, ListedIds(ids))

    @property
    def active_dims(self) -> float:
        """Mean number of words with a weight in a document."""
        return float(self.vectors.nnz / max(1, self.vectors.shape[0]))

    def prepare(self, queries: Sequence[str]) -> csr_matrix:
        """``[q, vocabulary]`` weights of the queries' words."""
        found = self.encoder.encode_query(list(queries))
        if found.shape[1] != self.vectors.shape[1]:
            raise UserError(
                f"the encoder's vocabulary has {found.shape[1]} words and the index {self.vectors.shape[1]}; "
                "search with the encoder that built it"
            )
        return _unit(found) if self._unit else found

    def top(self, prepared: Any, k: int) -> list[tuple[Scores, Positions]]:
        """See :class:`similis.search.Ranker`."""
        size = max(1, SCORES // max(1, self.vectors.shape[0]))
        negative = self._least < 0 or (prepared.nnz and float(prepared.data.min()) < 0)
        ranked = []
        for start in range(0, prepared.shape[0], size):
            scores = (prepared[start : start + size] @ self.postings).toarray()
            for row in scores:
                positions = best(row, k) if negative else best(row, k, above=0)
                ranked.append((row[positions].astype(np.float32), positions))
        return ranked

    def score(self, prepared: Any, candidates: Sequence[Positions]) -> list[Scores]:
        """See :class:`similis.search.Ranker`."""
        return [
            np.asarray((self.vectors[own] @ prepared[row].T).toarray()[:, 0], np.float32)
            for row, own in enumerate(candidates)
        ]

    def explain(self, query: str, document: int, most: int = 10) -> list[tuple[str, float]]:
        """The words that query and document share, with what each adds to the score, largest first."""
        shared = self.prepare([query]).multiply(self.vectors[document]).tocsr()
        return list(self.encoder.words(shared, most)[0])


def _unit(vectors: csr_matrix) -> csr_matrix:
    from similis.encoders.library.sparse import unit

    return unit(vectors)
