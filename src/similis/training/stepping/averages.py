"""The average of the weights of past steps: what is judged, or what embeds keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from similis.errors import UserError
from similis.registry import Source, register
from similis.training.rows.examples import Batch
from similis.training.stepping.base import Run, Sides, Stepping, swapped


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


@register(
    "stepping",
    "momentum_keys",
    source=Source(
        "Momentum Contrast for Unsupervised Visual Representation Learning", "He, Fan, Wu, Xie and Girshick", 2020
    ),
    accepts=("pairs", "triplets"),
    family="averages",
)
class MomentumKeys(Stepping):
    """Keys are embedded by an average of past weights and without a gradient; queries alone teach the model (MoCo).

    With keys that change slowly a long queue of them stays true: ``keys=queue(size=4096)`` in the objective is the
    paper's. Judged, searched and saved is the plain model. The average begins as the plain mean; the paper's decay is
    the same from the first step, over many more of them.

    Args:
        decay: the paper's m, share of the average that stays at each step.
    """

    def __init__(self, decay: float = 0.99) -> None:
        self.decay = _share(decay)

    def begin(self, run: Run) -> None:
        if getattr(run.trainee, "reads_pairs", False):
            raise UserError("momentum_keys embeds keys by themselves, and a cross-encoder reads pairs: leave it out")
        self.parameters = {n: p for n, p in run.named_parameters().items() if n.startswith("model/")}
        self.average = Average(self.parameters, self.decay)

    def embed(self, batch: Batch, embed: Callable[[Batch], Sides]) -> Sides:
        if batch.keys is None:
            raise UserError("momentum_keys needs keys beside the queries, as pairs have: leave it out for labels")
        with torch.no_grad(), swapped(self.parameters, self.average.values):
            _, keys = embed(batch)
        queries, _ = embed(replace(batch, keys=None))
        return queries, keys

    def stepped(self) -> None:
        self.average.step()

    def state(self) -> dict[str, Tensor]:
        return self.average.state()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.average.restore(state)


def _share(decay: float) -> float:
    if not 0 <= decay < 1:
        raise UserError(f"a decay lies in 0..1 and below 1, not {decay}")
    return decay
