"""Steps that do not undo earlier data: a gradient that would raise their loss is turned until it does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from similis.errors import UserError
from similis.registry import Source, register
from similis.training.running.mixing import Drawn, Part
from similis.training.stepping.base import Run, Stepping, dense

Floats: TypeAlias = NDArray[np.float64]


@register(
    "stepping",
    "gem",
    source=Source("Gradient Episodic Memory for Continual Learning", "Lopez-Paz and Ranzato", 2017),
    family="continual",
)
class GEM(Stepping):
    """The gradient nearest to the step's own that raises no earlier data set's loss, to first order.

    The data sets after the first, such as what is replayed, are the memories: at every step each one's gradient m_k is
    taken on ``rows`` of its rows. Where the step's gradient g has g · m_k < 0 for some, it becomes g + Σ_k v_k m_k with
    the least |g + Σ_k v_k m_k|² over v_k ≥ ``margin``, which gives a product of at least 0 with every m_k. Checked
    against the authors' code, whose margin is 0.5 by default and whose memory of a task is its last rows; here rows
    are drawn anew at each step. Batches of the memories are learnt from as well, at their share.

    Args:
        rows: of each memory at a step.
        margin: least weight of each memory's gradient where the step's is turned.
    """

    def __init__(self, rows: int = 64, margin: float = 0.0) -> None:
        if rows < 2 or margin < 0:
            raise UserError(
                f"gem needs rows of at least 2 and a margin of at least 0, not rows={rows}, margin={margin}"
            )
        self.rows, self.margin = rows, margin
        self.step = 0

    def begin(self, run: Run) -> None:
        if len(run.parts) < 2:
            raise UserError("gem keeps what earlier data taught, and there is one data set: give replay, or several")
        if run.recipe.fp16:
            raise UserError("gem compares gradients, and fp16 scales them: use bf16")
        self.run, self.parameters = run, list(run.named_parameters().values())

    def gradients(self, passes: Callable[[], float]) -> float:
        memories = [self._of(number, part) for number, part in enumerate(self.run.parts) if number]
        value = passes()
        own = [dense(parameter.grad, parameter) for parameter in self.parameters]
        sparse = [parameter.grad is not None and parameter.grad.is_sparse for parameter in self.parameters]
        products = np.array([_product(own, memory) for memory in memories])
        if (products < 0).any():
            second = np.array([[_product(a, b) for b in memories] for a in memories])
            self._turn(own, memories, weights(products, second, self.margin), sparse)
        return value

    def _of(self, number: int, part: Part) -> list[Tensor]:
        """The gradient of one memory's loss."""
        count = min(self.rows, len(part.examples))
        generator = np.random.default_rng([self.run.recipe.seed, number, self.step])
        with self.run.memories_kept():
            self.run.plain_gradients([Drawn(part, generator.choice(len(part.examples), count, replace=False))])
        return [dense(parameter.grad, parameter).clone() for parameter in self.parameters]

    def _turn(self, own: list[Tensor], memories: list[list[Tensor]], by: Floats, sparse: list[bool]) -> None:
        for place, parameter in enumerate(self.parameters):
            turned = own[place].clone()
            for weight, memory in zip(by.tolist(), memories, strict=True):
                turned += weight * memory[place]
            _put(parameter, turned, sparse[place])

    def stepped(self) -> None:
        self.step += 1

    def state(self) -> dict[str, Tensor]:
        return {"step": torch.tensor(self.step)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.step = int(state["step"])


def weights(products: Floats, second: Floats, margin: float = 0.0) -> Floats:
    """v ``[k]`` of least ``v' second v / 2 + products · v`` over ``v ≥ margin``: the dual of GEM's projection.

    Args:
        products: of the gradient with each memory's, ``[k]``.
        second: of the memories' gradients with each other, ``[k, k]``.
        margin: least value.
    """
    from scipy.optimize import nnls

    # v = u + margin and second = R'R make it the least squares of R u + c with u ≥ 0, R'c = products + second · margin
    jitter = 1e-10 * max(float(np.trace(second)) / len(second), 1e-30)
    root = np.linalg.cholesky(second + jitter * np.eye(len(second))).T
    shift = np.linalg.solve(root.T, products + second @ np.full(len(second), margin))
    return np.asarray(nnls(root, -shift)[0] + margin, np.float64)


def _product(one: list[Tensor], other: list[Tensor]) -> float:
    return float(sum(torch.dot(a.flatten().double(), b.flatten().double()) for a, b in zip(one, other, strict=True)))


def _put(parameter: nn.Parameter, gradient: Tensor, sparse: bool) -> None:
    """Set a gradient, of the rows that have one where the optimiser's unit is a row."""
    parameter.grad = gradient.to_sparse(1) if sparse else gradient
