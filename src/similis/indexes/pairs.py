"""Scores of pairs of texts by an encoder of any family, in its own similarity, and the retriever of a family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from similis.errors import UserError
from similis.indexes.dense import DenseRetriever, similarity_of
from similis.indexes.reduction import reduction


def pair_scores(encoder: Any, first: Sequence[str], second: Sequence[str]) -> NDArray[np.float32]:
    """Scores ``[n]`` of text i of ``first`` with text i of ``second``.

    Raises:
        UserError: there are not as many of both.
    """
    if len(first) != len(second):
        raise UserError(f"{len(first)} and {len(second)} texts make no pairs; there must be as many of both")
    family = getattr(encoder, "family", "dense")
    if family == "cross":
        return np.asarray(encoder.score(list(zip(first, second, strict=True))), np.float32)
    if getattr(encoder, "asymmetric", False):
        left, right = encoder.encode_query(list(first)), encoder.encode_document(list(second))
    else:
        left, right = encoder.encode(list(first)), encoder.encode(list(second))
    if family == "sparse":
        if encoder.similarity_name == "cosine":
            from similis.encoders.library.sparse import unit

            left, right = unit(left), unit(right)
        return np.asarray(left.multiply(right).sum(axis=1), np.float32)[:, 0]
    if family == "multi_vector":
        return _late(encoder.similarity_name, left, right)
    similarity = reduction(similarity_of(encoder))
    return np.asarray(similarity.score(similarity.query(left), similarity.key(right)), np.float32)


def retriever_of(encoder: Any, ids: Sequence[str], texts: Sequence[str]) -> Any:
    """The exact retriever of an encoder's family over texts in memory; a cross-encoder re-ranks BM25's best.

    Raises:
        UserError: ids and texts differ in number, or there are none.
    """
    family = getattr(encoder, "family", "dense")
    if family == "sparse":
        from similis.indexes.sparse import SparseRetriever

        return SparseRetriever.build(encoder, ids, texts)
    if family == "multi_vector":
        from similis.indexes.late import MultiVectorRetriever

        return MultiVectorRetriever.build(encoder, ids, texts)
    if family == "cross":
        from similis.indexes.lexical import LexicalRetriever
        from similis.search import Rerank

        return Rerank(LexicalRetriever.build(ids, texts), encoder, dict(zip(ids, texts, strict=True)))
    return DenseRetriever.build(encoder, ids, texts)


def _late(name: str, left: list[NDArray[np.float32]], right: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    import torch

    from similis.indexes.late import padded
    from similis.similarity import build

    similarity, size = build(name), 64
    with torch.inference_mode():
        parts = [
            similarity.paired(padded(left[i : i + size]), padded(right[i : i + size])).numpy()
            for i in range(0, len(left), size)
        ]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)
