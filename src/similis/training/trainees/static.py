"""A static encoder in training: texts are tokenised once, each step touches only the rows of its own tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.optim import Optimizer

from similis.encoders.static.encoder import StaticEncoder
from similis.encoders.static.init import initial_weights
from similis.encoders.static.module import StaticModule
from similis.encoders.static.tokenized import TokenizedTexts, tokenize
from similis.encoders.static.tokenizers import tokenizer_from, train_tokenizer
from similis.training.recipe import Recipe
from similis.training.rows.examples import Integers
from similis.training.rows.passages import Passages
from similis.training.trainees.row_adam import RowAdam


class StaticTrainee:
    """Implements :class:`~similis.training.trainees.base.Trainee`.

    Args:
        encoder: its weights are the start.
        tokenized: the texts of the run's table, tokenised by the encoder's tokenizer.
    """

    block = 4096
    dev_keys = 10_000
    shards = False

    def __init__(self, encoder: StaticEncoder, tokenized: TokenizedTexts) -> None:
        self._module = StaticModule(torch.tensor(encoder.weights))
        self._encoder = encoder
        self._tokenized = tokenized
        self.lengths: Integers | None = tokenized.lengths

    @property
    def module(self) -> StaticModule:
        return self._module

    @property
    def dimension(self) -> int:
        return self._encoder.dimension

    def embed(self, texts: Sequence[tuple[Integers, bool]]) -> list[Tensor]:
        codes = np.concatenate([part for part, _ in texts])
        return list(self.module.encode(self._tokenized[codes]).split([len(part) for part, _ in texts]))

    def passages(self, documents: Integers, ids: Integers, recipe: Recipe) -> Passages:
        """The loss of passages of ``documents``, text codes; equal ``ids`` are the same document."""
        return Passages(self.module, self._tokenized[documents], ids, recipe.passages or 0, recipe.seed)

    def optimizers(self, recipe: Recipe) -> list[Optimizer]:
        return [RowAdam(self.module.parameters(), lr=recipe.learning_rate or 0.0, weight_decay=recipe.weight_decay)]

    def encoder(self) -> StaticEncoder:
        old = self._encoder
        return StaticEncoder(
            old.tokenizer,
            self.module.weights(),
            old.normalizes,
            similarity_name=old.similarity_name,
            prompts=old.prompts,
            default_prompt_name=old.default_prompt_name,
        )


def new_static(texts: Sequence[str], train: Integers, recipe: Recipe, similarity: str) -> StaticTrainee:
    """A static trainee from nothing but texts: tokenizer and first weights come from the training texts.

    Args:
        texts: the run's table.
        train: codes of the texts of training rows and of the corpus; dev queries are tokenised and otherwise unused.
        recipe: dimension, vocabulary and seed.
        similarity: the encoder's, by name.
    """
    known = [texts[code] for code in train]
    if recipe.tokenizer is None:
        tokenizer = train_tokenizer(known, recipe.vocabulary or 16_000)
    else:
        tokenizer = tokenizer_from(recipe.tokenizer)
    if recipe.max_seq_length is not None:
        tokenizer.enable_truncation(recipe.max_seq_length)
    tokenized = tokenize(tokenizer, texts)
    weights = initial_weights(
        tokenized[train],
        recipe.dimension or 256,
        recipe.seed,
        recipe.initialisation or "auto",
        vocabulary=tokenizer.get_vocab_size(with_added_tokens=True),
    )
    return StaticTrainee(StaticEncoder(tokenizer, weights, similarity_name=similarity), tokenized)


def old_static(encoder: StaticEncoder, texts: Sequence[str], recipe: Recipe) -> StaticTrainee:
    """A static trainee that goes on from a trained encoder (its prompts, where it has any, are for both sides)."""
    if recipe.max_seq_length is not None:
        encoder.tokenizer.enable_truncation(recipe.max_seq_length)
    prompt = encoder.prompts.get(encoder.default_prompt_name or "", "")
    return StaticTrainee(encoder, _tokenized(encoder.tokenizer, [prompt + text for text in texts]))


_latest: tuple[str, TokenizedTexts] | None = None


def _tokenized(tokenizer: Tokenizer, texts: Sequence[str]) -> TokenizedTexts:
    """Tokens of ``texts``, kept for the next call with the same: a comparison trains on one set of texts many times."""
    global _latest
    digest = hashlib.sha256(tokenizer.to_str().encode())
    for text in texts:
        digest.update(text.encode("utf-8", "surrogatepass") + b"\xff")
    key = digest.hexdigest()
    if _latest is None or _latest[0] != key:
        _latest = (key, tokenize(tokenizer, texts))
    return _latest[1]
