"""What a run of training gives back."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from similis import __version__
from similis.encoders.base import Encoder
from similis.training.planning import Plan
from similis.training.running.loop import Outcome


@dataclass(frozen=True)
class Fitted:
    """A trained encoder and how it came about.

    Attributes:
        encoder: with the best weights by dev.
        start: a static encoder as it was before the first step; None for a transformer, which is trained in place.
        plan: the recipe used, and why.
        outcome: steps, dev values and history.
        metric: name of the dev metric, empty where there was no dev.
        rows: training rows, dev rows.
        data: path, supervision and fingerprint of the data, and how many documents of a corpus were known.
        seconds: from reading to saving.
        output: the model's folder, or None.
    """

    encoder: Encoder
    start: Encoder | None
    plan: Plan
    outcome: Outcome
    metric: str
    rows: tuple[int, int]
    data: dict[str, Any]
    seconds: float
    output: Path | None

    def as_dict(self) -> dict[str, Any]:
        """What is saved with the model as ``similis.json``."""
        position = self.outcome.position
        dev = {"metric": self.metric, "before": position.before, "best": position.best, "step": position.best_step}
        if position.share < 1.0:
            dev["share"] = position.share
        return {
            "similis": __version__,
            "output": None if self.output is None else str(self.output),
            **self.plan.as_dict(),
            "data": {**self.data, "rows": self.rows[0], "dev_rows": self.rows[1]},
            "dev": dev if self.metric else None,
            "steps": position.step,
            "planned_steps": self.outcome.total,
            "stopped": self.outcome.stopped,
            "history": position.history,
            "seconds": round(self.seconds, 2),
            "seed": self.plan.recipe.seed,
            "versions": _versions(),
        }

    def as_text(self) -> str:
        """A few lines for a person."""
        position = self.outcome.position
        lines = [f"{self.rows[0]:,} rows, {position.step:,} of {self.outcome.total:,} steps, {self.seconds:.1f} s"]
        if self.metric and position.before is not None and position.best is not None:
            lines.append(
                f"dev {self.metric} on {self.rows[1]:,} held-out rows: {position.before:.4f} before, "
                f"{position.best:.4f} at step {position.best_step:,}"
            )
            if position.best_step == 0:
                lines.append("training made the model no better, so its weights are those it began with")
        if self.output is not None:
            lines.append(f"saved in {self.output}")
        return "\n".join(lines)


def _versions() -> dict[str, str]:
    names = ("torch", "numpy", "tokenizers", "sentence-transformers", "accelerate")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}
