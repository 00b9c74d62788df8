"""``fit``: from a file of examples to a trained encoder."""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from similis import __version__
from similis.data.corpora import retrieval
from similis.data.dataset import Dataset, read
from similis.encoders.base import SIMILARITIES, Encoder
from similis.encoders.creating import create
from similis.encoders.static import StaticEncoder
from similis.errors import UserError
from similis.files import write_json
from similis.objective import Objective
from similis.progress import note
from similis.training.checkpoints import Checkpoints
from similis.training.columns import dataset_of, examples_of
from similis.training.dev import DevSet, dev_set
from similis.training.examples import Examples, Integers, TextTable
from similis.training.loop import Loop, Outcome
from similis.training.planning import Plan, plan
from similis.training.recipe import Recipe
from similis.training.splitting import split
from similis.training.static_trainee import new_static, old_static
from similis.training.trainee import Trainee

RECORD = "similis.json"


@dataclass(frozen=True)
class Fitted:
    """A trained encoder and how it came about.

    Attributes:
        encoder: with the best weights by dev.
        plan: the recipe used, and why.
        outcome: steps, dev values and history.
        metric: name of the dev metric, empty where there was no dev.
        rows: training rows, dev rows.
        data: path, supervision, reason and fingerprint of the data.
        seconds: from reading to saving.
        output: the model's folder, or None.
    """

    encoder: Encoder
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


def fit(
    data: Any,
    *,
    objective: str | Objective | None = None,
    base: str | Path | None = None,
    output: str | Path | None = None,
    dev: Any = None,
    recipe: Recipe | str | Path | None = None,
    resume: bool = True,
    max_bad: float = 0.01,
    **settings: Any,
) -> Encoder:
    """Learn a similarity from examples, and return the encoder.

    Args:
        data: a path, a :class:`~similis.data.dataset.Dataset`, a mapping of columns, rows such as
            ``[(anchor, positive), ...]``, ``[(text, text, score), ...]`` or ``[(text, label), ...]``, or texts.
        objective: an :class:`Objective` or its text; None: chosen by the supervision.
        base: ``static`` (the default: from nothing), ``static:PATH`` (from a transformer's token vectors), a model
            folder, or a name on the hub.
        output: the model's folder. Checkpoints are kept beside it in ``OUTPUT.checkpoints`` until the run ends.
        dev: held-out data, as ``data``; None: the data's own dev split, or a part split off by hash; False: none.
        recipe: a :class:`Recipe` or a TOML file; ``settings`` override it.
        resume: continue an interrupted run of the same settings and data.
        max_bad: share of bad rows that stops the run.
        settings: any field of :class:`Recipe`, or ``epochs``, ``batch_size``, ``lr``.

    Raises:
        UserError: data or settings that cannot be used, or a loss that is not finite.
        Interrupted: Ctrl-C; where there is an ``output``, the run was saved and the same call continues it.
    """
    return train(
        data,
        objective=objective,
        base=base,
        output=output,
        dev=dev,
        recipe=recipe,
        resume=resume,
        max_bad=max_bad,
        **settings,
    ).encoder


def train(
    data: Any,
    *,
    objective: str | Objective | None = None,
    base: str | Path | None = None,
    output: str | Path | None = None,
    dev: Any = None,
    recipe: Recipe | str | Path | None = None,
    resume: bool = True,
    max_bad: float = 0.01,
    **settings: Any,
) -> Fitted:
    """As :func:`fit`, and returns the whole story."""
    started = time.monotonic()
    folder = None if output is None else _usable(Path(output))
    given = _recipe(recipe, {"base": None if base is None else str(base), **settings}, objective)
    source = dataset_of(data, max_bad=max_bad)
    table = TextTable()
    examples = examples_of(source, table)
    training, held = _held_out(source, examples, dev, given, max_bad)
    documents = _documents(source, table, max_bad)
    known = np.union1d(training.text_codes(), documents)
    encoder = _loaded(given, table, known)
    static = encoder is None or isinstance(encoder, StaticEncoder)
    plan_ = _with_data_reason(plan(examples.supervision, len(training), given, static=static), source)
    loss = objective if isinstance(objective, Objective) else Objective(plan_.objective)
    _check_accepts(loss, examples.supervision, source)
    for reason in plan_.reasons:
        note(reason)
    trainee = _trainee(encoder, plan_.recipe, table, known, loss)
    loss.prepare(dimension=trainee.dimension, classes=len(examples.classes) or None, rows=len(source))
    judge = None if held is None else dev_set(held, training, trainee.dev_keys, documents)
    checkpoints = None if folder is None else _checkpoints(folder, plan_, source, held, resume)
    outcome = Loop(trainee, loss, training, plan_.recipe, judge, checkpoints).run()
    return _finished(started, trainee, plan_, outcome, judge, training, held, source, folder, checkpoints)


def _recipe(recipe: Recipe | str | Path | None, settings: dict[str, Any], objective: str | Objective | None) -> Recipe:
    start = recipe if isinstance(recipe, Recipe) else Recipe() if recipe is None else Recipe.read(recipe)
    return start.with_settings({**settings, "objective": None if objective is None else str(objective)})


def _usable(folder: Path) -> Path:
    """Refuse before training what could not be saved after it."""
    if folder.is_file():
        raise UserError(f"{folder} is a file; give the folder of the model to be")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "modules.json").is_file():
        raise UserError(f"{folder} holds files that are no model; choose another name or empty it")
    return folder


def _held_out(
    source: Dataset, examples: Examples, dev: Any, recipe: Recipe, max_bad: float
) -> tuple[Examples, Examples | None]:
    """Rows to train on and rows to judge by."""
    if dev is False:
        return examples, None
    if dev is None and source.split == "train" and "dev" in source.splits:
        dev = read(source.path, split="dev", max_bad=max_bad)
    if dev is None:
        return split(examples, recipe.dev_share)
    held = examples_of(dataset_of(dev, max_bad=max_bad), examples.table, examples.classes or None)
    if (held.labels is None) != (examples.labels is None) or (held.keys is None) != (examples.keys is None):
        raise UserError(
            f"the dev data are supervised by {held.supervision}, the training data by {examples.supervision}"
        )
    return examples, held


def _documents(source: Dataset, table: TextTable, max_bad: float) -> Integers:
    """Codes of the whole corpus of a BEIR folder: its words are known before any query is asked."""
    if source.supervision != "retrieval":
        return np.zeros(0, np.int64)
    corpus = retrieval(source.path, source.split, max_bad=max_bad).corpus
    return table.add(text for text in corpus.texts if text.strip())


def _with_data_reason(made: Plan, source: Dataset) -> Plan:
    said = source.why
    if source.supervision == "texts":
        said += (
            "; there is no supervision, so each title or first sentence is taken as a query for the rest of its text"
        )
    return replace(made, reasons=(said, *made.reasons))


def _check_accepts(objective: Objective, supervision: str, source: Dataset) -> None:
    if objective.accepts and supervision not in objective.accepts:
        raise UserError(
            f"objective {str(objective)!r} has no meaning for {supervision} ({source.path}): "
            f"it accepts {', '.join(objective.accepts)}; leave --objective out to have one chosen"
        )


def _loaded(recipe: Recipe, table: TextTable, known: Integers) -> Encoder | None:
    """The encoder to start from; None for a static one from nothing."""
    if recipe.base in (None, "static"):
        return None
    assert recipe.base is not None
    return create(
        recipe.base, dimension=recipe.dimension or 256, corpus_texts=(table.texts[c] for c in known), seed=recipe.seed
    )


def _trainee(
    encoder: Encoder | None, recipe: Recipe, table: TextTable, known: Integers, objective: Objective
) -> Trainee:
    if encoder is None:
        name = type(objective.similarity).__name__.lower()
        return new_static(table.texts, known, recipe, name if name in SIMILARITIES else "cosine")
    if isinstance(encoder, StaticEncoder):
        return old_static(encoder, table.texts, recipe)
    from similis.encoders.transformer import SentenceTransformerEncoder
    from similis.training.transformer_trainee import TransformerTrainee

    assert isinstance(encoder, SentenceTransformerEncoder)
    return TransformerTrainee(encoder, table.texts, recipe)


def _checkpoints(folder: Path, plan_: Plan, source: Dataset, held: Examples | None, resume: bool) -> Checkpoints:
    settings = {name: value for name, value in plan_.recipe.as_dict().items() if name != "save_steps"}
    run = {"recipe": settings, "data": source.fingerprint, "dev": None if held is None else _codes_digest(held)}
    made = Checkpoints(folder.with_name(folder.name + ".checkpoints"), {**run, "similis": __version__})
    if made.latest is None or not resume:
        made.start()
    else:
        made.check_same_run()
    return made


def _codes_digest(examples: Examples) -> list[int]:
    """Numbers that differ where another dev part was held out."""
    codes: Integers = examples.text_codes()
    return [len(examples), int(np.sum(codes)), int(np.bitwise_xor.reduce(codes * 2654435761 % 2**32))]


def _finished(
    started: float,
    trainee: Trainee,
    plan_: Plan,
    outcome: Outcome,
    judge: DevSet | None,
    training: Examples,
    held: Examples | None,
    source: Dataset,
    folder: Path | None,
    checkpoints: Checkpoints | None,
) -> Fitted:
    encoder = trainee.encoder()
    if folder is not None:
        encoder.save(folder)
    fitted = Fitted(
        encoder,
        plan_,
        outcome,
        judge.metric if judge else "",
        (len(training), len(held) if held is not None else 0),
        {"path": str(source.path), "supervision": source.supervision, "fingerprint": source.fingerprint},
        time.monotonic() - started,
        folder,
    )
    if folder is not None:
        write_json(folder / RECORD, fitted.as_dict())
        plan_.recipe.write(folder / "recipe.toml")
    if checkpoints is not None:
        checkpoints.clear()
    return fitted


def _versions() -> dict[str, str]:
    names = ("torch", "numpy", "tokenizers", "sentence-transformers", "accelerate")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}
