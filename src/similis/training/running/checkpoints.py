"""Checkpoints: weights, optimiser, random states and position, each written whole or not at all, without pickle."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim import Optimizer

from similis.errors import UserError
from similis.files import building, read_json, write_json, writing
from similis.training.running.processes import first_process

FORMAT = 1


@dataclass
class Position:
    """Where a run stands; everything that a resumed run needs besides tensors.

    Attributes:
        step: optimiser steps taken.
        epoch: the epoch in progress, from 0.
        batch: batches of it that are done.
        best: best dev value so far, and the step that reached it.
        share: of the trained weights in those that were kept at the end; the rest is the base.
        waited: evaluations since then.
        before: dev value before the first step.
        seconds: time spent in training so far.
        history: one record an evaluation.
        losses: sum and number of losses since the last record.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    best: float | None = None
    best_step: int = 0
    share: float = 1.0
    waited: int = 0
    before: float | None = None
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    losses: list[float] = field(default_factory=lambda: [0.0, 0.0])


class Checkpoints:
    """The folder of a run's checkpoints: the latest one, and the best weights so far.

    Args:
        folder: made when first written to.
        run: what identifies the run; a checkpoint of another run is never resumed.
    """

    def __init__(self, folder: Path, run: Mapping[str, Any]) -> None:
        self.folder = folder
        self.run = json.loads(json.dumps({"format": FORMAT, **run}))

    @property
    def latest(self) -> Path | None:
        """The checkpoint furthest on, or None."""
        found = sorted(self.folder.glob("step-*")) if self.folder.is_dir() else []
        return found[-1] if found else None

    def check_same_run(self) -> None:
        """Refuse a folder that another run has begun.

        Raises:
            UserError: names the settings that differ.
        """
        before = read_json(self.folder / "run.json")
        if before == self.run:
            return
        old, new = _flat(before), _flat(self.run)
        names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
        shown = ", ".join(f"{n} was {old.get(n)!r} and is {new.get(n)!r}" for n in names[:3])
        raise UserError(
            f"{self.folder} holds an unfinished run with other settings ({shown}); give the same settings to "
            "continue it, or resume=False (--no-resume) to start again"
        )

    def clear(self) -> None:
        """Remove everything of an earlier run."""
        if first_process():
            shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        """Make the folder of a new run."""
        self.clear()
        if first_process():
            write_json(self.folder / "run.json", self.run)

    def save(self, position: Position, model: Mapping[str, Tensor], optimizers: Sequence[Optimizer]) -> Path:
        """Write a checkpoint, then remove the one before it and best weights that are no longer the best."""
        tensors, scalars = _packed(optimizers)
        target = self.folder / f"step-{position.step:09d}"
        with building(target) as aside:
            save_file(_ready(model), aside / "model.safetensors")
            save_file(_ready(tensors), aside / "optimizer.safetensors")
            save_file(_random_states(), aside / "random.safetensors")
            python = random.getstate()
            state = {"position": asdict(position), "optimizer": scalars, "random": [python[0], [*python[1]], python[2]]}
            (aside / "state.json").write_text(json.dumps(state), encoding="utf-8")
        for old in self.folder.glob("step-*"):
            if old != target:
                shutil.rmtree(old, ignore_errors=True)
        for weights in self.folder.glob("best-*.safetensors"):
            if weights != self._best(position.best_step):
                weights.unlink()
        return target

    def load(self, checkpoint: Path, optimizers: Sequence[Optimizer]) -> tuple[Position, dict[str, Tensor]]:
        """Restore optimisers and random states; returns the position and the model's weights.

        Raises:
            UserError: a part of the checkpoint is missing or damaged.
        """
        state = read_json(checkpoint / "state.json")
        _unpack(optimizers, _read(checkpoint / "optimizer.safetensors"), state["optimizer"])
        states = _read(checkpoint / "random.safetensors")
        torch.set_rng_state(states.pop("cpu"))
        for name, value in states.items():
            torch.cuda.set_rng_state(value, int(name.partition(":")[2]))
        version, numbers, gauss = state["random"]
        random.setstate((version, tuple(numbers), gauss))
        return Position(**state["position"]), _read(checkpoint / "model.safetensors")

    def save_best(self, step: int, model: Mapping[str, Tensor]) -> None:
        """Keep the weights of the best step; those of earlier bests go with the next checkpoint."""
        with writing(self._best(step)) as aside:
            save_file(_ready(model), aside)

    def load_best(self, step: int) -> dict[str, Tensor]:
        return _read(self._best(step))

    def _best(self, step: int) -> Path:
        return self.folder / f"best-{step:09d}.safetensors"


def _ready(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Detached, contiguous and unshared, as safetensors wants them."""
    return {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is missing or damaged ({error}); start again with resume=False") from None


def _packed(optimizers: Sequence[Optimizer]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state of every parameter: tensors by name, and plain numbers by name."""
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, Any] = {}
    for number, optimizer in enumerate(optimizers):
        for parameter, values in optimizer.state_dict()["state"].items():
            for name, value in values.items():
                kept = tensors if isinstance(value, Tensor) else scalars
                kept[f"{number}/{parameter}/{name}"] = value
    return tensors, scalars


def _unpack(optimizers: Sequence[Optimizer], tensors: Mapping[str, Tensor], scalars: Mapping[str, Any]) -> None:
    states: list[dict[int, dict[str, Any]]] = [{} for _ in optimizers]
    for key, value in [*tensors.items(), *scalars.items()]:
        number, parameter, name = key.split("/")
        states[int(number)].setdefault(int(parameter), {})[name] = value
    for optimizer, state in zip(optimizers, states, strict=True):
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _random_states() -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states |= {f"cuda:{d}": torch.cuda.get_rng_state(d) for d in range(torch.cuda.device_count())}
    return states


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return found
