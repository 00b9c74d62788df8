"""The training loop: steps, evaluations, checkpoints, and every way a run can end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor

from similis.errors import UserError
from similis.progress import note
from similis.training.negatives import Searching
from similis.training.recipe import Recipe
from similis.training.rows.examples import Examples
from similis.training.running.averaging import best_between, between
from similis.training.running.checkpoints import Checkpoints, Position
from similis.training.running.dev import DevSet, Embed
from similis.training.running.embedding import embedded, judged_by
from similis.training.running.mixing import Drawn, Part, mixed, objectives
from similis.training.running.processes import Processes, first_process
from similis.training.running.schedule import factor
from similis.training.running.watch import Interrupted, Signal, Watch, stop_politely
from similis.training.trainees.base import Trainee
from similis.training.trainees.row_adam import clip_gradient

#: Seconds between checkpoints where the recipe names no steps.
CHECKPOINT_SECONDS = 30.0

#: Name of the negatives found last among a checkpoint's tensors.
_NEGATIVES = "data/negatives"


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
        self.trainee, self.parts = trainee, list(parts)
        self.objective, learnt = parts[0].objective, objectives(parts)
        self.recipe, self.dev, self.checkpoints = recipe, dev, checkpoints
        self.further, self.searching = further, searching
        self.processes = Processes(recipe)
        self._modules = {"model": trainee.module, "objective": learnt}
        for module in self._modules.values():
            module.to(self.processes.device)
        self.optimizers = trainee.optimizers(recipe)
        own = [p for p in learnt.parameters() if p.requires_grad]
        if own:
            self.optimizers.append(torch.optim.AdamW(own, lr=recipe.objective_learning_rate, weight_decay=0.0))
        self.optimizers = [self.processes.prepared(optimizer) for optimizer in self.optimizers]
        self._highest = [[group["lr"] for group in o.param_groups] for o in self.optimizers]
        self._parameters = [p for m in self._modules.values() for p in m.parameters() if p.requires_grad]
        self.position = Position()
        self._best: dict[str, Tensor] | None = None
        self._first = _copied(self._weights()) if recipe.interpolate and dev is not None else None
        self._saved = time.monotonic()
        self._started = time.monotonic()
        self.total = self._planned_steps()

    # ---- the run ------------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """Train to the end.

        Raises:
            UserError: the loss or a gradient is not finite; names the batch.
            Interrupted: Ctrl-C, after a checkpoint was written.
        """
        torch.manual_seed(self.recipe.seed)
        resumed = self._resume()
        self._started = time.monotonic() - self.position.seconds
        watch = Watch(self.total, self.position.step, self.dev.metric if self.dev else "")
        try:
            with stop_politely() as signal:
                if not resumed:
                    self._evaluate(watch)
                stopped = self._epochs(watch, signal)
        finally:
            watch.close()
        self.position.seconds = time.monotonic() - self._started
        self._take_best()
        self._go_between()
        return Outcome(self.position, self.total, stopped)

    def _epochs(self, watch: Watch, signal: Signal) -> str:
        position, recipe = self.position, self.recipe
        while position.step < self.total:
            self._find_negatives()
            batches = self._batches(position.epoch)
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

    def _step(self, group: list[Drawn]) -> float:
        """One optimiser step over some batches; returns their mean loss."""
        share = factor(self.recipe.lr_scheduler_type, self.position.step, self.total, self.recipe.warmup_steps)
        for optimizer, highest in zip(self.optimizers, self._highest, strict=True):
            for parameters, rate in zip(optimizer.param_groups, highest, strict=True):
                parameters["lr"] = rate * share
            optimizer.zero_grad(set_to_none=True)
        for part in self.parts:
            part.objective.at(self.position.step / self.total)
        self.trainee.module.train()
        value = 0.0
        for drawn in group:
            loss = self._loss(drawn)
            value += float(loss.detach()) / len(group)
            if not math.isfinite(value):
                self._refuse(drawn, f"the loss became {value}")
            if loss.requires_grad:
                self.processes.backward(loss / len(group))
        if self.further is not None:
            with self.processes.autocast():
                further = self.further(self.position.step)
            if further.requires_grad:
                self.processes.backward(further)
        self.processes.sum_gradients(self.trainee)
        for optimizer in self.optimizers:
            self.processes.unscale(optimizer)
        norm = clip_gradient(self._parameters, self.recipe.max_grad_norm or math.inf)
        if not math.isfinite(norm) and not self.recipe.fp16:
            self._refuse(group[-1], f"a gradient became {norm}")
        for optimizer in self.optimizers:
            optimizer.step()
        self.position.losses[0] += value
        self.position.losses[1] += 1
        return value

    def _loss(self, drawn: Drawn) -> Tensor:
        batch = drawn.part.examples.batch(drawn.rows)
        try:
            with self.processes.autocast():
                queries, keys = embedded(batch, self.trainee, self.processes, self.recipe.mini_batch_size)
            relation = batch.relation.to(self.processes.device)
            return drawn.part.objective(queries, keys, relation)  # type: ignore[no-any-return]
        except UserError as error:
            if "not finite" not in str(error):
                raise
            self._refuse(drawn, str(error))

    def _find_negatives(self) -> None:
        """Search for hard negatives where an epoch begins that wants new ones."""
        if self.searching is None or self.position.batch or not self.searching.due(self.position.epoch):
            return
        with self._judging() as embed:
            self._learn_from(self.searching.search(self.position.epoch, embed, self.objective.similarity))

    def _learn_from(self, examples: Examples) -> None:
        first = self.parts[0]
        first.examples, first.items = examples, examples.items(self.trainee.lengths)

    @contextmanager
    def _judging(self) -> Iterator[Embed]:
        """The present model, as it is used: no dropout and no graph."""
        self.trainee.module.eval()
        with torch.no_grad(), self.processes.autocast():
            yield judged_by(self.trainee)

    def _refuse(self, drawn: Drawn, what: str) -> NoReturn:
        (part, rows), examples = drawn, drawn.part.examples
        numbers = ", ".join(str(row + 1) for row in examples.samples[rows[:5]])
        where = f" of {part.name}" if len(self.parts) > 1 else ""
        kept = self.checkpoints.latest if self.checkpoints is not None else None
        saved = f"the last good checkpoint is {kept}; " if kept else ""
        raise UserError(
            f"{what} at step {self.position.step + 1} (epoch {self.position.epoch + 1}, batch "
            f"{self.position.batch + 1}, rows {numbers}{', …' if len(rows) > 5 else ''}{where}; "
            f"the first text: {examples.table.texts[examples.queries[rows[0]]][:60]!r}); {saved}"
            f"a learning_rate below {self.recipe.learning_rate} usually helps"
        )

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
            value = self._dev_value()
            record["dev"] = value
            watch.evaluated(value)
            if position.step == 0:
                position.before = value
            self._remember(value)
        position.history.append(record)

    def _remember(self, value: float) -> None:
        position = self.position
        # a draw goes to the earlier weights, except to those before training: a full dev metric must not undo it
        drawn = value == position.best and position.best_step > 0
        if position.best is not None and (value < position.best or drawn):
            position.waited += 1
            return
        position.best, position.best_step, position.waited = value, position.step, 0
        self._best = _copied(self._weights())
        if self.checkpoints is not None and first_process():
            self.checkpoints.save_best(position.step, self._best)

    def _take_best(self) -> None:
        if self._best is not None and self.position.best_step != self.position.step:
            self._load(self._best)

    def _go_between(self) -> None:
        """Keep weights between the first and the best, where dev prefers them."""
        position = self.position
        if self._first is None or position.best is None or not position.best_step:
            return

        def judge(weights: Mapping[str, Tensor]) -> float:
            self._load(weights)
            return self._dev_value()

        best = _copied(self._weights())
        share, value = best_between(self._first, best, position.best, judge)
        self._load(best if share == 1.0 else between(self._first, best, share))
        if share < 1.0:
            position.best, position.share = value, share
            note(f"kept {share:.0%} of what was learnt and {1 - share:.0%} of the base: better on dev, {value:.4f}")

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
        weights = self._weights()
        if not all(bool(torch.isfinite(w).all()) for w in weights.values() if w.is_floating_point()):
            raise UserError(
                f"the weights are not finite after step {self.position.step}; the last good checkpoint is "
                f"{self.checkpoints.latest}; a learning_rate below {self.recipe.learning_rate} usually helps"
            )
        if not first_process():
            return self.checkpoints.folder
        if self.searching is not None and self.searching.found is not None:
            weights[_NEGATIVES] = torch.from_numpy(self.searching.found)
        return self.checkpoints.save(self.position, weights, self.optimizers)

    def _resume(self) -> bool:
        """Continue from the latest checkpoint, where there is one; says so."""
        if self.checkpoints is None or (latest := self.checkpoints.latest) is None:
            return False
        self.position, weights = self.checkpoints.load(latest, self.optimizers)
        self._load(weights)
        if self.searching is not None and _NEGATIVES in weights:
            self.searching.found = weights[_NEGATIVES].numpy()
            self._learn_from(self.searching.examples())
        if self.position.best is not None:
            self._best = self.checkpoints.load_best(self.position.best_step)
        note(f"continuing from step {self.position.step:,} of {self.total:,} ({latest})")
        return True

    # ---- small parts --------------------------------------------------------------------------------------

    def _weights(self) -> dict[str, Tensor]:
        return {
            f"{part}/{name}": tensor
            for part, module in self._modules.items()
            for name, tensor in module.state_dict().items()
        }

    def _load(self, weights: Mapping[str, Tensor]) -> None:
        for part, module in self._modules.items():
            own = f"{part}/"
            module.load_state_dict({n.removeprefix(own): t for n, t in weights.items() if n.startswith(own)})

    def _batches(self, epoch: int) -> list[Drawn]:
        recipe = self.recipe
        assert recipe.per_device_train_batch_size is not None
        size = recipe.per_device_train_batch_size * self.processes.count
        return mixed(self.parts, size, exponent=recipe.mixing, seed=recipe.seed, epoch=epoch)

    def _planned_steps(self) -> int:
        batches = len(self._batches(0))
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


def _copied(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in weights.items()}
