"""``pretrain``: a transformer learns from texts alone to keep what a text says in its one vector."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from similis.data.corpora import read_corpus
from similis.encoders.library.dense import SentenceTransformerEncoder
from similis.encoders.loading import load
from similis.errors import UserError
from similis.progress import track
from similis.training.pretraining.bottleneck import Bottleneck, task
from similis.training.recipe import Recipe
from similis.training.running.schedule import factor
from similis.training.trainees.transformer import adamw


def pretrain(
    base: str | Path,
    texts: str | Path | Iterable[str],
    *,
    how: str = "retromae",
    output: str | Path | None = None,
    max_steps: int = 1000,
    batch_size: int = 16,
    learning_rate: float = 3e-5,
    warmup_steps: float = 0.1,
    seed: int = 0,
) -> SentenceTransformerEncoder:
    """Pre-train a transformer on texts alone, before ``fit`` on pairs or on texts.

    Args:
        base: a transformer's folder or name on the hub.
        texts: texts, or a file of them as a corpus is read.
        how: a registered ``pretraining``: ``retromae`` or ``dupmae`` for retrieval, ``tsdae`` for sentences.
        output: where the model is saved; None: nowhere.
        max_steps: optimiser steps.
        batch_size: texts of a step.
        learning_rate: the highest; it rises over the warm-up and falls linearly to 0.
        warmup_steps: steps; below 1, the share of all.
        seed: of order, damage and dropout.

    Raises:
        UserError: no texts, a model without a transformer, settings out of range, or a loss that is not finite.
    """
    if max_steps < 1 or batch_size < 1 or learning_rate <= 0:
        raise UserError("pretrain needs max_steps and batch_size of at least 1 and a learning_rate above 0")
    given = read_corpus(texts).texts if isinstance(texts, str | Path) else texts
    kept = [text for text in given if text.strip()]
    if not kept:
        raise UserError("there are no texts to pre-train on")
    encoder = load(base)
    if not isinstance(encoder, SentenceTransformerEncoder):
        raise UserError(f"{base} is no dense transformer, which is what a bottleneck pre-trains")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        _train(task(how).on(encoder).to(encoder.model.device), kept, max_steps, batch_size, learning_rate, warmup_steps)
    if output is not None:
        encoder.save(output)
    return encoder


def _train(bottleneck: Bottleneck, texts: Sequence[str], steps: int, size: int, rate: float, warmup: float) -> None:
    """Run all steps; the encoder ends with the last weights."""
    both = torch.nn.ModuleList([bottleneck.encoder.model, bottleneck])
    (optimizer,) = adamw(both, Recipe(learning_rate=rate, weight_decay=0.01))
    both.train()
    seed = torch.initial_seed()
    rows = _rows(len(texts), size, seed)
    for step in track(range(steps), label="pretrain", unit="step"):
        for group in optimizer.param_groups:
            group["lr"] = rate * factor("linear", step, steps, warmup)
        optimizer.zero_grad(set_to_none=True)
        loss = bottleneck.loss([texts[row] for row in next(rows)], f"{seed} {step}")
        if not math.isfinite(float(loss.detach())):
            raise UserError(f"the loss became {float(loss.detach())} at step {step + 1}; a lower learning_rate helps")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(both.parameters(), 1.0)
        optimizer.step()
    both.eval()


def _rows(count: int, size: int, seed: int) -> Iterator[list[int]]:
    """Row numbers of each batch, all rows in turn in a new order each time round; without end."""
    epoch = 0
    while True:
        order = np.random.default_rng([seed, epoch]).permutation(count)
        for start in range(0, count, size):
            yield order[start : start + size].tolist()
        epoch += 1
