"""Half of a transformer's layers trained, half kept as they are."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from torch import nn

from similis.registry import Source, register
from similis.training.stepping.base import Run, Stepping, layers_of


@register(
    "stepping",
    "half",
    source=Source("HFT: Half Fine-Tuning for Large Language Models", "Hui, Zhang, Wang, Xu, Sun and Wu", 2024),
    family="layers",
)
class Half(Stepping):
    """Of each layer one half of its parts is trained, drawn by the run's seed; the other half stays as it is.

    Parts are drawn kind by kind: half of the attention's matrices, half of the other matrices and half of the norms,
    each with its bias; of an odd number the larger half or the smaller one. What is outside the layers is trained. A
    further run draws anew where its seed is another. What stays has no gradient, so that a step takes less time.
    The choice by kinds was checked in the abstract and in descriptions of the paper; its code was not at hand.
    """

    def begin(self, run: Run) -> None:
        random = Random(f"half {run.recipe.seed}")
        self.kept: list[nn.Parameter] = []
        for layer in layers_of(run.trainee.module, "half"):
            for parts in _kinds(layer):
                count = (len(parts) + random.randrange(2)) // 2
                self.kept += [parameter for part in random.sample(parts, count) for parameter in part]

    def gradients(self, passes: Callable[[], float]) -> float:
        for parameter in self.kept:
            parameter.requires_grad_(False)
        try:
            return passes()
        finally:
            for parameter in self.kept:
                parameter.requires_grad_(True)


def _kinds(layer: nn.Module) -> list[list[list[nn.Parameter]]]:
    """What is trained of a layer, part by part: matrices of its attention, other matrices, and vectors without one."""
    attention: list[list[nn.Parameter]] = []
    others: list[list[nn.Parameter]] = []
    vectors: list[list[nn.Parameter]] = []
    for name, part in layer.named_modules():
        own = [parameter for parameter in part.parameters(recurse=False) if parameter.requires_grad]
        if own:
            matrix = any(parameter.dim() > 1 for parameter in own)
            kind = vectors if not matrix else attention if "att" in name.lower() else others
            kind.append(own)
    return [attention, others, vectors]
