"""What every pre-training task is: a module beside the encoder that gives the loss of a batch of texts.

A task is built from its settings, is given an encoder, and then is such a module; its own parameters are thrown away
after training. Registered as ``pretraining``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from similis.encoders.library.dense import SentenceTransformerEncoder
from similis.errors import UserError
from similis.registry import bind

#: Of tokens that are no part of the loss.
IGNORED = -100

#: Tokens read of a text where the model itself has no limit: positions are learnt.
LONGEST = 512


class Task(Protocol):
    """A way to pre-train; ``on`` makes the module that is trained beside the encoder."""

    def on(self, encoder: SentenceTransformerEncoder) -> Companion: ...


def task(text: str) -> Task:
    """The task of a text such as ``"tsdae(delete=0.6)"``.

    Raises:
        UserError: an unknown name or argument.
    """
    return bind("pretraining", text).build()  # type: ignore[no-any-return]


class Companion(nn.Module, ABC):
    """A module that is trained beside an encoder; the encoder's parameters are not its own.

    Args:
        encoder: of sentence-transformers, with a transformer in it.

    Raises:
        UserError: the model has no transformer.
    """

    def __init__(self, encoder: SentenceTransformerEncoder) -> None:
        super().__init__()
        inner = getattr(encoder.model, "transformers_model", None)
        if inner is None:
            raise UserError("bottleneck pre-training is for transformers, and this model has none")
        self._encoder = [encoder]  # in a list: its parameters are not the decoder's
        self._words = [inner.get_input_embeddings()]

    @property
    def encoder(self) -> SentenceTransformerEncoder:
        return self._encoder[0]

    @property
    def words(self) -> nn.Embedding:
        return self._words[0]  # type: ignore[no-any-return]

    @property
    def longest(self) -> int:
        """Tokens read of one text."""
        return self.encoder.max_tokens or LONGEST

    @property
    def heads(self) -> int:
        return heads_of(self.words.embedding_dim)

    @abstractmethod
    def loss(self, texts: list[str], seed: str) -> Tensor:
        """The loss of a batch; all drawing but dropout depends on ``seed`` alone."""

    def _features(self, texts: list[str]) -> dict[str, Any]:
        """Model inputs of texts, ``[n, t]`` with t at most :attr:`longest`."""
        features = self.encoder.preprocess(texts)
        shape = features["input_ids"].shape
        return {
            name: value[:, : self.longest] if isinstance(value, Tensor) and value.shape == shape else value
            for name, value in features.items()
        }

    def _labels(self, features: dict[str, Any]) -> Tensor:
        """Token ids ``[n, t]`` of what is to be predicted: no padding and no special tokens."""
        ids: Tensor = features["input_ids"]
        special = torch.tensor(self.encoder.model.tokenizer.all_special_ids, device=ids.device)
        left = (features["attention_mask"] == 0) | torch.isin(ids, special)
        return ids.masked_fill(left, IGNORED)


class Bottleneck(Companion):
    """What tasks with a decoder share: words tied to the encoder's input vectors, positions, and the way in.

    Args:
        encoder: of sentence-transformers, with a transformer in it.

    Raises:
        UserError: the model has no transformer.
    """

    def __init__(self, encoder: SentenceTransformerEncoder) -> None:
        super().__init__(encoder)
        hidden = self.words.embedding_dim
        self.bridge = nn.Linear(encoder.dimension, hidden)
        self.positions = nn.Embedding(self.longest, hidden)
        self.bias = nn.Parameter(torch.zeros(len(self.words.weight)))
        nn.init.normal_(self.positions.weight, std=0.02)

    def reducing(self) -> nn.Module:
        """From the width of the encoder's states to that of its input vectors; nothing where they are the same."""
        states, hidden = self.encoder.model.transformers_model.config.hidden_size, self.words.embedding_dim
        return nn.Identity() if states == hidden else nn.Linear(states, hidden)

    def predicted(self, states: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy of words ``[n, t]`` read off states ``[n, t, h]``; 0 where there are none to predict."""
        if not bool((labels != IGNORED).any()):
            return states.sum() * 0.0
        scores = states @ self.words.weight.T + self.bias
        return cross_entropy(scores.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)


def heads_of(width: int) -> int:
    """Heads of at least 64 coordinates each, as many as divide the width evenly."""
    return next(count for count in range(max(1, width // 64), 0, -1) if width % count == 0)


def mask_token(encoder: SentenceTransformerEncoder, name: str) -> int:
    """The token that stands for a hidden one.

    Args:
        encoder: whose tokenizer is asked.
        name: of the task that hides tokens.

    Raises:
        UserError: the tokenizer has none.
    """
    found = encoder.model.tokenizer.mask_token_id
    if found is None:
        raise UserError(f"{name} masks words, and the model's tokenizer has no mask token: take tsdae")
    return int(found)
