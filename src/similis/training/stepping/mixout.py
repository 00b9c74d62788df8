"""Weights mixed with those before training."""

from __future__ import annotations

from collections.abc import Callable

import torch

from similis.errors import UserError
from similis.registry import Source, register
from similis.training.stepping.base import Run, Stepping, scale_gradient, swapped


@register(
    "stepping",
    "mixout",
    source=Source(
        "Mixout: Effective Regularization to Finetune Large-scale Pretrained Language Models", "Lee, Cho and Kang", 2020
    ),
    family="consistency",
)
class Mixout(Stepping):
    """Each step is taken as if weights, each with probability p, were still those before training.

    The loss is that of ((1 − m) · w + m · w₀ − p · w₀) / (1 − p) with m drawn anew for each number of every matrix of
    the model: on average that is w. Vectors (biases, norms) are left alone, and so is dropout, which the paper's
    experiments replace. Checked against the authors' code, whose mask is the same for all rows of a matrix and whose
    gradient lacks the formula's 1 / (1 − p).

    Args:
        p: probability of the weight before training; 0 changes nothing, and at 1 nothing is learnt.
    """

    def __init__(self, p: float = 0.1) -> None:
        if not 0 <= p <= 1:
            raise UserError(f"p of mixout must lie in 0..1, not {p}")
        self.p = p

    def begin(self, run: Run) -> None:
        found = run.named_parameters().items()
        self._matrices = {name: p for name, p in found if name.startswith("model/") and p.dim() > 1}
        self._before = {name: parameter.detach().clone() for name, parameter in self._matrices.items()}

    def gradients(self, passes: Callable[[], float]) -> float:
        if not self.p:
            return passes()
        kept = {n: (torch.rand_like(w) >= self.p).to(w.dtype) / max(1 - self.p, 1e-12) for n, w in self._before.items()}
        with torch.no_grad():
            # w0 + kept · (w − w0) is the formula, and exact where w is w0
            mixed = {n: torch.addcmul(w, kept[n], self._matrices[n] - w) for n, w in self._before.items()}
        with swapped(self._matrices, mixed):
            value = passes()
        for name, parameter in self._matrices.items():
            scale_gradient(parameter, kept[name])
        return value
