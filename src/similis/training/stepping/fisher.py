"""Fisher information of weights, and training only those that have most of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from similis.errors import UserError
from similis.registry import Source, register
from similis.training.stepping.base import Run, Stepping, dense, greatest, scale_gradient


def squared_gradients(run: Run, batches: int) -> dict[str, Tensor]:
    """The mean squared gradient of each weight over the first batches: the empirical Fisher information's diagonal.

    A batch stands for an example: the loss of a row needs the others. The model is asked without dropout, and neither
    random states nor the objective's memories change.
    """
    parameters = run.named_parameters()
    found = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    drawn = run.first_batches(batches)
    run.trainee.module.eval()
    with torch.random.fork_rng(), run.memories_kept():
        for batch in drawn:
            run.plain_gradients([batch])
            for name, parameter in parameters.items():
                found[name] += dense(parameter.grad, parameter.detach()).square() / len(drawn)
    for optimizer in run.optimizers:
        optimizer.zero_grad(set_to_none=True)
    return found


@register(
    "stepping",
    "fisher_mask",
    source=Source(
        "Raise a Child in Large Language Model: Towards Effective and Generalizable Fine-tuning",
        "Xu, Luo, Zhang, Tan, Chang, Huang and Huang",
        2021,
    ),
    family="fisher",
)
class FisherMask(Stepping):
    """Only the weights of greatest Fisher information are trained, the same throughout (Child-Tuning-D).

    Before the first step the mean squared gradients over some batches say which; gradients of the others are set to 0.
    The paper's Fisher information is of single examples; here a batch stands for one, as the loss of a row needs the
    others. Written from the paper's description; the authors' code was not at hand.

    Args:
        share: of the weights that are trained.
        batches: of the first epoch that the information is measured on.
    """

    def __init__(self, share: float = 0.3, batches: int = 8) -> None:
        if not 0 < share <= 1 or batches < 1:
            raise UserError(f"fisher_mask needs a share in 0..1 and batches of at least 1, not {share} and {batches}")
        self.share, self.batches = share, batches
        self.masks: dict[str, Tensor] = {}

    def begin(self, run: Run) -> None:
        self.run, self.parameters = run, run.named_parameters()

    def start(self) -> None:
        found = squared_gradients(self.run, self.batches)
        bound = greatest(found.values(), self.share)
        self.masks = {name: square >= bound for name, square in found.items()}

    def gradients(self, passes: Callable[[], float]) -> float:
        value = passes()
        for name, mask in self.masks.items():
            scale_gradient(self.parameters[name], mask)
        return value

    def state(self) -> dict[str, Tensor]:
        return dict(self.masks)

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.masks = {name: mask.clone() for name, mask in state.items()}
