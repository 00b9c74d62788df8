"""Latent attention: tokens look words up in a small learned table before they are pooled (NV-Embed)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from similis.encoders.modules.weighted import WeightedModule


class LatentAttention(WeightedModule):
    """Token vectors as queries over learned latents (keys and values), then a gated network; both add to the tokens.

    For tokens X ``[n, t, d]`` and latents L ``[r, d]``, with N a layer norm (one for tokens, one for latents, one
    before the network)::

        H = X + softmax(N(X) Wq (N(L) Wk)^T / sqrt(w)) N(L) Wv Wo        in heads of width w, no biases
        Y = H + W2 (A * gelu(B)) + b2,   [A, B] = W1 N(H) + b1           of 4 d hidden units

    The mean over tokens is the next step's work (``Pooling``). Wo, W2 and b2 start at zero: a new model gives what mean
    pooling gives, so a trained transformer loses nothing by the step.

    Args:
        embedding_dimension: d.
        latents: r.
        heads: of the attention.
        head_width: w; None: d / heads.
        seed: of what is new; not read where weights are loaded.

    Source: "NV-Embed: Improved Techniques for Training LLMs as Generalist Embedding Models", Lee, Roy, Xu, Raiman,
    Shoeybi, Catanzaro and Ping, 2024. Checked against the authors' model code (pre-norms, residuals, gate, no biases in
    the attention); theirs has 512 latents, 8 heads each as wide as the model, and starts from random weights.
    """

    __module__ = "similis.encoders.modules"
    config_keys: ClassVar[list[str]] = ["embedding_dimension", "latents", "heads", "head_width"]

    def __init__(
        self, embedding_dimension: int, latents: int = 512, heads: int = 8, head_width: int | None = None, seed: int = 0
    ) -> None:
        super().__init__()
        width = head_width or max(1, embedding_dimension // heads)
        self.embedding_dimension, self.latents, self.heads, self.head_width = embedding_dimension, latents, heads, width
        inner, hidden = heads * width, 4 * embedding_dimension
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.table = nn.Parameter(torch.randn(latents, embedding_dimension))
            self.token_norm = nn.LayerNorm(embedding_dimension)
            self.table_norm = nn.LayerNorm(embedding_dimension)
            self.query = nn.Linear(embedding_dimension, inner, bias=False)
            self.key_value = nn.Linear(embedding_dimension, 2 * inner, bias=False)
            self.out = nn.Linear(inner, embedding_dimension, bias=False)
            self.hidden_norm = nn.LayerNorm(embedding_dimension)
            self.widen = nn.Linear(embedding_dimension, 2 * hidden)
            self.narrow = nn.Linear(hidden, embedding_dimension)
        for weight in (self.out.weight, self.narrow.weight, self.narrow.bias):
            nn.init.zeros_(weight)

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Replace ``token_embeddings`` ``[n, t, d]``."""
        tokens = features["token_embeddings"]
        attended = tokens + self.out(self._attended(tokens))
        values, gates = self.widen(self.hidden_norm(attended)).chunk(2, dim=-1)
        features["token_embeddings"] = attended + self.narrow(values * functional.gelu(gates))
        return features

    def _attended(self, tokens: Tensor) -> Tensor:
        """What the heads read for each token, side by side ``[n, t, heads * width]``."""
        count, length, _ = tokens.shape
        queries = self.query(self.token_norm(tokens)).view(count, length, self.heads, -1).transpose(1, 2)
        keys, values = (
            part.view(1, self.latents, self.heads, -1).transpose(1, 2).expand(count, -1, -1, -1)
            for part in self.key_value(self.table_norm(self.table)).chunk(2, dim=-1)
        )
        found = functional.scaled_dot_product_attention(queries, keys, values)
        return found.transpose(1, 2).reshape(count, length, -1)

    def get_embedding_dimension(self) -> int:
        """d: as many as come in."""
        return self.embedding_dimension
