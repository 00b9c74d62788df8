"""A learned mix of a transformer's layers, one scalar a layer (ELMo's)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from similis.encoders.modules.weighted import WeightedModule


class ScalarMix(WeightedModule):
    """Tokens are gamma times the sum over layers of softmax(s)_l h_l, with h_l ``[n, t, d]`` a layer's output.

    ``s`` starts at zero and gamma at 1: the plain mean of the layers. The transformer must give all of its layers
    (``output_hidden_states``).

    Args:
        embedding_dimension: d.
        layers: how many are mixed, the input vectors among them where ``start`` is 0.
        start: the first of them.

    Source: "Deep contextualized word representations", Peters et al., 2018 (equation 1); of BERT's layers: "BERMo: What
    can BERT learn from ELMo?", Kodge and Roy, 2021.
    """

    __module__ = "similis.encoders.modules"
    config_keys: ClassVar[list[str]] = ["embedding_dimension", "layers", "start"]

    def __init__(self, embedding_dimension: int, layers: int, start: int = 1) -> None:
        super().__init__()
        self.embedding_dimension, self.layers, self.start = embedding_dimension, layers, start
        self.scores = nn.Parameter(torch.zeros(layers))
        self.gamma = nn.Parameter(torch.ones(()))

    @property
    def shares(self) -> Tensor:
        """What each layer counts for, ``[layers]``, summing to 1: where the task finds what it needs."""
        return torch.softmax(self.scores, dim=0)

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Set ``token_embeddings`` ``[n, t, d]`` from ``all_layer_embeddings``."""
        layers = torch.stack(features["all_layer_embeddings"][self.start :])
        features["token_embeddings"] = self.gamma * torch.einsum("l,lntd->ntd", self.shares.to(layers.dtype), layers)
        return features

    def get_embedding_dimension(self) -> int:
        """d: as many as come in."""
        return self.embedding_dimension
