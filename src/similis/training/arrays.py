"""``fit`` of arrays: rows of numbers, images or vectors made elsewhere, and any torch module over them.

Batches, objectives, executions, dev, checkpoints and resuming are those of texts; only what is embedded differs.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from similis.encoders.arrays.encoder import ArrayEncoder
from similis.encoders.arrays.modules import BUILT_IN, built_in
from similis.encoders.arrays.rows import is_built_in
from similis.encoders.folder import usable
from similis.errors import UserError, did_you_mean
from similis.objective import Objective
from similis.progress import note
from similis.training.finishing import Ready, checkpoints_of, told_of
from similis.training.negatives.searching import searching_of
from similis.training.planning import Plan, plan, with_similarity
from similis.training.recipe import Recipe
from similis.training.rows.arrays import SUPERVISIONS, ArrayTable, Said, said_of
from similis.training.rows.splitting import split
from similis.training.running.loop import Loop
from similis.training.sets import Learnt, judge_of, objective_for, part_of
from similis.training.trainees.arrays import ArrayTrainee, reads_batches
from similis.training.trainees.families import of_head, searched_by

#: Settings of texts that have no meaning for arrays.
_TEXTS = (
    *("dimension", "vocabulary", "tokenizer", "initialisation", "max_seq_length", "peft", "passages"),
    *("teacher", "replay"),
)

#: Of what changes a step and finds negatives, those that read words or ask models of texts.
_OF_TEXTS = {
    "stepping": ("easy_first", "compatible_with", "keep_topology", "smart"),
    "negatives": ("bm25", "adore", "guided"),
}

#: What a new module takes where the recipe says nothing: batches are cheap, and nothing has been learnt before.
_STEPS, _BATCH, _EPOCHS, _RATE = 1000, 128, 40, 1e-3


def ready_rows(
    data: Any,
    *,
    objective: str | Objective | None = None,
    base: str | Path | nn.Module | ArrayEncoder | None = None,
    output: str | Path | None = None,
    dev: Any = None,
    recipe: Recipe | str | Path | None = None,
    resume: bool = True,
    **settings: Any,
) -> Ready:
    """A run over the rows of an array, ready to start.

    Args:
        data: ``[n, ...]``, NumPy's, torch's, or the path of an ``.npy`` file; or a file of records with vectors and
            labels (see :func:`similis.training.rows.array_files.labelled_rows`).
        objective: an :class:`Objective` or its text; None: chosen by the supervision.
        base: a module in float32, rows ``[n, ...]`` to vectors ``[n, d]``, trained in place; the text of one, such as
            ``mlp(hidden=[256], dimension=64)`` (see :mod:`similis.encoders.arrays.modules`; the default, for images
            ``conv``); an encoder or its folder.
        output: the model's folder.
        dev: held-out rows, ``(array, labels)``, ``(array, pairs)``, ``(array, pairs, scores)`` or ``(array,
            triplets)`` or a file, as the training data; None: a part is split off by hash; False: none.
        recipe: a :class:`Recipe` or a TOML file; ``settings`` override it.
        resume: continue an interrupted run of the same settings and data.
        settings: one of ``labels`` ``[n]``, ``pairs`` ``[m, 2]`` (numbers of rows, from 0; with ``scores`` ``[m]``,
            how much each belongs together; booleans: whether) and ``triplets`` ``[m, 2 + r]`` (a row, one that
            belongs to it, and those that do not, -1 for none); any field of :class:`Recipe` that is not of texts.

    Raises:
        UserError: data or settings that cannot be used, or a loss that is not finite.
        Interrupted: Ctrl-C; where there is an ``output``, the run was saved and the same call continues it.
    """
    started = time.monotonic()
    folder = None if output is None else usable(Path(output))
    supervision = {name: settings.pop(name, None) for name in (*SUPERVISIONS, "scores")}
    said = said_of(data, supervision)
    held = None if dev is None or dev is False else _held(dev, said)
    given = _recipe(recipe, settings, objective)
    table = ArrayTable([said.rows] if held is None else [said.rows, held.rows])
    each = _learnt(said, held, dev, table, given)
    encoder = _encoder(given.base if base is None else base, said, given.seed)
    plan_ = _planned(each, given, encoder)
    for reason in plan_.reasons:
        note(reason)
    loss, sampler = objective_for(each, [each], objective, plan_, given, encoder)  # type: ignore[arg-type]
    encoder.similarity_name = searched_by(loss, encoder)
    if plan_.recipe.mini_batch_size is not None and reads_batches(encoder.module):
        note("the module has batch norms: mini_batch_size has them see the rows of a part, not of the whole batch")
    trainee = ArrayTrainee(encoder, table)
    part = part_of(each, loss, sampler, trainee, plan_.recipe, False)
    nothing = np.zeros(0, np.int64)
    judge = judge_of([each], [part], trainee, nothing, False)
    checkpoints = None if folder is None else checkpoints_of(folder, plan_, [each], nothing, resume)
    searching = searching_of(plan_.recipe, part.examples, nothing, str(each.source.path))
    loop = Loop(trainee, [part], plan_.recipe, judge, checkpoints, None, searching)
    return Ready(loop, plan_, [each], None, told_of(each.source), started, folder)


def _recipe(recipe: Recipe | str | Path | None, settings: dict[str, Any], objective: Any) -> Recipe:
    start = recipe if isinstance(recipe, Recipe) else Recipe() if recipe is None else Recipe.read(recipe)
    for name in _TEXTS:
        if settings.get(name) is not None or getattr(start, name) is not None:
            raise UserError(f"{name} is of texts, and the data are an array: leave it out")
    for name, words in _OF_TEXTS.items():
        given = str(settings.get(name) or getattr(start, name) or "")
        for word in words:
            if re.search(rf"\b{word}\b", given):
                raise UserError(f"{name}={word} is of texts, and the data are an array: leave it out")
    if isinstance(objective, Mapping):
        raise UserError("several objectives are for several data sets, and the data are one array: give one")
    return start.with_settings({**settings, "objective": None if objective is None else str(objective)})


def _held(dev: Any, said: Said) -> Said:
    """The dev data, checked against the training data."""
    if isinstance(dev, str | Path):
        dev = (dev, None)  # a file with labels of its own
    if not isinstance(dev, tuple) or len(dev) not in (2, 3):
        raise UserError(f"dev must be (array, {said.kind}), False for none, or left out; not {type(dev).__name__}")
    given = {said.kind: dev[1], "scores": dev[2] if len(dev) == 3 else None}
    held = said_of(dev[0], given)
    if held.rows.shape[1:] != said.rows.shape[1:]:
        raise UserError(f"dev rows have the shape {list(held.rows.shape[1:])}, not {list(said.rows.shape[1:])}")
    if (held.scores is None) != (said.scores is None):
        raise UserError("training pairs and dev pairs must both have scores, or neither")
    return held


def _learnt(said: Said, held: Said | None, dev: Any, table: ArrayTable, recipe: Recipe) -> Learnt:
    examples = said.examples(table)
    if len(examples) < 2:
        raise UserError("one row is no training data; give at least two")
    if held is not None:
        judged = held.examples(table, len(said.rows), examples.classes or None)
    else:
        examples, judged = (examples, None) if dev is False else split(examples, recipe.dev_share)  # type: ignore
    return Learnt("", said.data(table), examples, judged)


def _encoder(base: Any, said: Said, seed: int) -> ArrayEncoder:
    """The encoder to train."""
    shape = said.rows.shape[1:]
    if isinstance(base, ArrayEncoder):
        encoder = base
    elif isinstance(base, nn.Module):
        encoder = ArrayEncoder(base, shape)
    elif base is None or is_built_in(str(base)):
        text = str(base) if base is not None else "conv" if len(shape) in (2, 3) else "mlp"
        module = built_in(text, said.rows, seed)
        encoder = ArrayEncoder(module, shape, module.head.similarity if module.head else "cosine")
    elif Path(base).is_dir():
        encoder = ArrayEncoder.load(base)
    else:
        name = str(base).partition("(")[0]
        raise UserError(
            f"there is no base {str(base)!r} for arrays{did_you_mean(name, BUILT_IN)}; give an nn.Module, "
            f"{', '.join(BUILT_IN)} with settings, or the folder of a model of arrays"
        )
    if encoder.shape != shape:
        raise UserError(f"the base reads rows of shape {list(encoder.shape)}, and the array's are {list(shape)}")
    return encoder


def _planned(each: Learnt, given: Recipe, encoder: ArrayEncoder) -> Plan:
    """The plan for arrays: that of transformers, with larger steps and more of them."""
    rows = len(each.training)
    chosen: dict[str, Any] = {"base": encoder.name}
    if given.per_device_train_batch_size is None:
        chosen["batch_size"] = max(8, min(_BATCH, 2 ** max(3, (rows // 16).bit_length() - 1)))
    if given.num_train_epochs is None:
        size = given.per_device_train_batch_size or chosen["batch_size"]
        chosen["epochs"] = max(1, min(_EPOCHS, -(-_STEPS // max(1, rows // size))))
    if given.learning_rate is None:
        chosen["lr"] = _RATE
    if given.interpolate is None:
        chosen["interpolate"] = False  # a new module's weights are no place to go back to
    made = plan(each.training.supervision, rows, given.with_settings(chosen), static=False)
    numbers = ", ".join(f"{name} {chosen[name]}" for name in ("batch_size", "epochs", "lr") if name in chosen)
    reasons = [each.source.why, *made.reasons, *([f"for {rows:,} rows: {numbers}"] if numbers else [])]
    return with_similarity(replace(made, reasons=tuple(reasons)), of_head(encoder))
