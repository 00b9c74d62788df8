"""A sentence-transformers model in training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from similis.encoders.base import DOCUMENT_PROMPTS
from similis.encoders.transformer import SentenceTransformerEncoder
from similis.training.examples import Integers
from similis.training.recipe import Recipe

_NO_DECAY = ("bias", "LayerNorm.weight", "layer_norm.weight", "norm.weight")


class TransformerTrainee:
    """Implements :class:`~similis.training.trainee.Trainee`.

    Args:
        encoder: its module is trained in place.
        texts: the run's table.
    """

    block = 64
    dev_keys = 1_000
    shards = True

    def __init__(self, encoder: SentenceTransformerEncoder, texts: Sequence[str], recipe: Recipe) -> None:
        self._encoder = encoder
        self._texts = texts
        self._module: nn.Module = encoder.module
        if recipe.max_seq_length is not None:
            encoder.model.max_seq_length = recipe.max_seq_length
        # characters stand for tokens: close enough to group like lengths, and nothing is tokenised twice
        self.lengths: Integers | None = np.fromiter(map(len, texts), np.int64, len(texts))
        prompts = encoder.prompts
        default = encoder.default_prompt_name
        document = next((prompts[name] for name in DOCUMENT_PROMPTS if prompts.get(name)), "")
        fallback = prompts.get(default, "") if default else ""
        self._prompts = {True: prompts.get("query") or fallback, False: document or fallback}

    @property
    def module(self) -> nn.Module:
        return self._module

    @property
    def dimension(self) -> int:
        return int(self._encoder.dimension)

    def embed(self, texts: Sequence[tuple[Integers, bool]]) -> list[Tensor]:
        return [self._embed(codes, self._prompts[queries]) for codes, queries in texts]

    def _embed(self, codes: Integers, prompt: str) -> Tensor:
        # a text that comes several times in a batch is encoded once
        distinct, place = np.unique(codes, return_inverse=True)
        features = self._encoder.preprocess([self._texts[code] for code in distinct], prompt)
        vectors: Tensor = self._encoder.forward_features(features)
        return vectors[torch.from_numpy(place).to(vectors.device)]

    def optimizers(self, recipe: Recipe) -> list[Optimizer]:
        named = [(name, p) for name, p in self.module.named_parameters() if p.requires_grad]
        groups = [
            {"params": [p for n, p in named if not n.endswith(_NO_DECAY)], "weight_decay": recipe.weight_decay},
            {"params": [p for n, p in named if n.endswith(_NO_DECAY)], "weight_decay": 0.0},
        ]
        return [torch.optim.AdamW([g for g in groups if g["params"]], lr=recipe.learning_rate or 0.0)]

    def encoder(self) -> SentenceTransformerEncoder:
        self.module.eval()
        return self._encoder
