"""Token vectors from the words that stand near: skip-gram with negative sampling (word2vec)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from similis.encoders.base import Vectors
from similis.encoders.static.tokenized import TokenizedTexts
from similis.errors import UserError

#: Tokens whose pairs are drawn and shuffled together; bounds what is held.
_CHUNK = 200_000
#: Noise tokens that all pairs of a batch share.
_NOISE = 64


def skip_gram(
    tokenized: TokenizedTexts,
    vocabulary: int,
    dimension: int,
    *,
    window: int = 5,
    negatives: int = 5,
    sample: float = 1e-3,
    power: float = 0.75,
    epochs: int = 3,
    batch_size: int = 4096,
    learning_rate: float = 0.05,
    seed: int = 0,
) -> Vectors:
    """Vectors float32 ``[vocabulary, dimension]`` of which each predicts the tokens around its own.

    For a token with vector v and one near it with context vector u it maximises
    ``log σ(u·v) + negatives · E_n[log σ(-n·v)]`` over noise tokens n. Checked against word2vec's C code: the loss, a
    reach drawn evenly from 1 to ``window`` for each token, frequent tokens left out before distances are counted. They
    are kept with probability ``sqrt(sample / f)``, f their share of all (the C code adds ``sample / f``); noise follows
    the counts to the power 0.75. Unlike there a batch shares its noise, which leaves the expectation what it is and is
    one matrix product; noise that is the context itself is not skipped; and Adagrad takes the place of plain steps.

    Args:
        tokenized: the texts.
        vocabulary: rows of the result, the tokenizer's number of tokens.
        dimension: coordinates of a vector.
        window: farthest distance of two tokens.
        negatives: weight of the noise.
        sample: share of all tokens above which a token is left out now and then; 0: none is.
        power: of the counts, for the noise.
        epochs: passes over the texts.
        batch_size: pairs of a step.
        learning_rate: Adagrad's.
        seed: of all that is drawn.

    Raises:
        UserError: a setting out of range.

    Source: Mikolov, Sutskever, Chen, Corrado & Dean, "Distributed Representations of Words and Phrases and their
    Compositionality", 2013.
    """
    if min(window, negatives, epochs, batch_size, dimension) < 1 or sample < 0 or learning_rate <= 0:
        raise UserError(
            "skip_gram needs window, negatives, epochs, batch_size and dimension of at least 1, sample of at least 0 "
            "and a learning_rate above 0"
        )
    generator = np.random.default_rng(seed)
    counts = np.bincount(tokenized.ids, minlength=vocabulary).astype(np.float64)
    drawn = generator.random((vocabulary, dimension), dtype=np.float32)
    start: Vectors = np.asarray((drawn - 0.5) / dimension, np.float32)
    centres = nn.Embedding.from_pretrained(torch.from_numpy(start), freeze=False, sparse=True)
    contexts = nn.Embedding.from_pretrained(torch.zeros(vocabulary, dimension), freeze=False, sparse=True)
    if counts.sum() == 0:
        return start
    optimizer = torch.optim.Adagrad([centres.weight, contexts.weight], lr=learning_rate)
    heights = np.cumsum(counts**power * (counts > 0))
    parts = (p for _ in range(epochs) for p in _pairs(tokenized, counts, window, sample, generator))
    with torch.sparse.check_sparse_tensor_invariants(False):
        for pairs in parts:
            for first in range(0, len(pairs), batch_size):
                near = torch.from_numpy(pairs[first : first + batch_size])
                noise = np.searchsorted(heights, generator.random(_NOISE) * heights[-1], side="right")
                optimizer.zero_grad(set_to_none=True)
                around, away = contexts(near[:, 1]), contexts(torch.from_numpy(noise))
                sgns_loss(centres(near[:, 0]), around, away, negatives).backward()
                optimizer.step()
    return np.asarray(centres.weight.detach().numpy(), np.float32)


def sgns_loss(centres: Tensor, contexts: Tensor, noise: Tensor, negatives: float) -> Tensor:
    """Mean over pairs of ``-log σ(u·v) - negatives · mean over noise of log σ(-n·v)``.

    Args:
        centres: ``[p, d]``.
        contexts: of the tokens near them, ``[p, d]``.
        noise: of the noise tokens that all pairs share, ``[m, d]``.
        negatives: weight of the noise.
    """
    near = logsigmoid((centres * contexts).sum(-1))
    return -(near + negatives * logsigmoid(-centres @ noise.T).mean(-1)).mean()


def _pairs(
    tokenized: TokenizedTexts, counts: NDArray[np.float64], window: int, sample: float, generator: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """(token, token near it) ``[p, 2]``, part of the texts by part, in random order within each."""
    texts = np.repeat(np.arange(len(tokenized)), tokenized.lengths)
    chance = kept_with(counts, sample)[tokenized.ids]
    for start in range(0, len(texts), _CHUNK):
        part = slice(start, start + _CHUNK)
        kept = generator.random(len(texts[part])) < chance[part]
        ids, text = tokenized.ids[part][kept].astype(np.int64), texts[part][kept]
        reach = generator.integers(1, window + 1, len(ids))
        found = []
        for distance in range(1, min(window, len(ids) - 1) + 1):
            left, right = np.arange(len(ids) - distance), np.arange(distance, len(ids))
            same = text[left] == text[right]
            for centre, near in ((left, right), (right, left)):
                chosen = same & (reach[centre] >= distance)
                found.append(np.stack([ids[centre[chosen]], ids[near[chosen]]], 1))
        if found:
            yield generator.permutation(np.concatenate(found))


def kept_with(counts: NDArray[np.float64], sample: float) -> NDArray[np.float64]:
    """The probability ``[V]`` with which an occurrence of each token is kept."""
    if sample == 0:
        return np.ones(len(counts))
    return np.asarray(np.minimum(1.0, np.sqrt(sample * counts.sum() / np.maximum(counts, 1.0))))
