"""The training loop: epochs of steps, evaluations, checkpoints, and every way a run can end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from similis.errors import UserError
from similis.progress import note
from similis.training.negatives import Searching
from similis.training.recipe import Recipe
from similis.training.running.checkpoints import Checkpoints, Position
from similis.training.running.dev import DevSet, Embed
from similis.training.running.embedding import judged_by, reads_pairs
from similis.training.running.failing import told
from similis.training.running.keeping import Keeping, put_weights, weights_of
from similis.training.running.live import Live
from similis.training.running.mixing import Drawn, Part
from similis.training.running.processes import first_process
from similis.training.running.steps import Steps
from similis.training.running.watch import Interrupted, Signal, Watch, stop_politely
from similis.training.trainees.base import Trainee

#: Seconds between checkpoints where the recipe names no steps.
CHECKPOINT_SECONDS = 30.0


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        position: counts, dev values and history.
        total: optimiser steps that were planned.
        stopped: why the run ended, in a few words.
    """

    position: Position
    total: int
    stopped: str


class Loop:
    """One run of training.

    Args:
        trainee: what is trained; ends with the best weights by dev (the last where there is no dev).
        parts: the data sets to learn from, each with its objective; dev is judged by the first one's similarity.
        recipe: with nothing left open.
        dev: held-out examples, or None.
        checkpoints: where to save, or None for nowhere.
        further: a loss that each step adds, by the number of the step.
        searching: where hard negatives of the first part come from, or None.
    """

    def __init__(
        self,
        trainee: Trainee,
        parts: Sequence[Part],
        recipe: Recipe,
        dev: DevSet | None,
        checkpoints: Checkpoints | None,
        further: Callable[[int], Tensor] | None = None,
        searching: Searching | None = None,
    ) -> None:
        self.trainee, self.recipe, self.dev = trainee, recipe, dev
        self.checkpoints = checkpoints
        self.objective = parts[0].objective
        self.position = Position()
        self.steps = Steps(trainee, parts, recipe, self.position, further)
        self.processes = self.steps.processes
        if checkpoints is not None:
            self.steps.saved = lambda: checkpoints.latest
        self.live = Live(
            parts,
            searching,
            lengths=trainee.lengths,
            batch_size=(recipe.per_device_train_batch_size or 2) * self.processes.count,
            seed=recipe.seed,
            embeds=not reads_pairs(trainee),
        )
        self.keeping = Keeping(self.steps.modules, checkpoints, bool(recipe.interpolate) and dev is not None)
        self._saved = time.monotonic()
        self._started = time.monotonic()
        self.total = self.steps.total = self._planned_steps()

    # ---- the run ------------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """Train to the end.

        Raises:
            UserError: the loss or a gradient is not finite, or the device, its memory or another process failed;
                names the step or batch.
            Interrupted: Ctrl-C, after a checkpoint was written.
        """
        torch.manual_seed(self.recipe.seed)
        resumed = self._resume()
        self._started = time.monotonic() - self.position.seconds
        watch = Watch(self.total, self.position.step, self.dev.metric if self.dev else "")
        try:
            with stop_politely() as signal, told(lambda: self.position, self.steps.saved, self.processes.count):
                if not resumed:
                    self.steps.start()
                    self._evaluate(watch)
                stopped = self._epochs(watch, signal)
        finally:
            watch.close()
        self.position.seconds = time.monotonic() - self._started
        self.steps.finish()
        self.keeping.end(self.position, self._dev_value)
        return Outcome(self.position, self.total, stopped)

    def _epochs(self, watch: Watch, signal: Signal) -> str:
        position, recipe = self.position, self.recipe
        while position.step < self.total:
            batches = self.batches(position.epoch, begun=position.batch > 0)
            while position.batch < len(batches) and position.step < self.total:
                group = batches[position.batch : position.batch + recipe.gradient_accumulation_steps]
                loss = self._step(group)
                position.step += 1
                position.batch += len(group)
                watch.step(position.step, loss)
                if self._to_judge(position.batch >= len(batches)):
                    self._evaluate(watch)
                if 0 < recipe.early_stopping_patience <= position.waited:
                    return f"no better {watch.metric} in {position.waited} evaluations"
                self._save_if_due(signal)
            position.epoch, position.batch = position.epoch + 1, 0
        return "all steps done"

    def batches(self, epoch: int, *, begun: bool = False) -> list[Drawn]:
        """The batches of an epoch; what an epoch makes anew of the model is made, but where it has ``begun`` before."""
        self.live.begin(epoch, begun, self._judging, self.objective.similarity)
        return self.steps.batches(epoch)

    def _step(self, group: list[Drawn]) -> float:
        return self.steps.take(group)

    @contextmanager
    def _judging(self) -> Iterator[Embed]:
        """The present model, as it is used: no dropout and no graph."""
        module = self.trainee.module
        learning = module.training
        module.eval()
        try:
            with torch.no_grad(), self.processes.autocast():
                yield judged_by(self.trainee)
        finally:
            module.train(learning)

    # ---- judging and saving -------------------------------------------------------------------------------

    def _evaluate(self, watch: Watch) -> None:
        """Judge on dev, keep the weights where they are the best so far, and write the history."""
        position = self.position
        losses, count = position.losses
        record: dict[str, float] = {"step": position.step, "epoch": position.epoch}
        if count:
            record["loss"] = losses / count
        position.losses = [0.0, 0.0]
        if self.dev is not None:
            with self.steps.shown():
                value = self._dev_value()
                self.keeping.judged(position, value)
            record["dev"] = value
            watch.evaluated(value)
            if position.step == 0:
                position.before = value
        position.history.append(record)

    def _dev_value(self) -> float:
        assert self.dev is not None
        with self._judging() as embed:
            return self.dev.value(embed, self.objective.similarity)

    def _save_if_due(self, signal: Signal) -> None:
        steps = self.recipe.save_steps
        late = steps is None and time.monotonic() - self._saved > CHECKPOINT_SECONDS
        exactly = steps is not None and self.position.step % steps == 0
        if (late or exactly or signal.asked) and self.position.step < self.total:
            where = self._save()
            if signal.asked:
                kept = f"saved in {where}; the same command continues it" if where else "nothing was saved: no output"
                said = f"stopped at step {self.position.step:,} of {self.total:,}, {kept}"
                note(said)  # command-line frameworks swallow the exception's own message
                raise Interrupted(said)

    def _save(self) -> Path | None:
        if self.checkpoints is None:
            return None
        self._saved = time.monotonic()
        self.position.seconds = time.monotonic() - self._started
        weights = weights_of(self.steps.modules)
        if not all(bool(torch.isfinite(w).all()) for w in weights.values() if w.is_floating_point()):
            raise UserError(
                f"the weights are not finite after step {self.position.step}; the last good checkpoint is "
                f"{self.checkpoints.latest}; a learning_rate below {self.recipe.learning_rate} usually helps"
            )
        if not first_process():
            return self.checkpoints.folder
        made = self.steps.state() | self.live.tensors()
        return self.checkpoints.save(self.position, weights | made, self.steps.optimizers)

    def _resume(self) -> bool:
        """Continue from the latest checkpoint, where there is one; says so."""
        if self.checkpoints is None or (latest := self.checkpoints.latest) is None:
            return False
        self.position, weights = self.checkpoints.load(latest, self.steps.optimizers)
        self.steps.position = self.position
        put_weights(self.steps.modules, weights)
        self.steps.restore(weights)
        self.live.restore(weights)
        self.keeping.resume(self.position)
        note(f"continuing from step {self.position.step:,} of {self.total:,} ({latest})")
        return True

    # ---- small parts --------------------------------------------------------------------------------------

    def _planned_steps(self) -> int:
        batches = len(self.steps.batches(0))
        if self.recipe.max_steps > 0:
            return self.recipe.max_steps
        assert self.recipe.num_train_epochs is not None
        return max(
            1, math.ceil(self.recipe.num_train_epochs * math.ceil(batches / self.recipe.gradient_accumulation_steps))
        )

    def _to_judge(self, epoch_ended: bool) -> bool:
        """Whether to evaluate after this step: as the recipe says, or at the end of epochs, ten times at most."""
        step, every = self.position.step, self.recipe.eval_steps
        if step == self.total or every is not None:
            return step == self.total or step % (every or 1) == 0
        last = self.position.history[-1]["step"] if self.position.history else 0
        return epoch_ended and step - last >= 0.1 * self.total
