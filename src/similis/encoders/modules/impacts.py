"""One learned weight for each word of a text (uniCOIL)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import nn

from similis.encoders.modules.weighted import WeightedModule


class TokenImpacts(WeightedModule):
    """A text as weights of its own words ``[n, vocabulary]``: ReLU(w · h_t + b) of each token t, where its word is.

    A word that comes several times has its largest weight in a document and the sum of its weights in a query, so that
    the inner product is the sum over a query's tokens of their weight times the document's best for that word. Special
    tokens have none. w starts small and b at 1: a new model counts words.

    Args:
        embedding_dimension: of the token vectors h.
        vocabulary: words of the tokenizer's that the transformer has rows for.
        special: ids without a weight.
        seed: of w; not read where weights are loaded.

    Source: "A Few Brief Notes on DeepImpact, COIL, and a Conceptual Framework for Information Retrieval Techniques",
    Lin and Ma, 2021 (uniCOIL). Checked against the authors' encoder in Pyserini (maximum in documents, sum in queries);
    theirs weighs the separator too.
    """

    __module__ = "similis.encoders.modules"
    config_keys: ClassVar[list[str]] = ["embedding_dimension", "vocabulary", "special"]
    forward_kwargs: ClassVar[set[str]] = {"task"}

    def __init__(self, embedding_dimension: int, vocabulary: int, special: Sequence[int] = (), seed: int = 0) -> None:
        super().__init__()
        self.embedding_dimension, self.vocabulary, self.special = embedding_dimension, vocabulary, list(special)
        self.weigh = nn.Linear(embedding_dimension, 1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            nn.init.normal_(self.weigh.weight, std=0.02)
        nn.init.ones_(self.weigh.bias)

    def forward(self, features: dict[str, Any], task: str | None = None, **kwargs: Any) -> dict[str, Any]:
        """Set ``sentence_embedding`` ``[n, vocabulary]`` from token vectors ``[n, t, d]`` and ids ``[n, t]``."""
        ids = features["input_ids"]
        own = features["attention_mask"].bool() & ~torch.isin(ids, torch.tensor(self.special, device=ids.device))
        weights = torch.relu(self.weigh(features["token_embeddings"]).squeeze(-1)) * own
        empty = weights.new_zeros(len(ids), self.vocabulary)
        if task == "query":
            features["sentence_embedding"] = empty.scatter_add(1, ids, weights)
        else:
            features["sentence_embedding"] = empty.scatter_reduce(1, ids, weights, "amax")
        return features

    def get_embedding_dimension(self) -> int:
        """Words of the vocabulary."""
        return self.vocabulary
