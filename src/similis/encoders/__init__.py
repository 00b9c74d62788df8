"""Encoders: texts to vectors.

``load`` opens a model in sentence-transformers format, ``create`` makes one to train. Static encoders (``static``) run
on NumPy and tokenizers alone; everything else goes through sentence-transformers (``library``): dense, learned-sparse
and multi-vector models. Models that read texts together (``scorers``) score pairs of texts instead. ``streaming``
encodes files of any size, ``fast`` in bfloat16; ``precomputed`` vectors stand in for an encoder. ``arrays`` are rows of
numbers, by any torch module; ``heads`` give Gaussians and points of hyperbolic space.

Imports nothing of similis but the base and the similarities; any layer below the nouns may import it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from similis.encoders.arrays.encoder import ArrayEncoder
    from similis.encoders.base import Encoder
    from similis.encoders.creating import create, distil
    from similis.encoders.library.dense import SentenceTransformerEncoder
    from similis.encoders.library.multi_vector import MultiVectorLibraryEncoder
    from similis.encoders.library.sparse import SparseLibraryEncoder
    from similis.encoders.library.truncation import Truncation
    from similis.encoders.loading import load
    from similis.encoders.scorers.cross import CrossEncoderScorer
    from similis.encoders.scorers.duo import DuoScorer
    from similis.encoders.static.encoder import StaticEncoder
    from similis.encoders.static.init import initial_weights
    from similis.encoders.static.module import StaticModule
    from similis.encoders.static.tokenized import TokenizedTexts, tokenize, tokenize_cached
    from similis.encoders.static.tokenizers import tokenizer_from, train_tokenizer

__all__ = [
    "ArrayEncoder",
    "CrossEncoderScorer",
    "DuoScorer",
    "Encoder",
    "MultiVectorLibraryEncoder",
    "SentenceTransformerEncoder",
    "SparseLibraryEncoder",
    "StaticEncoder",
    "StaticModule",
    "TokenizedTexts",
    "Truncation",
    "create",
    "distil",
    "initial_weights",
    "load",
    "tokenize",
    "tokenize_cached",
    "tokenizer_from",
    "train_tokenizer",
]

_HOMES = {
    "ArrayEncoder": "arrays.encoder",
    "CrossEncoderScorer": "scorers.cross",
    "DuoScorer": "scorers.duo",
    "Encoder": "base",
    "MultiVectorLibraryEncoder": "library.multi_vector",
    "SentenceTransformerEncoder": "library.dense",
    "SparseLibraryEncoder": "library.sparse",
    "StaticEncoder": "static.encoder",
    "StaticModule": "static.module",
    "TokenizedTexts": "static.tokenized",
    "Truncation": "library.truncation",
    "create": "creating",
    "distil": "creating",
    "initial_weights": "static.init",
    "load": "loading",
    "tokenize": "static.tokenized",
    "tokenize_cached": "static.tokenized",
    "tokenizer_from": "static.tokenizers",
    "train_tokenizer": "static.tokenizers",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"similis.encoders.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
