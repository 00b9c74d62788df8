"""Steps that look around: the gradient is taken at a place near the weights where the loss is higher."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from similis.errors import UserError
from similis.registry import Source, register
from similis.training.stepping.base import Run, Stepping, greatest
from similis.training.trainees.row_adam import row_gradient

#: A parameter, the rows of it that got a gradient (None: all), and values of its gradient or of anything alike.
Part = tuple[nn.Parameter, Tensor | None, Tensor]


class Ascending(Stepping, ABC):
    """A step whose gradient is that of the weights moved by :meth:`moves`; the weights themselves stay.

    Sparse gradients move only the rows that have one. Dropout is drawn anew in the second pass, and queues and
    averages of the objective see the batch once.
    """

    name = "sam"

    def begin(self, run: Run) -> None:
        if run.recipe.fp16:
            raise UserError(f"{self.name} takes two gradients a step, and fp16 scales one: use bf16")
        self.run = run
        self.parameters = run.named_parameters()

    def gradients(self, passes: Callable[[], float]) -> float:
        with self.run.memories_kept():
            value = passes()
        moves = self.moves(parts(self.parameters.values()))
        kept = [(parameter, rows, _values(parameter, rows).clone()) for parameter, rows, _ in moves]
        _put(moves, add=True)
        try:
            passes()
        finally:
            _put(kept, add=False)
        return value

    @abstractmethod
    def moves(self, found: list[Part]) -> list[Part]:
        """By how much each parameter moves, of its gradients at the weights."""


@register(
    "stepping",
    "sam",
    source=Source(
        "Sharpness-Aware Minimization for Efficiently Improving Generalization",
        "Foret, Kleiner, Mobahi and Neyshabur",
        2021,
    ),
    family="sharpness",
)
class SAM(Ascending):
    """Sharpness-aware steps: the gradient g is taken again at w + rho · g / ‖g‖, and the step is made from w with that.

    Flat places of the loss are preferred to sharp ones; a step costs two. Checked against the code of two public
    implementations (davda54/sam, and SAM in the authors' code of ASAM).

    Args:
        rho: how far, in the units of the weights' joint Euclidean norm.
    """

    def __init__(self, rho: float = 0.05) -> None:
        self.rho = _positive(self.name, rho=rho)

    def moves(self, found: list[Part]) -> list[Part]:
        scale = self.rho / _norm(values for _, _, values in found)
        return [(parameter, rows, values * scale) for parameter, rows, values in found]


@register(
    "stepping",
    "asam",
    source=Source(
        "ASAM: Adaptive Sharpness-Aware Minimization for Scale-Invariant Learning of Deep Neural Networks",
        "Kwon, Kim, Park and Choi",
        2021,
    ),
    family="sharpness",
)
class ASAM(Ascending):
    """Sharpness-aware steps of a size that follows each weight's: w + rho · T²g / ‖Tg‖ with T = |w| + eta.

    Checked against the authors' code, where T is 1 for biases.

    Args:
        rho: how far, with weights measured in units of themselves.
        eta: added to the size of each weight.
    """

    name = "asam"

    def __init__(self, rho: float = 0.5, eta: float = 0.01) -> None:
        self.rho, self.eta = _positive("asam", rho=rho), eta

    def begin(self, run: Run) -> None:
        super().begin(run)
        self._plain = {id(p) for name, p in self.parameters.items() if name.endswith("bias")}

    def moves(self, found: list[Part]) -> list[Part]:
        return ascent(found, [self._size(parameter, rows) for parameter, rows, _ in found], self.rho)

    def _size(self, parameter: nn.Parameter, rows: Tensor | None) -> Tensor:
        value = _values(parameter, rows)
        return torch.ones_like(value) if id(parameter) in self._plain else value.abs() + self.eta


@register(
    "stepping",
    "fsam",
    source=Source(
        "Improving Sharpness-Aware Minimization with Fisher Mask for Better Generalization on Language Models",
        "Zhong, Ding, Shen, Mi, Liu, Du and Tao",
        2022,
    ),
    family="sharpness",
)
class FSAM(Ascending):
    """Sharpness-aware steps that move only the weights of most Fisher information: w + rho · (g · mask) / ‖g‖.

    The information of a weight is its squared gradient, here of the batch of every ``every``-th step; the mask keeps
    the greatest share of all weights that have a gradient, and is drawn up anew then. Written from the published
    description of the method; the authors' code was not at hand.

    Args:
        rho: as of ``sam``.
        share: of the weights that move.
        every: steps between two masks.
    """

    name = "fsam"

    def __init__(self, rho: float = 0.05, share: float = 0.1, every: int = 100) -> None:
        self.rho = _positive("fsam", rho=rho, share=share, every=every)
        if share > 1:
            raise UserError(f"the share of weights that fsam moves must be at most 1, not {share}")
        self.share, self.every = share, int(every)
        self._steps = torch.zeros((), dtype=torch.long)
        self._masks: dict[str, Tensor] = {}

    def moves(self, found: list[Part]) -> list[Part]:
        if int(self._steps) % self.every == 0:
            self._draw_up(found)
        self._steps += 1
        scale = self.rho / _norm(values for _, _, values in found)
        masks = {id(self.parameters[name]): mask for name, mask in self._masks.items()}
        moved = []
        for parameter, rows, values in found:
            mask = masks.get(id(parameter), torch.zeros_like(parameter, dtype=torch.bool))
            moved.append((parameter, rows, values * scale * (mask if rows is None else mask[rows])))
        return moved

    def _draw_up(self, found: list[Part]) -> None:
        bound = greatest([values.square() for _, _, values in found], self.share)
        names = {id(parameter): name for name, parameter in self.parameters.items()}
        self._masks = {}
        for parameter, rows, values in found:
            mask = torch.zeros_like(parameter, dtype=torch.bool)
            mask[slice(None) if rows is None else rows] = values.square() >= bound
            self._masks[names[id(parameter)]] = mask

    def state(self) -> dict[str, Tensor]:
        return {"steps": self._steps, **{f"mask/{name}": mask for name, mask in self._masks.items()}}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self._steps = state["steps"].cpu().clone()
        self._masks = {n.removeprefix("mask/"): m.clone() for n, m in state.items() if n.startswith("mask/")}


def parts(parameters: Iterable[nn.Parameter]) -> list[Part]:
    """The present gradients, as distinct rows where they are sparse."""
    found: list[Part] = []
    for parameter in parameters:
        if parameter.grad is None:
            continue
        if parameter.grad.is_sparse:
            rows, values = row_gradient(parameter.grad)
            found.append((parameter, rows, values))
        else:
            found.append((parameter, None, parameter.grad))
    return found


def ascent(found: list[Part], sizes: list[Tensor], radius: float) -> list[Part]:
    """Moves of ``radius`` up the gradient g where weights are measured in units T, ``sizes``: radius · T²g / ‖Tg‖."""
    scaled = [values * size for size, (_, _, values) in zip(sizes, found, strict=True)]
    scale = radius / _norm(scaled)
    return [(p, rows, t * s * scale) for (p, rows, _), t, s in zip(found, scaled, sizes, strict=True)]


def _values(parameter: nn.Parameter, rows: Tensor | None) -> Tensor:
    return parameter.detach() if rows is None else parameter.detach()[rows]


@torch.no_grad()
def _put(moved: list[Part], *, add: bool) -> None:
    for parameter, rows, values in moved:
        if rows is not None:
            parameter[rows] = parameter[rows] + values if add else values
        elif add:
            parameter.add_(values)
        else:
            parameter.copy_(values)


def _norm(values: Iterable[Tensor]) -> Tensor:
    """The joint Euclidean norm, above 0."""
    norms = [torch.linalg.vector_norm(v) for v in values]
    return torch.linalg.vector_norm(torch.stack(norms)) + 1e-12 if norms else torch.ones(())


def _positive(name: str, **given: float) -> float:
    for setting, value in given.items():
        if not value > 0:
            raise UserError(f"{setting} of {name} must be above 0, not {value}")
    return next(iter(given.values()))
