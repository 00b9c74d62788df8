"""Pre-training by a bottleneck: a small decoder has to write a text again from its one vector."""

from __future__ import annotations

from random import Random

import torch
from torch import Tensor, nn

from similis.encoders.library.dense import SentenceTransformerEncoder
from similis.errors import UserError
from similis.registry import Source, register
from similis.training.pretraining.base import IGNORED, Bottleneck, mask_token


@register(
    "pretraining",
    "tsdae",
    source=Source(
        "TSDAE: Using Transformer-based Sequential Denoising Auto-Encoder for Unsupervised Sentence Embedding Learning",
        "Wang, Reimers and Gurevych",
        2021,
    ),
    accepts=("texts",),
)
class Tsdae:
    """The text is written again, word after word, from the vector of a copy with most words deleted.

    Checked against the authors' implementation in sentence-transformers (``DenoisingAutoEncoderLoss`` and its data
    set): each word is deleted with probability 0.6, one stays; the decoder's cross-attention sees the sentence vector
    alone. Unlike there the decoder is one new layer whose words are tied to the encoder's, not a copy of the encoder:
    smaller, and the vector has to hold more. The token that ends a text is not predicted.

    Args:
        delete: probability of a word to be deleted.

    Raises:
        UserError: a probability outside 0..1.
    """

    def __init__(self, delete: float = 0.6) -> None:
        if not 0 <= delete < 1:
            raise UserError(f"delete is a probability below 1, not {delete}")
        self.delete = delete

    def on(self, encoder: SentenceTransformerEncoder) -> Bottleneck:
        return _Writing(encoder, self.delete)


class _Writing(Bottleneck):
    def __init__(self, encoder: SentenceTransformerEncoder, delete: float) -> None:
        super().__init__(encoder)
        hidden = self.words.embedding_dim
        self.layer = nn.TransformerDecoderLayer(hidden, self.heads, 4 * hidden, batch_first=True, norm_first=True)
        self.norm = nn.LayerNorm(hidden)
        self._delete = delete

    def loss(self, texts: list[str], seed: str) -> Tensor:
        random = Random(seed)
        damaged = self._features([thinned(text, self._delete, random) for text in texts])
        vectors = self.bridge(self.encoder.forward_features(damaged))
        whole = self._features(texts)
        return self.predicted(self.states(vectors, whole["input_ids"][:, :-1]), self._labels(whole)[:, 1:])

    def states(self, vectors: Tensor, ids: Tensor) -> Tensor:
        """What is known of each next word ``[n, t, h]``, from vectors ``[n, h]`` and the words so far ``[n, t]``."""
        steps = torch.arange(ids.shape[1], device=ids.device)
        later = steps[:, None] < steps  # padding comes after all that is predicted, so this covers it too
        inputs = self.words(ids) + self.positions(steps)
        return self.norm(self.layer(inputs, vectors[:, None], tgt_mask=later))  # type: ignore[no-any-return]


def thinned(text: str, delete: float, random: Random) -> str:
    """The text without words, each left out with probability ``delete``; at least one stays."""
    words = text.split()
    return " ".join([word for word in words if random.random() >= delete] or words[-1:])


@register(
    "pretraining",
    "retromae",
    source=Source(
        "RetroMAE: Pre-Training Retrieval-oriented Language Models Via Masked Auto-Encoder",
        "Xiao, Liu, Shao and Cao",
        2022,
    ),
    accepts=("texts",),
)
class RetroMae:
    """Every word is predicted from the vector of a lightly masked copy and a few of the other words.

    Checked against the authors' code (its enhanced decoding): one decoder layer whose queries are the vector plus a
    position, and whose keys are the vector and the words; each position sees the vector and its own draw of the other
    words, never itself. The encoder's own masked words are a second loss, added. Masking is by token here, not by whole
    word, and a masked token is always the mask; the shares are larger than the code's
    defaults of 0.15. What reads words off the states is the input vectors and a bias, without the head's own transform.

    Args:
        encoder: share of the tokens that the encoder does not see.
        decoder: share of the tokens that a position of the decoder does not see.

    Raises:
        UserError: a share outside 0..1.
    """

    def __init__(self, encoder: float = 0.3, decoder: float = 0.5) -> None:
        if not (0 <= encoder < 1 and 0 <= decoder <= 1):
            raise UserError(f"encoder and decoder are shares of the tokens, not {encoder} and {decoder}")
        self.encoder, self.decoder, self.bag = encoder, decoder, 0.0

    def on(self, encoder: SentenceTransformerEncoder) -> Bottleneck:
        mask_token(encoder, "retromae")
        return _Guessing(encoder, self.encoder, self.decoder, self.bag)


@register(
    "pretraining",
    "dupmae",
    source=Source(
        "RetroMAE v2: Duplex Masked Auto-Encoder For Pre-Training Retrieval-Oriented Language Models",
        "Xiao and Liu",
        2022,
    ),
    accepts=("texts",),
)
class DupMae(RetroMae):
    """RetroMAE, and the words of the text predicted as a bag from its tokens' own states (DupMAE).

    Checked against the authors' code: each word's score is its largest over the tokens after the first, padding left
    out; the loss is the cross-entropy of their softmax with 1 / tokens for each word of the text, times ``bag``. The
    model's vector stays what its pooling gives: the paper's further step, which joins a reduced bag to it, is not
    taken.

    Args:
        encoder: share of the tokens that the encoder does not see.
        decoder: share of the tokens that a position of the decoder does not see.
        bag: weight of the bag's loss.

    Raises:
        UserError: a share outside 0..1, or a weight below 0.
    """

    def __init__(self, encoder: float = 0.3, decoder: float = 0.5, bag: float = 0.2) -> None:
        super().__init__(encoder, decoder)
        if bag < 0:
            raise UserError(f"bag is a weight of at least 0, not {bag}")
        self.bag = bag


class _Guessing(Bottleneck):
    def __init__(self, encoder: SentenceTransformerEncoder, hides: float, blinds: float, bag: float) -> None:
        super().__init__(encoder)
        hidden = self.words.embedding_dim
        self.attention = nn.MultiheadAttention(hidden, self.heads, batch_first=True)
        self.first, self.second = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.wide = nn.Sequential(nn.Linear(hidden, 4 * hidden), nn.GELU(), nn.Linear(4 * hidden, hidden))
        self.reduced = self.reducing()
        self._hides, self._blinds, self._bag = hides, blinds, bag

    def loss(self, texts: list[str], seed: str) -> Tensor:
        features = self._features(texts)
        ids, labels = features["input_ids"], self._labels(features)
        generator = torch.Generator().manual_seed(Random(seed).getrandbits(62))
        drawn = torch.rand(ids.shape, generator=generator).to(ids.device)
        hidden = (drawn < self._hides) & (labels != IGNORED)
        masked = ids.masked_fill(hidden, self.encoder.model.tokenizer.mask_token_id)
        found = self.encoder.run({**features, "input_ids": masked})
        seen = visible(features["attention_mask"], self._blinds, generator)
        states = self.states(self.bridge(found["sentence_embedding"]), ids, seen)
        reduced = self.reduced(found["token_embeddings"])
        own = self.predicted(reduced, labels.masked_fill(~hidden, IGNORED))
        loss = self.predicted(states, labels) + own
        if self._bag:
            scores = reduced @ self.words.weight.T + self.bias
            loss = loss + self._bag * bag_loss(scores, labels, features["attention_mask"])
        return loss

    def states(self, vectors: Tensor, ids: Tensor, seen: Tensor) -> Tensor:
        """What each position knows ``[n, t, h]``, of vectors ``[n, h]`` and the words it sees, ``seen [n, t, t]``."""
        places = self.positions(torch.arange(ids.shape[1], device=ids.device))
        queries = vectors[:, None] + places
        keys = torch.cat([vectors[:, None], (self.words(ids) + places)[:, 1:]], 1)
        blind = ~seen.repeat_interleave(self.heads, 0)
        states = self.first(queries + self.attention(queries, keys, keys, attn_mask=blind, need_weights=False)[0])
        return self.second(states + self.wide(states))  # type: ignore[no-any-return]


def bag_loss(scores: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """Mean over texts of the cross-entropy of their bags of words.

    Args:
        scores: of every word by each token, ``[n, t, V]``.
        labels: the tokens, ``[n, t]``; those that are no words are :data:`IGNORED`.
        mask: 1 for tokens, 0 for padding, ``[n, t]``.
    """
    best = scores[:, 1:].masked_fill(mask[:, 1:, None] == 0, -1000.0).amax(1).log_softmax(-1)
    words = labels != IGNORED
    bags = torch.zeros(best.shape, dtype=torch.bool, device=best.device)
    rows = torch.arange(len(labels), device=best.device)[:, None].expand_as(labels)
    bags[rows[words], labels[words]] = True
    return -((best * bags).sum(1) / words.sum(1).clamp(min=1)).mean()


def visible(mask: Tensor, blinds: float, generator: torch.Generator) -> Tensor:
    """Which keys each position sees, ``[n, t, t]``: the vector at place 0, and others with chance ``1 - blinds``.

    Args:
        mask: 1 for tokens, 0 for padding, ``[n, t]``.
        blinds: share of the tokens that a position does not see.
        generator: on the CPU.
    """
    count, length = mask.shape
    drawn = torch.rand((count, length, length), generator=generator).to(mask.device) >= blinds
    drawn &= ~torch.eye(length, dtype=torch.bool, device=mask.device) & (mask[:, None] != 0)
    drawn[:, :, 0] = True
    return drawn
