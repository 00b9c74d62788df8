"""Making an encoder to train: a new static one, a static one from a transformer, or a loaded model."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from similis.encoders.base import Encoder, Vectors
from similis.encoders.static.encoder import StaticEncoder
from similis.errors import UserError
from similis.text import Call, parse_call

_FAMILY = re.compile(r"(?P<call>(?P<family>dense|sparse|unicoil|multi_vector)(\([^:]*\))?):(?P<path>.+)", re.DOTALL)
_HEAD = re.compile(r"(?P<call>(gaussian|poincare|lorentz)(\([^:]*\))?):(?P<path>.+)", re.DOTALL)


def create(
    base: str | Path = "static",
    *,
    dimension: int | None = None,
    corpus_texts: Iterable[str] | None = None,
    seed: int = 0,
    vocab_size: int = 16_000,
    tokenizer: str = "bpe",
    initialisation: str = "auto",
    similarity_name: str = "cosine",
    head: str | Call | None = None,
    **options: Any,
) -> Encoder:
    """An encoder to train or to use as it is.

    Args:
        base: ``static``: tokenizer and token vectors from the corpus; ``static:PATH``: tokenizer and token
            vectors from the transformer at PATH (:func:`distil`); ``dense:PATH``, ``sparse:PATH``,
            ``unicoil:PATH`` and ``multi_vector:PATH``: a new model of the family from the transformer at PATH, with
            options as in ``dense(pooling=cls):PATH`` (see :mod:`similis.encoders.library.creating_dense` and
            :mod:`~similis.encoders.library.creating`); ``cross:PATH``: a new cross-encoder from it (see
            :class:`~similis.encoders.scorers.cross.CrossEncoderScorer`);
            ``gaussian:PATH``, ``poincare:PATH`` and ``lorentz:PATH``: the dense model at PATH, which may itself be
            such a text, with a new head; anything else: a folder or hub name, loaded.
        dimension: coordinates of a new encoder's vectors; None: 256 of a static one, or a transformer's own where
            fewer; of other families as their own option of that name.
        corpus_texts: the texts a static encoder learns its words from; needed for ``static``. A new sparse model
            takes the rarity of words and its first sparsity from them.
        seed: of the initial vectors.
        vocab_size: most tokens of a new tokenizer.
        tokenizer: kind of tokenizer, see :func:`similis.encoders.static.tokenizers.train_tokenizer`.
        initialisation: see :func:`similis.encoders.static.init.initial_weights`.
        similarity_name: what a new static encoder states; ``cosine`` ends in a normalisation.
        head: of a dense transformer: ``gaussian(dimension=64)``, ``poincare`` or ``lorentz`` (see
            :mod:`similis.encoders.heads`); the same as before ``:PATH``.
        options: of a new model, as they stand in its base's text: ``create("dense:PATH", pooling="cls")``.

    Raises:
        UserError: ``static`` without texts, options of no new model, or what the called functions raise.
    """
    from similis.encoders.loading import load

    name = str(base)
    start = _HEAD.fullmatch(name)
    if start or head is not None:
        from similis.encoders.library.headed import headed

        if start and head is not None:
            raise UserError(f"a head stands before {start['path']} already: leave head={head} out")
        call = parse_call(start["call"]) if start else parse_call(head) if isinstance(head, str) else head
        assert call is not None
        if dimension is not None:
            call = Call(call.name, {"dimension": dimension, **call.arguments})
        found = create(start["path"] if start else base, corpus_texts=corpus_texts, seed=seed, **options)
        return cast(Encoder, headed(found, call, seed))
    if name.startswith("static:"):
        return distil(name.removeprefix("static:"), dimension, corpus_texts, similarity_name=similarity_name)
    if name.startswith("cross:"):
        from similis.encoders.scorers.cross import CrossEncoderScorer

        return cast(Encoder, CrossEncoderScorer.new(name.removeprefix("cross:"), seed))
    made = _FAMILY.fullmatch(name)
    if made:
        from similis.encoders.library.creating import from_text

        call = parse_call(made["call"])
        if dimension is not None and made["family"] not in ("sparse", "unicoil"):
            options.setdefault("dimension", dimension)
        call = Call(call.name, {**options, **call.arguments})
        return cast(Encoder, from_text(made["family"], call, made["path"], corpus_texts, seed))
    if options:
        raise UserError(f"{', '.join(options)} can be chosen for a new model (dense:PATH and its kin), not for {name}")
    if name != "static":
        return cast(Encoder, load(base))
    if corpus_texts is None:
        raise UserError("a new static encoder learns its words from texts; give corpus_texts")
    from similis.encoders.static.init import initial_weights
    from similis.encoders.static.tokenized import tokenize
    from similis.encoders.static.tokenizers import train_tokenizer

    texts = list(corpus_texts)
    trained = train_tokenizer(texts, vocab_size, kind=tokenizer)
    weights = initial_weights(
        tokenize(trained, texts), dimension or 256, seed, initialisation, vocabulary=trained.get_vocab_size()
    )
    return StaticEncoder(trained, weights, similarity_name=similarity_name)


def distil(
    model: str | Path,
    dimension: int | None = None,
    corpus_texts: Iterable[str] | None = None,
    *,
    smoothing: float = 1e-3,
    similarity_name: str = "cosine",
) -> StaticEncoder:
    """A static encoder from a transformer's input vectors: centred, reduced by PCA, weighted by rarity.

    Args:
        model: folder or hub name of a transformer with a fast tokenizer.
        dimension: coordinates kept, at most the transformer's own; None: 256, or all where it has fewer.
        corpus_texts: token probabilities are counted here; without texts they follow Zipf's law over the token
            ids, which wordpiece vocabularies give by rank.
        smoothing: ``a`` of the weight ``a / (a + p)``.
        similarity_name: what the encoder states.

    Raises:
        UserError: ``model`` is no transformer, or ``dimension`` is larger than its own.

    Source: weights: Arora, Liang & Ma, "A simple but tough-to-beat baseline for sentence embeddings", 2017;
    the recipe of PCA and Zipf weights: the model2vec library (Tulkens & van Dongen, 2024).
    """
    from tokenizers import Tokenizer

    from similis.encoders.library.dense import SentenceTransformerEncoder
    from similis.encoders.library.encoder import input_embeddings
    from similis.encoders.loading import load
    from similis.encoders.static.tokenized import tokenize

    source = load(model)
    if not isinstance(source, SentenceTransformerEncoder):
        raise UserError(f"{model} is a static model already; load it instead of distilling it")
    vectors = input_embeddings(source.model)
    backend = getattr(source.model.tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise UserError(f"{model} has no fast tokenizer, which a static encoder needs")
    dimension = min(256, vectors.shape[1]) if dimension is None else dimension
    if not 1 <= dimension <= vectors.shape[1]:
        raise UserError(f"dimension must lie between 1 and {vectors.shape[1]} for {model}, got {dimension}")
    tokenizer = Tokenizer.from_str(backend.to_str())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    rows = len(vectors)
    if corpus_texts is None:
        chance: NDArray[np.floating[Any]] = 1.0 / np.arange(2, rows + 2)
    else:
        chance = np.bincount(tokenize(tokenizer, corpus_texts).ids, minlength=rows)[:rows] + 0.5
    chance = chance / chance.sum()
    weights = principal(vectors, dimension) * (smoothing / (smoothing + chance))[:, None]
    return StaticEncoder(tokenizer, weights.astype(np.float32), similarity_name=similarity_name)


def principal(vectors: Vectors, dimension: int) -> Vectors:
    """Centred rows ``[n, d]`` on their first principal directions, ``[n, dimension]``, signs fixed."""
    centred = vectors - vectors.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T.astype(np.float64) @ centred)
    kept = directions[:, ::-1][:, :dimension]
    kept = kept * np.sign(kept[np.abs(kept).argmax(axis=0), np.arange(kept.shape[1])])
    return np.asarray(centred @ kept, dtype=np.float32)
