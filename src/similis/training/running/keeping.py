"""Weights of a run by name, and which of them are kept: the best by dev, or weights between those and the base's."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from similis.progress import note
from similis.training.running.averaging import best_between, between
from similis.training.running.checkpoints import Checkpoints, Position
from similis.training.running.processes import first_process


def weights_of(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """The tensors of all modules, as ``module/NAME``; they are the modules' own, not copies."""
    return {
        f"{part}/{name}": tensor for part, module in modules.items() for name, tensor in module.state_dict().items()
    }


def put_weights(modules: Mapping[str, nn.Module], weights: Mapping[str, Tensor]) -> None:
    """Load what :func:`weights_of` gave; names of no module are left alone."""
    for part, module in modules.items():
        own = f"{part}/"
        module.load_state_dict({n.removeprefix(own): t for n, t in weights.items() if n.startswith(own)})


def copied(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in weights.items()}


class Keeping:
    """The best weights of a run so far.

    Args:
        modules: what is trained.
        checkpoints: where the best are saved too, or None.
        from_first: whether weights between the first and the best are tried at the end.
    """

    def __init__(self, modules: Mapping[str, nn.Module], checkpoints: Checkpoints | None, from_first: bool) -> None:
        self._modules, self._checkpoints = modules, checkpoints
        self._best: dict[str, Tensor] | None = None
        self._first = copied(weights_of(modules)) if from_first else None

    def judged(self, position: Position, value: float) -> None:
        """Keep the present weights where their dev ``value`` is the best; count the evaluations that were not."""
        # a draw goes to the earlier weights, except to those before training: a full dev metric must not undo it
        drawn = value == position.best and position.best_step > 0
        if position.best is not None and (value < position.best or drawn):
            position.waited += 1
            return
        position.best, position.best_step, position.waited = value, position.step, 0
        self._best = copied(weights_of(self._modules))
        if self._checkpoints is not None and first_process():
            self._checkpoints.save_best(position.step, self._best)

    def resume(self, position: Position) -> None:
        """Read the best weights of the run that is continued."""
        if position.best is not None and self._checkpoints is not None:
            self._best = self._checkpoints.load_best(position.best_step)

    def end(self, position: Position, judge: Callable[[], float]) -> None:
        """Give the modules the best weights, or some between the first and the trained ones where dev prefers them.

        The trained ones are the best, or the last where none were better than the first.
        """
        improved = position.best_step > 0
        if self._first is None or position.best is None or not position.step:
            self._take_best(position)
            return
        if improved:
            self._take_best(position)

        def judged(weights: Mapping[str, Tensor]) -> float:
            put_weights(self._modules, weights)
            return judge()

        trained = copied(weights_of(self._modules))
        share, value = best_between(self._first, trained, position.best, judged)
        if share == 1.0:
            put_weights(self._modules, trained if improved else self._first)
            return
        put_weights(self._modules, between(self._first, trained, share))
        position.best, position.share, position.best_step = value, share, position.best_step or position.step
        note(f"kept {share:.0%} of what was learnt and {1 - share:.0%} of the base: better on dev, {value:.4f}")

    def _take_best(self, position: Position) -> None:
        if self._best is not None and position.best_step != position.step:
            put_weights(self._modules, self._best)
