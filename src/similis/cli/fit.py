"""``similis fit``: learn a similarity from a file of examples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from similis.cli.options import Json, Quiet, Threads, show, start
from similis.errors import UserError, did_you_mean


def fit(
    data: Annotated[
        list[Path], typer.Argument(help="Pairs, triplets, labels, scored pairs or texts: files or folders.")
    ],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where to write the model.")] = None,
    objective: Annotated[
        list[str] | None,
        typer.Option("--objective", help='As in "triplet(margin=0.1)"; of several files: "FILE-NAME: triplet".'),
    ] = None,
    base: Annotated[str | None, typer.Option("--base", help="static, FAMILY:PATH, a folder or hub name.")] = None,
    teacher: Annotated[str | None, typer.Option("--teacher", help="A model (A + B: several) to learn from.")] = None,
    dev: Annotated[Path | None, typer.Option("--dev", help="Held-out data; default: a split of the data.")] = None,
    epochs: Annotated[float | None, typer.Option("--epochs")] = None,
    max_steps: Annotated[int | None, typer.Option("--max-steps", min=1)] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", min=2)] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", "--lr")] = None,
    mini_batch_size: Annotated[int | None, typer.Option("--mini-batch-size", help="Cached gradients.")] = None,
    corpus: Annotated[Path | None, typer.Option("--corpus", help="The documents that will be searched.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help='Any setting of a recipe, as in peft="lora(rank=8)" or negatives=hard.'),
    ] = None,
    recipe: Annotated[Path | None, typer.Option("--recipe", help="A TOML recipe; options override it.")] = None,
    find_lr: Annotated[
        bool, typer.Option("--find-lr", help="Only say what learning rate a run can bear, in --max-steps steps.")
    ] = False,
    max_bad: Annotated[float, typer.Option("--max-bad", help="Share of bad rows that stops the run.")] = 0.01,
    resume: Annotated[bool, typer.Option(help="Continue an interrupted run of the same recipe.")] = True,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of everything random.")] = None,
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a model on examples; picks objective and encoder from the supervision and says why.

    Several files are learnt at once, each by its own objective; the first is the main one.
    """
    start(quiet=quiet, threads=threads)
    from similis import api

    chosen = {
        "num_train_epochs": epochs,
        "max_steps": max_steps,
        "per_device_train_batch_size": batch_size,
        "learning_rate": learning_rate,
        "mini_batch_size": mini_batch_size,
        "seed": seed,
    }
    source = data[0] if len(data) == 1 else _by_name(data)
    options: dict[str, Any] = {
        "objective": _objectives(objective or [], data),
        "base": base,
        "corpus": corpus,
        "teacher": teacher,
        "recipe": recipe,
        "max_bad": max_bad,
        **_settings(settings or [], {name: value for name, value in chosen.items() if value is not None}),
    }
    if find_lr:
        found = api.find_rate(source, steps=options.pop("max_steps", 100), **options)
        show(found.as_dict(), found.as_text(), as_json=as_json)
        return
    if output is None:
        raise UserError("say where the model goes, as in --output FOLDER (only --find-lr needs none)")
    result = api.fit_to_folder(source, output, dev=dev, resume=resume, **options)
    show(result.as_dict(), result.as_text(), as_json=as_json)


def _by_name(files: list[Path]) -> dict[str, Path]:
    found = {file.name.partition(".")[0] or file.name: file for file in files}
    if len(found) < len(files):
        raise UserError("several data sets are told apart by their file names, and two of these are the same")
    return found


def _objectives(given: list[str], files: list[Path]) -> str | dict[str, str] | None:
    """One objective, or by the name of a data set: ``"qa: infonce"``."""
    if len(files) == 1 or not any(": " in each for each in given):
        if len(given) > 1:
            raise UserError('several objectives need the data sets they are for, as in --objective "qa: infonce"')
        return given[0] if given else None
    names = _by_name(files)
    found: dict[str, str] = {}
    for each in given:
        name, _, text = each.partition(": ")
        found[name.strip()] = text.strip()
    for name in found:
        if name not in names:
            raise UserError(f"there is no data set {name!r}{did_you_mean(name, names)}; given are {', '.join(names)}")
    return found


def _settings(written: list[str], options: dict[str, Any]) -> dict[str, Any]:
    """``NAME=VALUE`` as a recipe's settings: numbers and true or false as such, anything else a text.

    Raises:
        UserError: a setting without a value, or given twice.
    """
    found = dict(options)
    for each in written:
        name, equals, value = each.partition("=")
        name = name.strip()
        if not equals or not name:
            raise UserError(f"--set {each!r} is not of the form NAME=VALUE")
        if name in found:
            raise UserError(f"{name} is given twice")
        found[name] = _value(value.strip())
    return found


def _value(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, str | int | float | bool) else text
