"""Multi-vector models: a text is one vector a token, compared by late interaction (ColBERT and its kin)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
from sentence_transformers import MultiVectorEncoder
from torch import Tensor

from similis.encoders.base import OWN_SETTING, Options, Vectors, unit_rows
from similis.encoders.folder import read_settings
from similis.encoders.library.batching import Rows
from similis.encoders.library.encoder import LibraryEncoder, open_model
from similis.encoders.library.truncation import Truncation
from similis.errors import UserError
from similis.similarity import build
from similis.similarity.sets import TokenSets

#: The library's names of similarities, in our words.
_SHARED = {"maxsim": "maxsim", "meanmaxsim": "maxsim(mean=True)"}


class MultiVectorLibraryEncoder(LibraryEncoder[list[Vectors]]):
    """A ``MultiVectorEncoder`` of sentence-transformers; ``encode`` gives a list of float32 ``[t_i, d]``.

    Args:
        model: a loaded model; used as it is, not copied.

    Raises:
        UserError: its similarity compares no sets of vectors.
    """

    family = "multi_vector"

    def __init__(self, model: MultiVectorEncoder) -> None:
        super().__init__(model)
        name = _SHARED[model._get_model_config().get("similarity_fn_name") or "maxsim"]
        if not self.normalizes:  # the library compares tokens as they are
            name = "maxsim(mean=True, normalize=False)" if "mean" in name else "maxsim(normalize=False)"
        self.similarity_name = name

    @classmethod
    def open(cls, folder: Path) -> MultiVectorLibraryEncoder:
        """The model in a checked folder.

        Raises:
            UserError: it is no multi-vector model, or cannot be loaded.
        """
        encoder = cls(open_model(folder, MultiVectorEncoder))
        encoder.similarity_name = checked(read_settings(folder).get(OWN_SETTING) or encoder.similarity_name)
        return encoder

    @property
    def normalizes(self) -> bool:
        """Whether the model gives tokens of unit length."""
        return any(type(step).__name__ == "Normalize" for steps in self._routes.values() for step in steps)

    @property
    def sided(self) -> bool:
        """True: lengths, masks and pooling may differ by side."""
        return True

    def pooled(self, factor: float, protected: int = 1) -> MultiVectorLibraryEncoder:
        """An encoder of the same weights that keeps about one of ``factor`` tokens of a document.

        Like tokens are found by Ward's clustering of their cosines and replaced by their mean; queries stay whole.
        The step is saved with the model.

        Args:
            factor: at least 1; 2 halves an index, 4 quarters it.
            protected: first tokens that stay as they are (``[CLS]``).

        Source: "Reducing the Footprint of Multi-Vector Retrieval with Minimal Performance Impact via Token Pooling",
        Clavié, Chaffin and Adams, 2024.
        """
        from sentence_transformers.multi_vector_encoder.modules import HierarchicalTokenPooling

        if not factor >= 1 or protected < 0:
            raise UserError(f"pooling takes a factor of at least 1 and protects no fewer than 0 tokens, got {factor}")
        old = self.model
        steps = [step for step in old.children() if type(step).__name__ != "HierarchicalTokenPooling"]
        pooling = HierarchicalTokenPooling(factor, num_protected_tokens=protected)
        model = MultiVectorEncoder(
            modules=[*steps, pooling],
            prompts=dict(old.prompts),
            default_prompt_name=old.default_prompt_name,
            similarity_fn_name=old.similarity_fn_name,
            device=str(old.device),
        )
        made = MultiVectorLibraryEncoder(model)
        made.similarity_name = self.similarity_name
        return made

    def forward_features(self, features: dict[str, Any]) -> Tensor:
        """Token vectors ``[n, t, d]`` with their graph; what is no token is a zero row."""
        made = self.run(features)
        return cast(Tensor, made["token_embeddings"] * made["attention_mask"].unsqueeze(-1))

    def _batch(self, features: dict[str, Any], options: Options) -> list[Vectors]:
        made = self.run(features)
        tokens, masks = made["token_embeddings"].float().cpu().numpy(), made["attention_mask"].bool().cpu().numpy()
        return [own[mask] for own, mask in zip(tokens, masks, strict=True)]

    def _joined(self, parts: Iterator[tuple[Rows, Any]], total: int) -> list[Vectors]:
        found: list[Vectors] = [np.zeros((0, self.dimension), np.float32)] * total
        for rows, sets in parts:
            for row, tokens in zip(rows.tolist(), sets, strict=True):
                found[row] = tokens
        return found

    def _encode(self, texts: list[str], options: Options) -> tuple[list[Vectors], Truncation]:
        if options.normalize is False and self.normalizes:
            raise UserError("normalize=False: a multi-vector model's own normalisation is not left out")
        found, truncation = super()._encode(texts, options)
        if options.truncate_dim is None and options.normalize is None:
            return found, truncation
        wanted = self.normalizes if options.normalize is None else options.normalize
        cut = [np.ascontiguousarray(tokens[:, : options.truncate_dim]) for tokens in found]
        return [unit_rows(tokens) if wanted else tokens for tokens in cut], truncation

    def _stated(self) -> dict[str, str | None]:
        shared = next((theirs for theirs, ours in _SHARED.items() if ours == self.similarity_name), None)
        if shared and self.normalizes:
            return {"similarity_fn_name": shared}
        plain = "meanmaxsim" if "mean=" in self.similarity_name else "maxsim"
        return {"similarity_fn_name": plain, OWN_SETTING: self.similarity_name}


def checked(name: str) -> str:
    """A similarity of sets of vectors, as text.

    Raises:
        UserError: it compares single vectors, or is unknown.
    """
    if not isinstance(build(name), TokenSets):
        raise UserError(f"a multi-vector model is compared token by token (maxsim, filip, chamfer), not by {name!r}")
    return name
