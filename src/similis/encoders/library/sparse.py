"""Learned-sparse models: a text is a few weighted words of the vocabulary (SPLADE and its kin)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from scipy.sparse import csr_matrix, diags, vstack
from sentence_transformers import SparseEncoder
from torch import Tensor

from similis.encoders.base import OWN_SETTING, Options
from similis.encoders.folder import read_settings
from similis.encoders.library.batching import Rows
from similis.encoders.library.encoder import LibraryEncoder, open_model
from similis.encoders.library.splade import pooled, pools_apart
from similis.errors import UserError, did_you_mean

SIMILARITIES = ("dot", "cosine")

#: Tokens read at once: each has a row over the vocabulary, so that 2,048 of BERT's take 250 MB.
_TOKENS = 2048


class SparseLibraryEncoder(LibraryEncoder[csr_matrix]):
    """A ``SparseEncoder`` of sentence-transformers; ``encode`` gives a scipy CSR matrix, float32 ``[n, vocabulary]``.

    An asymmetric model (a router) reads queries by ``encode_query`` and documents by ``encode_document``: another
    transformer for queries, or token weights alone (inference-free).

    Args:
        model: a loaded model; used as it is, not copied.

    Raises:
        UserError: its similarity is neither dot nor cosine, or its two sides have different vocabularies.
    """

    family = "sparse"

    def __init__(self, model: SparseEncoder) -> None:
        super().__init__(model)
        self.similarity_name = checked(model._get_model_config().get("similarity_fn_name") or "dot")
        sizes = {route: _size(steps) for route, steps in self._routes.items()}
        if len(set(sizes.values())) > 1:
            told = ", ".join(f"{route} {size:,}" for route, size in sizes.items())
            raise UserError(f"the model's sides have vocabularies of different sizes ({told}); they must share one")
        self._dimension = next(iter(sizes.values()))
        self._apart: dict[int, bool] = {}

    @classmethod
    def open(cls, folder: Path) -> SparseLibraryEncoder:
        """The model in a checked folder.

        Raises:
            UserError: it is no sparse model, or cannot be loaded.
        """
        encoder = cls(open_model(folder, SparseEncoder))
        encoder.similarity_name = checked(read_settings(folder).get(OWN_SETTING) or encoder.similarity_name)
        return encoder

    @property
    def dimension(self) -> int:
        """Words of the vocabulary."""
        return self._dimension

    @property
    def sided(self) -> bool:
        """Whether sides are read by parts of their own, or their tokens' impacts are put together otherwise."""
        return self.asymmetric or type(self._routes[None][-1]).__name__ == "TokenImpacts"

    @property
    def normalizes(self) -> bool:
        """False: weights are as the model gives them."""
        return False

    def forward_features(self, features: dict[str, Any]) -> Tensor:
        """Weights ``[n, vocabulary]`` as a dense tensor with its graph."""
        return cast(Tensor, self.run(features)["sentence_embedding"])

    def run(self, features: dict[str, Any]) -> dict[str, Any]:
        """All steps over preprocessed texts; a max over tokens is taken without the matrix of their words."""
        steps = self._steps(features.get("task"))
        if "cu_seq_lens_q" in features or not self._pools_apart(steps):
            return super().run(features)
        made = pooled(steps, {name: value for name, value in features.items() if name != "task"})
        for step in steps[2:]:
            made = step(made)
        return made

    def _pools_apart(self, steps: list[Any]) -> bool:
        first = id(steps[0])
        if first not in self._apart:
            self._apart[first] = pools_apart(steps)
        return self._apart[first]

    def words(self, vectors: csr_matrix, most: int = 10) -> list[list[tuple[str, float]]]:
        """The heaviest words of each vector with their weights, heaviest first: what the model reads in a text."""
        tokenizer = self._first("document").tokenizer
        told = []
        for row in range(vectors.shape[0]):
            own = vectors[row]
            order = np.argsort(-own.data, kind="stable")[:most]
            told.append([(tokenizer.convert_ids_to_tokens(int(own.indices[i])), float(own.data[i])) for i in order])
        return told

    def _batch(self, features: dict[str, Any], options: Options) -> csr_matrix:
        count, longest = features["input_ids"].shape
        size = max(1, _TOKENS // max(1, longest))
        parts = [self._some(_rows(features, start, start + size)) for start in range(0, count, size)]
        return vstack(parts, format="csr")

    def _some(self, features: dict[str, Any]) -> csr_matrix:
        weights = self.forward_features(features).float()
        most = self.model.max_active_dims
        if most is not None and most < weights.shape[1]:
            kept = weights.abs().topk(most, dim=1).indices
            weights = torch.zeros_like(weights).scatter_(1, kept, weights.gather(1, kept))
        return csr_matrix(weights.cpu().numpy())

    def _joined(self, parts: Iterator[tuple[Rows, Any]], total: int) -> csr_matrix:
        order, found = [], []
        for rows, part in parts:
            order.append(rows)
            found.append(part)
        if not found:
            return csr_matrix((0, self.dimension), dtype=np.float32)
        return vstack(found, format="csr")[np.argsort(np.concatenate(order))]

    def _encode(self, texts: list[str], options: Options) -> Any:
        if options.truncate_dim is not None:
            raise UserError("truncate_dim cuts dense vectors; the coordinates of a sparse one are words")
        found, truncation = super()._encode(texts, options)
        return (unit(found) if options.normalize else found), truncation


def _rows(features: dict[str, Any], start: int, stop: int) -> dict[str, Any]:
    """The inputs of some of the texts."""
    return {name: value[start:stop] if isinstance(value, Tensor) else value for name, value in features.items()}


def unit(vectors: csr_matrix) -> csr_matrix:
    """Rows divided by their length; an empty row stays empty."""
    norms = np.sqrt(vectors.multiply(vectors).sum(axis=1)).A1
    return (diags(1 / np.maximum(norms, 1e-12)) @ vectors).astype(np.float32).tocsr()


def quantized(vectors: csr_matrix, bits: int = 8) -> csr_matrix:
    """Weights as whole numbers from 1 to 2^bits - 1, in float32; the largest of all is the largest number.

    Weights that round to nothing stay 1: a word of the text is found by it. An index of them is searched as any other,
    and its scores are whole numbers times the queries' weights.

    Args:
        vectors: weights of at least 0, CSR ``[n, vocabulary]``.
        bits: 1 to 16; 8 is what impacts are stored in.

    Raises:
        UserError: bits out of range, or a weight below zero.

    Source: as :class:`~similis.encoders.modules.TokenImpacts`.
    """
    if not 1 <= bits <= 16:
        raise UserError(f"impacts are stored in 1 to 16 bits, got {bits}")
    made = vectors.astype(np.float32).tocsr(copy=True)
    made.eliminate_zeros()
    if made.nnz and float(made.data.min()) < 0:
        raise UserError("impacts are weights of at least 0, and a weight is below")
    if made.nnz:
        made.data = np.maximum(1, np.rint(made.data * ((2**bits - 1) / made.data.max()))).astype(np.float32)
    return made


def active_dims(vectors: csr_matrix) -> float:
    """Mean number of non-zero weights of a row."""
    return float(vectors.nnz / max(1, vectors.shape[0]))


def checked(name: str) -> str:
    """A similarity that sparse vectors are searched by.

    Raises:
        UserError: any other than dot and cosine.
    """
    if name not in SIMILARITIES:
        said = f"sparse vectors are compared by {' or '.join(SIMILARITIES)}, not {name!r}"
        raise UserError(said + did_you_mean(name, SIMILARITIES))
    return name


def _size(steps: list[Any]) -> int:
    """Coordinates that one side of a model gives; a SpladePooling that was never run does not know its own."""
    kinds = [type(step).__name__ for step in steps]
    if "SpladePooling" in kinds:
        pooling = steps[kinds.index("SpladePooling")]
        outputs = steps[0].auto_model.get_output_embeddings()
        if outputs is None:
            raise UserError("the model pools words and has no masked-language-model head that gives them")
        pooling.embedding_dimension = int(outputs.weight.shape[0])
        return int(pooling.embedding_dimension)
    ends = ("SparseStaticEmbedding", "SparseAutoEncoder", "TokenImpacts")
    if kinds[-1] not in ends:
        raise UserError(f"a sparse model ends in SpladePooling or {', '.join(ends)}, not {kinds[-1]}")
    return int(steps[-1].get_embedding_dimension())
