"""A transformer whose learned positions were interpolated, so that it reads longer texts."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from sentence_transformers.base.modules import Transformer

from similis.encoders.modules.weighted import retyped


class LongTransformer(Transformer):  # type: ignore[misc]
    """A transformer with ``factor`` times the positions it learned, the new ones between the old.

    A text of no more tokens than the transformer first read takes every ``factor``-th position, which are the old
    ones: its vector is what it was. A longer text takes all. This is settled text by text, not by the batch.

    Args:
        factor: how often the positions were stretched.
        first: tokens the transformer read before.
        offset: rows of the position table before the first token's (2 of RoBERTa and its kin, else 0).

    Source: "LongEmbed: Extending Embedding Models for Long Context Retrieval", Zhu, Wang, Yang, Song, Wu, Wei and Li,
    2024 (linear position interpolation of models with learned positions). Checked against the authors' code, which
    settles it by the longest text of a batch.
    """

    __module__ = "similis.encoders.modules"
    config_keys: ClassVar[list[str]] = [*Transformer.config_keys, "factor", "first", "offset"]

    def __init__(self, model_name_or_path: str, *, factor: int, first: int, offset: int = 0, **kwargs: Any) -> None:
        super().__init__(model_name_or_path, **kwargs)
        self.factor, self.first, self.offset = factor, first, offset

    @classmethod
    def over(cls, transformer: Transformer, factor: int, first: int, offset: int) -> LongTransformer:
        """The same transformer, its weights shared, with positions set text by text."""
        made = retyped(transformer, cls)
        made.factor, made.first, made.offset = factor, first, offset
        return made

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """As the transformer, with the positions of each text."""
        mask = features["attention_mask"]
        order = (mask.cumsum(-1) - 1).clamp(min=0)
        stretch = torch.where(mask.sum(-1, keepdim=True) <= self.first, self.factor, 1)
        found = super().forward({**features, "position_ids": order * stretch + self.offset}, **kwargs)
        return {name: value for name, value in found.items() if name != "position_ids"}
