"""Sharpness-aware steps whose radius is measured: how differently the model scores its batch from before."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from similis.errors import UserError, did_you_mean
from similis.registry import Source, register
from similis.training.stepping.base import Embedded, Run, inner_model, swapped
from similis.training.stepping.consistency import divergence, scores_of
from similis.training.stepping.sharpness import Ascending, Part, ascent
from similis.training.stepping.smoothness import moved_tokens

AGAINST = ("previous", "start", "noise")


@register(
    "stepping",
    "tram",
    source=Source(
        "TRAM: Bridging Trust Regions and Sharpness Aware Minimization", "Sherborne, Saphra, Dasigi and Peng", 2024
    ),
    family="sharpness",
)
class TRAM(Ascending):
    """Sharpness-aware steps that look only as far as the model's scores moved: w + d · w²g / ‖wg‖, d measured.

    The trust region d is the mean Kullback-Leibler divergence of the rows' softmaxes of ``scale`` times the scores,
    of what they are now from what they were ``against``: with the weights one step before, with those at the start of
    training, or now with normal noise on the token embeddings. Where each row has one score (scored and labelled
    pairs) it is the squared difference. The first step against past weights is plain: nothing has changed yet. Both
    sides are scored without dropout, which would be measured too. Written from the paper's equations 4, 5 and 7 and
    checked against the authors' code, whose published move leaves g out; outputs are there logits of classes or
    tokens, here scores of texts. A step costs two gradients and two passes, a copy of the weights against past ones.

    Args:
        against: ``previous``, ``start`` or ``noise``.
        adaptive: each weight moves by its own size, as the paper's; False: all alike, as ``sam``.
        noise: standard deviation of the noise, the paper's σ.
        scale: of scores before the softmax; 20 is a temperature of 0.05.
        factor: the radius is d times this; the authors' code has it for outputs of another size.
    """

    name = "tram"

    def __init__(
        self,
        against: str = "previous",
        adaptive: bool = True,
        noise: float = 0.1,
        scale: float = 20.0,
        factor: float = 1.0,
    ) -> None:
        if against not in AGAINST:
            hint = did_you_mean(against, AGAINST)
            raise UserError(f"against of tram must be one of {', '.join(AGAINST)}, not {against!r}{hint}")
        if min(noise, scale, factor) <= 0:
            raise UserError(f"tram needs noise, scale and factor above 0, not {noise}, {scale} and {factor}")
        self.against, self.adaptive, self.noise, self.scale, self.factor = against, adaptive, noise, scale, factor
        self._before: dict[str, Tensor] = {}
        self._found: list[Tensor] | None = None

    def begin(self, run: Run) -> None:
        super().begin(run)
        self.inner = inner_model(run.trainee.module)
        if self.against == "noise" and self.inner is None:
            raise UserError(
                "tram(against=noise) moves the token embeddings of a transformer, and this model has none: "
                "use against=previous"
            )
        self._model: dict[str, nn.Parameter] = {n: p for n, p in self.parameters.items() if n.startswith("model/")}
        self._remember()

    def gradients(self, passes: Callable[[], float]) -> float:
        self._found = []  # the first pass measures; moves() ends that
        value = super().gradients(passes)
        if self.against == "previous":
            self._remember()
        return value

    def loss(self, embedded: Embedded, loss: Tensor) -> Tensor:
        if self._found is not None:
            self._found.append(self._divergence(embedded))
        return loss

    def moves(self, found: list[Part]) -> list[Part]:
        radius = self.radius()
        self._found = None
        sizes = [_size(parameter, rows) if self.adaptive else torch.ones_like(v) for parameter, rows, v in found]
        return ascent(found, sizes, radius)

    def radius(self) -> float:
        """How far this step looks: the mean divergence of its batches, times the factor."""
        return self.factor * float(torch.stack(self._found).mean()) if self._found else 0.0

    def _divergence(self, embedded: Embedded) -> Tensor:
        module = self.run.trainee.module
        module.eval()
        with torch.no_grad():
            now = self._scores(embedded)
            if self.against == "noise":
                with moved_tokens(self.inner, lambda _, tokens: self.noise * torch.randn_like(tokens)):
                    other = self._scores(embedded)
            else:
                with swapped(self._model, self._before):
                    other = self._scores(embedded)
        module.train()
        return divergence(other, now, self.scale)

    def _scores(self, embedded: Embedded) -> Tensor:
        queries, keys = self.run.embedded(embedded.batch)
        return scores_of(embedded.objective.similarity, embedded, queries, keys)

    @torch.no_grad()
    def _remember(self) -> None:
        if self.against == "noise":
            return
        for name, parameter in self._model.items():
            if name in self._before:
                self._before[name].copy_(parameter)
            else:
                self._before[name] = parameter.detach().clone()

    def state(self) -> dict[str, Tensor]:
        return dict(self._before)

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self._before = {name: value.clone() for name, value in state.items()}


def _size(parameter: nn.Parameter, rows: Tensor | None) -> Tensor:
    value = parameter.detach()
    return (value if rows is None else value[rows]).abs()
