"""Pre-training by replaced words: what a generator wrote into a text has to be put right."""

from __future__ import annotations

from random import Random

import torch
from torch import Tensor, nn

from similis.encoders.library.dense import SentenceTransformerEncoder
from similis.errors import UserError
from similis.registry import Source, register
from similis.training.pretraining.base import IGNORED, Bottleneck, mask_token
from similis.training.pretraining.generating import generator_of


@register(
    "pretraining",
    "simlm",
    source=Source(
        "SimLM: Pre-training with Representation Bottleneck for Dense Passage Retrieval",
        "Wang, Yang, Huang, Jiao, Yang, Jiang, Majumder and Wei",
        2022,
    ),
    accepts=("texts",),
)
class SimLm:
    """Every word is recovered from a text in which a generator replaced some: by the encoder, and from its one vector.

    Checked against the authors' code (replaced language modelling): a generator's samples stand at the masked places;
    the encoder's states have to give the original word at every place, and so have those of a shallow decoder whose
    input is the vector and a copy with more words replaced, those of the encoder's copy among the places; the two mean
    cross-entropies are added. Unlike there masking is by token, not by whole word; the decoder's layers are new, not
    copies of the encoder's last; the vector is what the model's pooling gives; and what reads words off the states is
    the input vectors and a bias. The generator there is a fixed one of ELECTRA's.

    Args:
        encoder: share of the tokens that are hidden from the encoder's generator.
        decoder: share of the tokens that are hidden from the decoder's.
        layers: of the decoder.
        generator: a masked language model's folder or name, which stays as it is; ``joint``: a small one that learns
            beside the encoder. None: the model's own masked-word head, ``joint`` where it has none.

    Raises:
        UserError: shares that are none or of which the decoder's is smaller, or no layers.
    """

    def __init__(
        self, encoder: float = 0.3, decoder: float = 0.5, layers: int = 2, generator: str | None = None
    ) -> None:
        if not 0 < encoder <= decoder <= 1:
            raise UserError(
                f"encoder and decoder are shares of the tokens, the decoder's the larger, not {encoder} and {decoder}"
            )
        if layers < 1:
            raise UserError(f"layers is a number of at least 1, not {layers}")
        self.encoder, self.decoder, self.layers, self.generator = encoder, decoder, layers, generator

    def on(self, encoder: SentenceTransformerEncoder) -> Bottleneck:
        return _Restoring(encoder, self)


class _Restoring(Bottleneck):
    def __init__(self, encoder: SentenceTransformerEncoder, settings: SimLm) -> None:
        super().__init__(encoder)
        hidden = self.words.embedding_dim
        self.generator = generator_of(self, settings.generator, mask_token(encoder, "simlm"))
        self.first = nn.LayerNorm(hidden)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(hidden, self.heads, 4 * hidden, activation="gelu", batch_first=True)
            for _ in range(settings.layers)
        )
        self.reduced = self.reducing()
        self._hides, self._blinds = settings.encoder, settings.decoder

    def loss(self, texts: list[str], seed: str) -> Tensor:
        features = self._features(texts)
        ids, mask, labels = features["input_ids"], features["attention_mask"], self._labels(features)
        drawing = torch.Generator().manual_seed(Random(seed).getrandbits(62))
        # one number a token for both copies: what the encoder does not see, the decoder does not see either
        drawn = torch.rand(ids.shape, generator=drawing).to(ids.device).masked_fill(labels == IGNORED, 1.0)
        light, own = self.generator.refilled(ids, mask, drawn < self._hides, drawing)
        with torch.no_grad():
            heavy, _ = self.generator.refilled(ids, mask, drawn < self._blinds, drawing)
        found = self.encoder.run({**features, "input_ids": light})
        states = self.states(self.bridge(found["sentence_embedding"]), heavy, mask)
        return self.predicted(self.reduced(found["token_embeddings"]), labels) + self.predicted(states, labels) + own

    def states(self, vectors: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """What each position knows ``[n, t, h]``, of vectors ``[n, h]`` in the first token's place and of words."""
        places = self.positions(torch.arange(ids.shape[1], device=ids.device))
        states: Tensor = self.first(torch.cat([vectors[:, None], self.words(ids)[:, 1:]], 1) + places)
        for layer in self.layers:
            states = layer(states, src_key_padding_mask=mask == 0)
        return states
