"""One optimiser step: rates, losses, gradients; and the one place where what changes a step is asked."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor, nn

from similis.errors import UserError
from similis.training.recipe import Recipe
from similis.training.rows.examples import Batch
from similis.training.running.checkpoints import Position
from similis.training.running.embedding import embedded
from similis.training.running.mixing import Drawn, Part, mixed, objectives
from similis.training.running.processes import Processes
from similis.training.running.schedule import factor, momentum
from similis.training.stepping.base import Embedded, Stepping, stepping, swapped
from similis.training.trainees.base import Trainee
from similis.training.trainees.row_adam import clip_gradient

#: What the names of the states of extensions begin with among a checkpoint's tensors.
_STATE = "stepping"


class NotFiniteError(UserError):
    """The loss or a gradient is not a number; the message names the batch."""


class Steps:
    """Steps of one run; implements :class:`~similis.training.stepping.base.Run` for what changes them.

    Args:
        trainee: what is trained.
        parts: the data sets to learn from.
        recipe: with nothing left open.
        position: of the run; the loop counts in it.
        further: a loss that each step adds, by the number of the step.
    """

    def __init__(
        self,
        trainee: Trainee,
        parts: Sequence[Part],
        recipe: Recipe,
        position: Position,
        further: Callable[[int], Tensor] | None = None,
    ) -> None:
        self.trainee, self.parts, self.recipe = trainee, list(parts), recipe
        self.position, self.further = position, further
        self.total = 1
        #: All learning rates are multiplied by it.
        self.scale = 1.0
        self.saved: Callable[[], Path | None] = lambda: None
        learnt = objectives(parts)
        self.processes = Processes(recipe)
        self.modules: dict[str, nn.Module] = {"model": trainee.module, "objective": learnt}
        for module in self.modules.values():
            module.to(self.processes.device)
        self.optimizers = trainee.optimizers(recipe)
        own = [p for p in learnt.parameters() if p.requires_grad]
        if own:
            self.optimizers.append(torch.optim.AdamW(own, lr=recipe.objective_learning_rate, weight_decay=0.0))
        self.stepping: list[Stepping] = stepping(recipe.stepping)
        for each in self.stepping:
            each.begin(self)
        self.optimizers = [self.processes.prepared(optimizer) for optimizer in self.optimizers]
        self._highest = [[group["lr"] for group in o.param_groups] for o in self.optimizers]
        self._parameters = list(self.named_parameters().values())

    # ---- the step -----------------------------------------------------------------------------------------

    def take(self, group: Sequence[Drawn]) -> float:
        """One optimiser step over some batches; returns their mean loss.

        Raises:
            NotFiniteError: the loss or a gradient is; names the batch.
        """
        self._set_rates()
        for part in self.parts:
            part.objective.at(self.position.step / self.total)
        self.trainee.module.train()
        value = self._around(list(self.stepping), group)
        for optimizer in self.optimizers:
            self.processes.unscale(optimizer)
        norm = clip_gradient(self._parameters, self.recipe.max_grad_norm or math.inf)
        if not math.isfinite(norm) and not self.recipe.fp16:
            self._refuse(group[-1], f"a gradient became {norm}")
        for optimizer in self.optimizers:
            optimizer.step()
        for each in self.stepping:
            each.stepped()
        self.position.losses[0] += value
        self.position.losses[1] += 1
        return value

    def _around(self, inner: list[Stepping], group: Sequence[Drawn]) -> float:
        """The gradients as the extensions want them, the first outermost."""
        if not inner:
            return self.gradients(group)
        return inner[0].gradients(lambda: self._around(inner[1:], group))

    def _set_rates(self) -> None:
        recipe, step = self.recipe, self.position.step
        share = factor(recipe.lr_scheduler_type, step, self.total, recipe.warmup_steps)
        weight = momentum(recipe.lr_scheduler_type, step, self.total, recipe.warmup_steps)
        for optimizer, highest in zip(self.optimizers, self._highest, strict=True):
            for parameters, rate in zip(optimizer.param_groups, highest, strict=True):
                parameters["lr"] = rate * share * self.scale
                if weight is not None:
                    parameters["betas"] = (weight, parameters["betas"][1])

    def gradients(self, group: Sequence[Drawn]) -> float:
        """Set the gradients of the mean loss of some batches; returns that loss."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        value = 0.0
        for drawn in group:
            loss = self.loss(drawn)
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
        encoders = [module for name, module in self.modules.items() if name != "objective"]
        self.processes.sum_gradients(self.trainee, encoders)
        return value

    def loss(self, drawn: Drawn) -> Tensor:
        """The loss of one batch, with its graph."""
        batch = drawn.part.examples.batch(drawn.rows)
        try:
            queries, keys = self.embedded(batch)
            relation = batch.relation.to(self.processes.device)
            loss: Tensor = drawn.part.objective(queries, keys, relation)
            for each in self.stepping:
                loss = each.loss(Embedded(drawn, batch, relation, queries, keys), loss)
            return loss
        except UserError as error:
            if "not finite" not in str(error):
                raise
            self._refuse(drawn, str(error))

    def embedded(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Queries and keys of a batch, as the extensions want them."""

        def plain(asked: Batch) -> tuple[Tensor, Tensor | None]:
            return embedded(asked, self.trainee, self.processes, self.recipe.mini_batch_size)

        embed = plain
        for each in reversed(self.stepping):
            embed = partial(each.embed, embed=embed)
        with self.processes.autocast():
            return embed(batch)

    def _refuse(self, drawn: Drawn, what: str) -> NoReturn:
        (part, rows), examples = drawn, drawn.part.examples
        numbers = ", ".join(str(row + 1) for row in examples.samples[rows[:5]])
        where = f" of {part.name}" if len(self.parts) > 1 else ""
        kept = self.saved()
        saved = f"the last good checkpoint is {kept}; " if kept else ""
        raise NotFiniteError(
            f"{what} at step {self.position.step + 1} (epoch {self.position.epoch + 1}, batch "
            f"{self.position.batch + 1}, rows {numbers}{', …' if len(rows) > 5 else ''}{where}; "
            f"the first text: {examples.table.texts[examples.queries[rows[0]]][:60]!r}); {saved}"
            f"a learning_rate below {self.recipe.learning_rate} usually helps"
        )

    # ---- what extensions see ------------------------------------------------------------------------------

    def named_parameters(self) -> dict[str, nn.Parameter]:
        """Everything that is trained, by part and name."""
        return {
            f"{part}/{name}": parameter
            for part, module in self.modules.items()
            for name, parameter in module.named_parameters()
            if parameter.requires_grad
        }

    def batches(self, epoch: int) -> list[Drawn]:
        """The batches of an epoch, of all processes together."""
        recipe = self.recipe
        assert recipe.per_device_train_batch_size is not None
        size = recipe.per_device_train_batch_size * self.processes.count
        return mixed(self.parts, size, exponent=recipe.mixing, seed=recipe.seed, epoch=epoch)

    def plain_gradients(self, group: Sequence[Drawn]) -> float:
        """As :meth:`gradients`, of a loss that no extension has changed."""
        own, self.stepping = self.stepping, []
        try:
            return self.gradients(group)
        finally:
            self.stepping = own

    def first_batches(self, count: int) -> list[Drawn]:
        return self.batches(0)[:count]

    @contextmanager
    def memories_kept(self) -> Iterator[None]:
        """Queues and averages (buffers) as they were, whatever was judged inside."""
        parts = [part for module in self.modules.values() for part in module.modules() if part._buffers]
        before = [{n: None if b is None else b.clone() for n, b in part._buffers.items()} for part in parts]
        try:
            yield
        finally:
            for part, buffers in zip(parts, before, strict=True):
                part._buffers.update(buffers)

    # ---- their state and weights --------------------------------------------------------------------------

    def start(self) -> None:
        """Let extensions make what a new run's first step needs."""
        for each in self.stepping:
            each.start()

    def state(self) -> dict[str, Tensor]:
        """States of all extensions, for a checkpoint."""
        return {
            f"{_STATE}/{number}/{name}": tensor
            for number, each in enumerate(self.stepping)
            for name, tensor in each.state().items()
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Hand the extensions their states out of a checkpoint's tensors."""
        for number, each in enumerate(self.stepping):
            own = f"{_STATE}/{number}/"
            each.restore(
                {n.removeprefix(own): t.to(self.processes.device) for n, t in tensors.items() if n.startswith(own)}
            )

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Inside, the model has the weights that are judged and saved."""
        values = self._shown()
        with swapped(self.named_parameters(), values):
            yield

    def finish(self) -> None:
        """Give the model the weights that are judged and saved, for good."""
        values, parameters = self._shown(), self.named_parameters()
        with torch.no_grad():
            for name, value in values.items():
                parameters[name].copy_(value)

    def _shown(self) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for each in self.stepping:
            found |= each.shown() or {}
        return found
