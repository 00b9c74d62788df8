"""The learning-rate range test: what rates a run can bear, before it is made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from similis.errors import UserError
from similis.progress import note
from similis.training.fitting import ready
from similis.training.running.keeping import copied, put_weights, weights_of
from similis.training.running.loop import Loop
from similis.training.running.steps import NotFiniteError

#: Share of the running mean of losses that stays at each step.
_SMOOTH = 0.9
#: The test ends where the smoothed loss is above the least by this share of what it had fallen.
_RISEN = 1.0
#: Rates at the beginning of which the losses are too few to smooth.
_FIRST = 5


@dataclass(frozen=True, eq=False)
class Rates:
    """What became of the loss as the learning rate rose.

    Attributes:
        rates: learning rate of each step, ``[s]``.
        losses: loss of each step's batch before the step, ``[s]``.
        smoothed: their running mean, corrected for its beginning, ``[s]``.
        limit: the rate where the smoothed loss was least.
        suggested: a tenth of the limit.
        reason: how that was found, in a sentence.
    """

    rates: NDArray[np.float64]
    losses: NDArray[np.float64]
    smoothed: NDArray[np.float64]
    limit: float
    suggested: float
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "suggested": self.suggested,
            "limit": self.limit,
            "reason": self.reason,
            "rates": self.rates.tolist(),
            "losses": self.losses.tolist(),
            "smoothed": self.smoothed.tolist(),
        }

    def as_text(self) -> str:
        """The suggestion, and ten places of the curve."""
        places = np.unique(np.linspace(0, len(self.rates) - 1, 10).round().astype(int))
        lines = [f"learning rate {self.suggested:.2g}: {self.reason}", "", f"{'rate':>9}  {'loss':>8}"]
        return "\n".join([*lines, *(f"{self.rates[i]:9.2g}  {self.smoothed[i]:8.4f}" for i in places)])


def range_test(data: Any, *, lowest: float = 1e-6, highest: float = 1.0, steps: int = 100, **options: Any) -> Rates:
    """Raise the learning rate from step to step, and say up to where the loss falls.

    Rates rise by the same factor each time. The loss falls faster and faster, then rises; the test ends there. A
    tenth of the rate where the smoothed loss is least is suggested: the paper asks for rates below the one where it
    begins to rise, and a step's effect on the loss comes late. The run's objective, batches and ways of stepping are
    those of :func:`~similis.training.fit` with the same options; rates of an objective's own parameters rise along,
    to their full one. Afterwards the weights and the random state are as they were, and nothing is saved.

    Source: "Cyclical Learning Rates for Training Neural Networks", Smith, 2017, and "A disciplined approach to neural
    network hyper-parameters: Part 1", Smith, 2018. There the rate rises by equal differences; over six powers of ten
    equal factors say more.

    Args:
        data: as of ``fit``.
        lowest: first rate.
        highest: last rate.
        steps: from the first to the last.
        options: of ``fit``; ``output`` has no meaning here, and a learning rate and schedule are not asked.

    Raises:
        UserError: settings out of range, or data and options that ``fit`` refuses.
    """
    if not 0 < lowest < highest or steps < 2 * _FIRST:
        raise UserError(
            f"a range test needs 0 < lowest < highest and {2 * _FIRST} steps or more, not {lowest}, {highest}, {steps}"
        )
    if options.pop("output", None) is not None:
        raise UserError("a range test saves nothing: leave output out")
    fixed = {"learning_rate": highest, "lr_scheduler_type": "constant", "warmup_steps": 0.0, "dev": False}
    random = torch.get_rng_state()
    loop = ready(data, **{**options, **fixed}).loop
    before, learning = copied(weights_of(loop.steps.modules)), loop.trainee.module.training
    try:
        return _found(*_tried(loop, np.geomspace(lowest, highest, steps)), steps)
    finally:
        put_weights(loop.steps.modules, before)
        loop.trainee.module.train(learning)
        torch.set_rng_state(random)


def _tried(loop: Loop, rates: NDArray[np.float64]) -> tuple[NDArray[np.float64], list[float], list[float]]:
    """The rates that were tried, the losses there, and these smoothed."""
    torch.manual_seed(loop.recipe.seed)
    position, count = loop.position, loop.recipe.gradient_accumulation_steps
    loop.steps.start()
    losses: list[float] = []
    smoothed: list[float] = []
    mean, batches = 0.0, loop.batches(0)
    for rate in rates:
        if position.batch >= len(batches):
            position.epoch, position.batch = position.epoch + 1, 0
            batches = loop.batches(position.epoch)
        group = batches[position.batch : position.batch + count]
        loop.steps.scale = float(rate / rates[-1])
        try:
            losses.append(loop.steps.take(group))
        except NotFiniteError:
            break
        position.batch += len(group)
        mean = _SMOOTH * mean + (1 - _SMOOTH) * losses[-1]
        smoothed.append(mean / (1 - _SMOOTH ** len(losses)))
        if _risen(smoothed):
            break
    return rates[: len(losses)], losses, smoothed


def _risen(smoothed: list[float]) -> bool:
    if len(smoothed) <= 2 * _FIRST:
        return False
    start, least = smoothed[_FIRST], min(smoothed[_FIRST:])
    return smoothed[-1] > least + max(_RISEN * (start - least), 0.1 * abs(start))


def _found(rates: NDArray[np.float64], losses: list[float], smoothed: list[float], steps: int) -> Rates:
    if len(losses) <= _FIRST:
        raise UserError(
            f"the loss was not finite at the rate {rates[-1] if len(rates) else 0:.2g} already: lower lowest"
        )
    at = _FIRST + int(np.argmin(smoothed[_FIRST:]))
    limit = float(rates[at])
    suggested = _rounded(limit / 10)
    if at == len(losses) - 1 == steps - 1:
        note("the loss fell up to the highest rate: a higher one may be borne")
    elif at <= _FIRST:
        note("the loss rose from the first rates on: begin lower, or look at the data and the objective")
    reason = (
        f"a tenth of {limit:.2g}, where the smoothed loss was least ({smoothed[0]:.4f} at first, {smoothed[at]:.4f} "
        f"there, {smoothed[-1]:.4f} at {rates[-1]:.2g}); {len(losses)} of {steps} rates were tried, and the weights "
        "are as they were"
    )
    return Rates(rates, np.array(losses), np.array(smoothed), limit, suggested, reason)


def _rounded(rate: float) -> float:
    """Two digits."""
    power = math.floor(math.log10(rate)) - 1
    return round(rate / 10.0**power) * 10.0**power
