"""``pretrain``: a transformer learns from texts alone to keep what a text says in its one vector."""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from similis import __version__
from similis.data.corpora import read_corpus
from similis.encoders.folder import usable
from similis.encoders.library.dense import SentenceTransformerEncoder
from similis.encoders.loading import load
from similis.errors import UserError
from similis.progress import note
from similis.training.pretraining.base import Companion, task
from similis.training.pretraining.story import Pretrained, Settings
from similis.training.recipe import Recipe
from similis.training.running.checkpoints import Checkpoints, Position
from similis.training.running.keeping import put_weights, weights_of
from similis.training.running.loop import CHECKPOINT_SECONDS
from similis.training.running.schedule import factor
from similis.training.running.watch import Interrupted, Signal, Watch, stop_politely
from similis.training.trainees.processor import quickened
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
    bf16: bool = False,
    resume: bool = True,
    save_steps: int | None = None,
) -> SentenceTransformerEncoder:
    """Pre-train a transformer on texts alone, before ``fit`` on pairs or on texts.

    Args:
        base: a transformer's folder or name on the hub.
        texts: texts, or a file of them as a corpus is read.
        how: a registered ``pretraining``: ``retromae``, ``dupmae`` or ``simlm`` for retrieval, ``tsdae`` or
            ``diffcse`` for sentences.
        output: where the model is saved; None: nowhere. Checkpoints are kept beside it in ``OUTPUT.checkpoints`` until
            the run ends.
        max_steps: optimiser steps.
        batch_size: texts of a step.
        learning_rate: the highest; it rises over the warm-up and falls linearly to 0.
        warmup_steps: steps; below 1, the share of all.
        seed: of order, damage and dropout.
        bf16: bfloat16 mixed precision.
        resume: continue an interrupted run of the same settings, model and texts; on a CPU the end is the same bit for
            bit.
        save_steps: steps between checkpoints; None: as many as take half a minute.

    Raises:
        UserError: no texts, a model without a transformer, settings out of range, or a loss that is not finite.
        Interrupted: Ctrl-C; where there is an ``output``, the run was saved and the same call continues it.
    """
    settings = Settings(how, max_steps, batch_size, learning_rate, warmup_steps, seed, bf16)
    return pretrained(base, texts, settings, output=output, resume=resume, save_steps=save_steps).encoder


def pretrained(
    base: str | Path,
    texts: str | Path | Iterable[str],
    settings: Settings,
    *,
    output: str | Path | None = None,
    resume: bool = True,
    save_steps: int | None = None,
) -> Pretrained:
    """As :func:`pretrain`, and returns the whole story."""
    if save_steps is not None and save_steps < 1:
        raise UserError(f"save_steps is a number of at least 1, not {save_steps}")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("pretrain runs in one process, and here are several: start it without torchrun")
    way = task(settings.how)
    folder = None if output is None else usable(Path(output))
    given = read_corpus(texts).texts if isinstance(texts, str | Path) else texts
    kept = [text for text in given if text.strip()]
    if not kept:
        raise UserError("there are no texts to pre-train on")
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)  # of what the base's weights lack
        encoder = load(base)
        if not isinstance(encoder, SentenceTransformerEncoder):
            raise UserError(f"{base} is no dense transformer, which is what a bottleneck pre-trains")
        torch.manual_seed(settings.seed)
        companion = way.on(encoder).to(encoder.model.device)
        checkpoints = None if folder is None else _checkpoints(folder, settings, encoder, kept, resume)
        position = _Run(companion, kept, settings, checkpoints, save_steps).run()
    if folder is not None:
        encoder.save(folder)
    if checkpoints is not None:
        checkpoints.clear()
    return Pretrained(encoder, str(base), settings, len(kept), position.history, position.seconds, folder)


def _checkpoints(
    folder: Path, settings: Settings, encoder: SentenceTransformerEncoder, texts: Sequence[str], resume: bool
) -> Checkpoints:
    digest = hashlib.sha256("".join(f"{len(text)} {text}" for text in texts).encode("utf-8", "replace")).hexdigest()
    run: Mapping[str, Any] = {
        **asdict(settings),
        "model": encoder.fingerprint,
        "texts": digest[:32],
        "similis": __version__,
    }
    made = Checkpoints(folder.with_name(folder.name + ".checkpoints"), run)
    if made.latest is None or not resume:
        made.start()
    else:
        made.check_same_run()
    return made


class _Run:
    """All steps of a run; the encoder ends with the last weights."""

    def __init__(
        self,
        companion: Companion,
        texts: Sequence[str],
        settings: Settings,
        checkpoints: Checkpoints | None,
        save_steps: int | None,
    ) -> None:
        self._companion, self._texts, self._settings = companion, texts, settings
        self._checkpoints, self._save_steps = checkpoints, save_steps
        self._modules: dict[str, nn.Module] = {"model": companion.encoder.model, "task": companion}
        self._both = nn.ModuleList(self._modules.values())
        (self._optimizer,) = adamw(self._both, Recipe(learning_rate=settings.learning_rate, weight_decay=0.01))
        self._position = Position()
        self._started = self._saved = time.monotonic()

    def run(self) -> Position:
        total = self._settings.max_steps
        self._resume()
        position = self._position
        self._started -= position.seconds
        rows = islice(_rows(len(self._texts), self._settings.batch_size, self._settings.seed), position.step, None)
        watch = Watch(total, position.step, "")
        self._both.train()
        undo = quickened(self._both)
        try:
            with stop_politely() as signal:
                while position.step < total:
                    loss = float(self._step([self._texts[row] for row in next(rows)]))
                    position.step += 1
                    watch.step(position.step, loss)
                    self._record(loss)
                    self._save_if_due(signal)
        finally:
            watch.close()
            undo()
            self._both.eval()
        position.seconds = time.monotonic() - self._started
        return position

    def _step(self, texts: list[str]) -> Tensor:
        settings, step = self._settings, self._position.step
        for group in self._optimizer.param_groups:
            rise = factor("linear", step, settings.max_steps, settings.warmup_steps)
            group["lr"] = settings.learning_rate * rise
        self._optimizer.zero_grad(set_to_none=True)
        device = self._companion.encoder.model.device.type
        with torch.autocast(device, torch.bfloat16, enabled=settings.bf16):
            loss = self._companion.loss(texts, f"{settings.seed} {step}")
        self._check("the loss", float(loss.detach()))
        loss.backward()
        self._check("a gradient", float(nn.utils.clip_grad_norm_(self._both.parameters(), 1.0)))
        self._optimizer.step()
        return loss.detach()

    def _check(self, what: str, value: float) -> None:
        if math.isfinite(value):
            return
        kept = None if self._checkpoints is None else self._checkpoints.latest
        saved = f"; the last good checkpoint is {kept}" if kept else ""
        raise UserError(f"{what} became {value} at step {self._position.step + 1}; a lower learning_rate helps{saved}")

    def _record(self, loss: float) -> None:
        """Add the loss to the mean of the tenth of the run that is in progress."""
        position, total = self._position, self._settings.max_steps
        position.losses = [position.losses[0] + loss, position.losses[1] + 1]
        if position.step * 10 // total > (position.step - 1) * 10 // total:
            mean = position.losses[0] / position.losses[1]
            position.history.append({"step": position.step, "loss": mean})
            position.losses = [0.0, 0.0]

    def _save_if_due(self, signal: Signal) -> None:
        step, total, every = self._position.step, self._settings.max_steps, self._save_steps
        late = every is None and time.monotonic() - self._saved > CHECKPOINT_SECONDS
        exactly = every is not None and step % every == 0
        if not (late or exactly or signal.asked) or step == total:
            return
        where = self._save()
        if signal.asked:
            kept = f"saved in {where}; the same command continues it" if where else "nothing was saved: no output"
            said = f"stopped at step {step:,} of {total:,}, {kept}"
            note(said)  # command-line frameworks swallow the exception's own message
            raise Interrupted(said)

    def _save(self) -> Path | None:
        self._saved = time.monotonic()
        if self._checkpoints is None:
            return None
        self._position.seconds = self._saved - self._started
        return self._checkpoints.save(self._position, weights_of(self._modules), [self._optimizer])

    def _resume(self) -> None:
        """Continue from the latest checkpoint, where there is one; says so."""
        if self._checkpoints is None or (latest := self._checkpoints.latest) is None:
            return
        self._position, weights = self._checkpoints.load(latest, [self._optimizer])
        put_weights(self._modules, weights)
        note(f"continuing from step {self._position.step:,} of {self._settings.max_steps:,} ({latest})")


def _rows(count: int, size: int, seed: int) -> Iterator[list[int]]:
    """Row numbers of each batch, all rows in turn in a new order each time round; without end."""
    epoch = 0
    while True:
        order = np.random.default_rng([seed, epoch]).permutation(count)
        for start in range(0, count, size):
            yield order[start : start + size].tolist()
        epoch += 1
