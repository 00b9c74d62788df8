"""The average of the weights of past steps."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from similis.errors import UserError
from similis.registry import Source, register
from similis.training.stepping.base import Run, Stepping


class Average:
    """An exponential moving average of weights: a ← d·a + (1 − d)·w after every step, with d = min(decay, t / (t + 1)).

    At the beginning d is what makes it the plain mean, so that the weights before training are soon forgotten (as in
    the code of "Mean teachers are better role models", Tarvainen and Valpola, 2017).
    """

    def __init__(self, parameters: Mapping[str, Tensor], decay: float) -> None:
        self._parameters, self.decay = parameters, decay
        self.values = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        self._count = torch.zeros((), dtype=torch.long)

    @torch.no_grad()
    def step(self) -> None:
        self._count += 1
        count = int(self._count)
        decay = min(self.decay, count / (count + 1))
        for name, value in self.values.items():
            value.lerp_(self._parameters[name], 1 - decay)

    def state(self) -> dict[str, Tensor]:
        return {"count": self._count, **self.values}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self._count = state["count"].cpu().clone()
        self.values = {name: state[name].clone() for name in self.values}


@register(
    "stepping",
    "ema",
    source=Source("Acceleration of Stochastic Approximation by Averaging", "Polyak and Juditsky", 1992),
    family="averages",
)
class EMA(Stepping):
    """Weights averaged over the steps are judged, kept and saved; the steps themselves go on from the plain ones.

    The average is exponential, with the plain mean at its beginning; the paper's is the plain mean throughout.

    Args:
        decay: share of the average that stays at each step; 0.99 looks back about a hundred steps.
    """

    def __init__(self, decay: float = 0.99) -> None:
        self.decay = _share(decay)

    def begin(self, run: Run) -> None:
        self.average = Average(run.named_parameters(), self.decay)

    def stepped(self) -> None:
        self.average.step()

    def shown(self) -> Mapping[str, Tensor]:
        return self.average.values

    def state(self) -> dict[str, Tensor]:
        return self.average.state()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.average.restore(state)


def _share(decay: float) -> float:
    if not 0 <= decay < 1:
        raise UserError(f"a decay lies in 0..1 and below 1, not {decay}")
    return decay
