"""Initial token vectors for a static encoder, better than from nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from similis.encoders.base import Vectors, unit_rows
from similis.encoders.static.tokenized import TokenizedTexts
from similis.errors import UserError, did_you_mean

METHODS = ("auto", "random", "lsa", "skip_gram")
#: The part of a token's first direction that comes from the tokens it occurs with.
_SHARED = 0.65
#: Texts the decomposition looks at; more change its leading directions little.
_MOST_TEXTS = 50_000


def initial_weights(
    tokenized: TokenizedTexts,
    dimension: int = 256,
    seed: int = 0,
    method: str = "auto",
    *,
    vocabulary: int,
) -> Vectors:
    """Token vectors float32 ``[vocabulary, dimension]`` with each token's inverse document frequency folded in.

    Args:
        tokenized: the corpus (texts alone; no supervision is used). Best are all documents that will be searched:
            the directions of words say little about documents that were not among them.
        dimension: coordinates of a vector.
        seed: of the random numbers; the same input and seed give the same weights on the same machine.
        method: ``random``: normal numbers times IDF. ``lsa``: the tokens' directions in the leading right
            singular vectors of the tf-idf matrix, mixed with random ones. ``skip_gram``: the same with the
            directions of :func:`similis.encoders.static.skip_gram.skip_gram`, slower and for small corpora worse
            (CISI's dev queries: 0.24 in 14 s, LSA 0.28 in 1 s). ``auto``: ``lsa`` where the corpus has at least twice
            as many texts as ``dimension``, otherwise ``random``.
        vocabulary: rows of the result, the tokenizer's number of tokens.

    The scale is set so that the root mean square of all coordinates is 1, that of torch's EmbeddingBag, so one
    learning rate serves every method. A token that the corpus lacks counts as seen once.

    Raises:
        UserError: an unknown method, or token ids beyond ``vocabulary``.

    Source: Deerwester, Dumais, Furnas, Landauer & Harshman, "Indexing by latent semantic analysis", 1990;
    the decomposition: Halko, Martinsson & Tropp, "Finding structure with randomness", 2011.
    """
    if method not in METHODS:
        raise UserError(f"there is no initialisation {method!r}{did_you_mean(method, METHODS)} ({', '.join(METHODS)})")
    if dimension < 1 or vocabulary < 1:
        raise UserError(f"dimension and vocabulary must be at least 1, got {dimension} and {vocabulary}")
    if len(tokenized.ids) and int(tokenized.ids.max()) >= vocabulary:
        raise UserError(f"the texts hold token {tokenized.ids.max()}, but the vocabulary has {vocabulary} tokens")
    if method == "auto":
        method = "lsa" if len(tokenized) >= 2 * dimension else "random"
    generator = np.random.default_rng(seed)
    idf = inverse_document_frequency(tokenized, vocabulary)
    weights = generator.standard_normal((vocabulary, dimension), dtype=np.float32) * idf[:, None]
    if method == "lsa":
        weights = _lsa(tokenized, idf, weights, generator)
    if method == "skip_gram":
        from similis.encoders.static.skip_gram import skip_gram

        found = skip_gram(tokenized, vocabulary, dimension, seed=seed)
        # all of them lean the same way, which tells no texts apart
        weights = _mixed(unit_rows(found - found.mean(axis=0)), weights, idf)
    return np.asarray(weights / np.sqrt(np.mean(weights**2)), dtype=np.float32)


def inverse_document_frequency(tokenized: TokenizedTexts, vocabulary: int) -> NDArray[np.float32]:
    """``log((N + 1) / (n + 0.5))`` of each token, float32 ``[vocabulary]``, above 0; unseen counts as seen once."""
    found = np.maximum(tokenized.document_frequency(vocabulary), 1)
    return np.log((max(1, len(tokenized)) + 1.0) / (found + 0.5)).astype(np.float32)


def _lsa(
    tokenized: TokenizedTexts,
    idf: NDArray[np.float32],
    random: Vectors,
    generator: np.random.Generator,
) -> Vectors:
    """IDF times, for each token, a unit vector ``[V, d]``: its direction in LSA mixed with one of its own.

    LSA alone gives rare tokens short vectors, because its columns are what has length 1: over 15,000 docstrings
    with their summaries as queries that made it worse (nDCG@10 0.19 at d = 256) than random directions (0.35),
    for it forgets the rare words that tell texts apart. With every token's row scaled to length 1 it reaches
    0.43; a third of a random direction costs nothing there, and at d = 64 gives 0.35 instead of 0.32.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    if len(tokenized) > _MOST_TEXTS:
        tokenized = tokenized[np.sort(generator.choice(len(tokenized), _MOST_TEXTS, replace=False))]
    # the steps are short and in turn with scipy's, which have one thread: more would mostly wait, by spinning
    # (16,600 docstrings at d = 256 on two cores: 1.7 s with one thread, 5.7 s with two)
    with threadpool_limits(1, user_api="blas"):
        found, _ = right_singular(tfidf(tokenized, idf), random.shape[1], generator)
    shared = np.zeros_like(random)
    shared[:, : found.shape[1]] = unit_rows(found)
    return _mixed(shared, random, idf)


def _mixed(shared: Vectors, random: Vectors, idf: NDArray[np.float32]) -> Vectors:
    """IDF times the mean of each token's shared direction and one of its own."""
    own = unit_rows(random)
    return np.asarray(idf[:, None] * (_SHARED * shared + (1 - _SHARED) * own), dtype=np.float32)


def tfidf(tokenized: TokenizedTexts, idf: NDArray[np.float32]) -> Any:
    """Rows of unit length with ``(1 + log count) * idf``, a scipy CSR matrix ``[texts, V]``."""
    import scipy.sparse

    ones = np.ones(len(tokenized.ids), dtype=np.float32)
    shape = (len(tokenized), len(idf))
    # a copy: merging repeated tokens rearranges the arrays in place
    matrix = scipy.sparse.csr_matrix((ones, tokenized.ids, tokenized.offsets), shape, copy=True)
    matrix.sum_duplicates()
    matrix.data = (1 + np.log(matrix.data)) * idf[matrix.indices]
    norms = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    matrix.data /= np.repeat(np.maximum(norms, 1e-12), np.diff(matrix.indptr)).astype(np.float32)
    return matrix


def orthonormal(columns: Vectors) -> Vectors:
    """An orthonormal basis ``[n, k]`` of the column space of ``[n, m]``, k its rank; empty for zeros.

    By the eigenvectors of the Gram matrix in double precision, twice: matrix products alone, 15 times as fast as
    the library's QR on one thread, and no slower on a busy machine (QR's threads wait for each other by spinning).
    """
    for _ in range(2):
        precise = columns.astype(np.float64)
        squares, directions = np.linalg.eigh(precise.T @ precise)
        kept = squares > 1e-12 * max(squares[-1], 1e-300)
        columns = columns @ (directions[:, kept] / np.sqrt(squares[kept])).astype(np.float32)
    return columns


def right_singular(
    matrix: Any, rank: int, generator: np.random.Generator, *, passes: int = 2
) -> tuple[Vectors, Vectors]:
    """The leading right singular vectors ``[V, k]`` and singular values ``[k]``, k <= rank, by range finding.

    Each vector's sign is set so that its largest coordinate is positive.
    """
    rank = min(rank, *matrix.shape)
    width = min(rank + 16, *matrix.shape)
    turned = matrix.T.tocsr()
    basis = generator.standard_normal((matrix.shape[1], width), dtype=np.float32)
    for _ in range(1 + passes):
        basis = orthonormal(turned @ (matrix @ basis))
    # the small problem: eigenvectors of (A Q)'(A Q), [width, width]
    projected = matrix @ basis
    precise = projected.astype(np.float64)
    squares, inner = np.linalg.eigh(precise.T @ precise)
    order = np.argsort(squares)[::-1][:rank]
    values = np.sqrt(np.maximum(squares[order], 0)).astype(np.float32)
    vectors = basis @ inner[:, order].astype(np.float32)
    vectors = vectors[:, values > 1e-6 * values[0]] if len(values) else vectors
    values = values[values > 1e-6 * values[0]] if len(values) else values
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])])
    return np.asarray(vectors * signs, dtype=np.float32), values
