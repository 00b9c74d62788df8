"""Any dense sentence-transformers model as an :class:`~similis.encoders.base.Encoder`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
from sentence_transformers import SentenceTransformer
from torch import Tensor

from similis.encoders.base import Options, Vectors, checked_similarity
from similis.encoders.library.batching import Rows
from similis.encoders.library.encoder import LibraryEncoder
from similis.encoders.library.truncation import Truncation


class SentenceTransformerEncoder(LibraryEncoder[Vectors]):
    """A transformer (or any other dense) model of sentence-transformers.

    Args:
        model: a loaded model; used as it is, not copied.

    Raises:
        UserError: its similarity is none of cosine, dot, euclidean.
    """

    family = "dense"

    def __init__(self, model: SentenceTransformer) -> None:
        super().__init__(model)
        self.similarity_name = checked_similarity(model._get_model_config().get("similarity_fn_name"))

    @property
    def normalizes(self) -> bool:
        """Whether the model ends in an L2 normalisation."""
        return type(list(self.model.children())[-1]).__name__ == "Normalize"

    def forward_features(self, features: dict[str, Any], *, raw: bool = False) -> Tensor:
        """Vectors ``[n, d]`` of preprocessed texts; ``raw`` leaves out a final Normalize."""
        if raw and self.normalizes:
            for step in list(self.model.children())[:-1]:
                features = step(features)
        else:
            features = self.run(features)
        return cast(Tensor, features["sentence_embedding"])

    def _batch(self, features: dict[str, Any], options: Options) -> Vectors:
        return cast(Vectors, self.forward_features(features, raw=options.normalize is False).float().cpu().numpy())

    def _joined(self, parts: Iterator[tuple[Rows, Any]], total: int) -> Vectors:
        vectors = np.zeros((total, self.dimension), dtype=np.float32)
        for rows, found in parts:
            vectors[rows] = found
        return vectors

    def _encode(self, texts: list[str], options: Options) -> tuple[Vectors, Truncation]:
        vectors, truncation = super()._encode(texts, options)
        if options.truncate_dim is None and options.normalize is None:
            return vectors, truncation  # the model's own last step has been taken
        return self._finish(vectors, options), truncation
