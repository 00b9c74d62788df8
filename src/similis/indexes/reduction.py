"""Similarities as inner products, in NumPy alone: what is stored, what is searched with, what is reported.

The maps are those of :mod:`similis.similarity`, which works on tensors; here they serve a search that must not load
torch. For every similarity the order of inner products of ``query`` and ``key`` is the order of its scores.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from similis.encoders.base import HEADS_SIMILARITIES
from similis.errors import UserError, did_you_mean

Vectors = NDArray[np.float32]

#: Scores ``[c]`` of stored keys ``[c, r]`` with one mapped query ``[r]``, or with one each ``[c, r]``.
Scorer = Callable[[Vectors, Vectors], Vectors]


@dataclass(frozen=True)
class Reduction:
    """A similarity's exact reduction to an inner product.

    Attributes:
        name: the similarity's registered name.
        query: ``[q, d]`` → ``[q, r]``, the vectors that are searched with.
        key: ``[n, d]`` → ``[n, r]``, the vectors that are stored.
        score: the similarity's own score by its definition, not by the product, so that it has no cancellation; its
            summation order depends on the row alone, so that equal documents get equal scores.
        squared: whether nearest in Euclidean distance, not largest in inner product, is the order of the keys
            without their last coordinate (which then is their squared length).
    """

    name: str
    query: Callable[[Vectors], Vectors]
    key: Callable[[Vectors], Vectors]
    score: Scorer
    squared: bool = False


def inner_products(query: Vectors, keys: Vectors) -> Vectors:
    """``[r]`` or ``[c, r]`` with ``[c, r]`` → ``[c]``, in double precision, summed in the same order for every row."""
    return np.asarray((keys * query).sum(-1, dtype=np.float64), np.float32)


def reduction(name: str) -> Reduction:
    """The reduction of a similarity by name.

    Raises:
        UserError: the similarity is unknown, or has no reduction to an inner product here.
    """
    if name.partition("(")[0] in HEADS_SIMILARITIES:
        return _of_head(name)
    if name not in REDUCTIONS:
        raise UserError(
            f"similarity {name!r} cannot be searched as an inner product; an index knows "
            f"{', '.join(REDUCTIONS)}{did_you_mean(name, REDUCTIONS)}"
        )
    return REDUCTIONS[name]


def _of_head(text: str) -> Reduction:
    """The reduction of a similarity of Gaussians or of hyperbolic space, by its own maps: they need torch.

    What the score needs of a query beside the product stands behind the query's vector, and zeros behind the keys'.
    """
    import torch

    from similis.similarity import InnerProduct, build

    similarity = build(text)
    assert isinstance(similarity, InnerProduct)

    def offset(vectors: torch.Tensor) -> torch.Tensor:
        found = similarity.offset(vectors)
        return vectors[..., :0] if found is None else found

    def query(vectors: Vectors) -> Vectors:
        given = torch.from_numpy(np.asarray(vectors, np.float32))
        return np.asarray(torch.cat([similarity.query(given), offset(given)], -1).numpy())

    def key(vectors: Vectors) -> Vectors:
        given = torch.from_numpy(np.asarray(vectors, np.float32))
        return np.asarray(torch.cat([similarity.key(given), torch.zeros_like(offset(given))], -1).numpy())

    width = offset(torch.zeros(1, 2)).shape[-1]

    def score(found: Vectors, keys: Vectors) -> Vectors:
        products = torch.from_numpy(inner_products(found, keys)).unsqueeze(-1)
        needed = torch.from_numpy(np.broadcast_to(found, keys.shape)[:, keys.shape[1] - width :].copy())
        return np.asarray(similarity.finish(products, needed if width else None).squeeze(-1).numpy())

    return Reduction(text, query, key, score)


def plain_query(query: Vectors) -> Vectors:
    """The vector q out of its mapped form ``[2q, -1]·c``."""
    return np.asarray(query[..., :-1] / (-2 * query[..., -1:]))


def _unit(vectors: Vectors) -> Vectors:
    """Rows of length 1; a zero row stays zero."""
    lengths = np.sqrt(np.square(vectors).sum(-1, keepdims=True))
    return np.asarray(vectors / np.maximum(lengths, np.float32(1e-12)))


def _itself(vectors: Vectors) -> Vectors:
    return vectors


def _centred(vectors: Vectors) -> Vectors:
    return np.asarray(vectors - vectors.mean(-1, keepdims=True))


def _power(vectors: Vectors) -> Vectors:
    return np.asarray(np.square(vectors).sum(-1, keepdims=True))


def _distance_key(vectors: Vectors) -> Vectors:
    return np.concatenate([vectors, _power(vectors)], -1)


def _distance_query(vectors: Vectors) -> Vectors:
    return np.concatenate([2 * vectors, -np.ones_like(vectors[..., :1])], -1)


def _squared_distance(query: Vectors, keys: Vectors) -> NDArray[np.float64]:
    return np.asarray(np.square(keys[:, :-1] - query).sum(-1, dtype=np.float64))


def _minus_distance(query: Vectors, keys: Vectors) -> Vectors:
    return np.asarray(-np.sqrt(_squared_distance(plain_query(query), keys)), np.float32)


def _ratio_query(vectors: Vectors) -> Vectors:
    centred = _centred(vectors)
    return np.asarray(_distance_query(centred) / np.maximum(_power(centred), np.float32(1e-12)))


def _minus_ratio(query: Vectors, keys: Vectors) -> Vectors:
    # The last coordinate is -1 / ‖q‖².
    return np.asarray(_squared_distance(plain_query(query), keys) * query[..., -1].astype(np.float64), np.float32)


REDUCTIONS = {
    "cosine": Reduction("cosine", _unit, _unit, inner_products),
    "dot": Reduction("dot", _itself, _itself, inner_products),
    "euclidean": Reduction("euclidean", _distance_query, _distance_key, _minus_distance, squared=True),
    "snr": Reduction("snr", _ratio_query, lambda v: _distance_key(_centred(v)), _minus_ratio, squared=True),
}
