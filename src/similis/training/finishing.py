"""The end of every run: checkpoints beside the model's folder, the loop, and what is saved of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from similis import __version__
from similis.data.dataset import Dataset
from similis.encoders.base import Encoder
from similis.files import write_json
from similis.training.fitted import Fitted
from similis.training.planning import Plan
from similis.training.rows.examples import Integers
from similis.training.running.checkpoints import Checkpoints
from similis.training.running.loop import Loop
from similis.training.running.processes import first_process, wait_for_all
from similis.training.sets import Learnt

RECORD = "similis.json"


@dataclass(frozen=True, eq=False)
class Ready:
    """A run that has only to start.

    Attributes:
        loop: the run.
        plan: the recipe used, and why.
        sets: what is learnt from.
        start: the encoder before the first step, where it is kept.
        told: what the record says of the data.
        started: when the call began, by ``time.monotonic``.
        folder: where the model is saved, or None.
    """

    loop: Loop
    plan: Plan
    sets: Sequence[Learnt]
    start: Encoder | None
    told: dict[str, Any]
    started: float
    folder: Path | None


def finished(ready: Ready) -> Fitted:
    """Run the loop, save the encoder and how it came about, and remove the checkpoints."""
    loop, sets, folder = ready.loop, ready.sets, ready.folder
    outcome = loop.run()
    encoder = loop.trainee.encoder()
    if folder is not None and first_process():
        encoder.save(folder)
    rows = (sum(len(each.training) for each in sets), sum(len(each.held or ()) for each in sets))
    metric = "" if loop.dev is None else loop.dev.metric
    seconds = time.monotonic() - ready.started
    fitted = Fitted(encoder, ready.start, ready.plan, outcome, metric, rows, ready.told, seconds, folder)
    if loop.checkpoints is not None and first_process():
        _record(fitted)
        loop.checkpoints.clear()
    wait_for_all()
    return fitted


def checkpoints_of(folder: Path, plan_: Plan, sets: Sequence[Learnt], documents: Integers, resume: bool) -> Checkpoints:
    settings = {name: value for name, value in plan_.recipe.as_dict().items() if name != "save_steps"}
    run = {
        "recipe": settings,
        "data": [each.source.fingerprint for each in sets],
        "dev": [None if each.held is None else _codes_digest(each.held.text_codes(), len(each.held)) for each in sets],
        "corpus": _codes_digest(documents, len(documents)),
        "teacher": next((asked for each in sets if (asked := getattr(each.training, "asked", ""))), None),
    }
    made = Checkpoints(folder.with_name(folder.name + ".checkpoints"), {**run, "similis": __version__})
    if made.latest is None or not resume:
        made.start()
    else:
        made.check_same_run()
    return made


def _codes_digest(codes: Integers, rows: int) -> list[int]:
    """Numbers that differ where other texts were held out, or are to be searched."""
    return [rows, int(np.sum(codes)), int(np.bitwise_xor.reduce(codes * 2654435761 % 2**32))]


def told_of(source: Dataset) -> dict[str, Any]:
    return {"path": str(source.path), "supervision": source.supervision, "fingerprint": source.fingerprint}


def _record(fitted: Fitted) -> None:
    assert fitted.output is not None
    write_json(fitted.output / RECORD, fitted.as_dict())
    fitted.plan.recipe.write(fitted.output / "recipe.toml")
