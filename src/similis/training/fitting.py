"""``fit``: from a file of examples to a trained encoder."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from torch import Tensor, nn

from similis.data.corpora import read_corpus, retrieval
from similis.data.dataset import Dataset
from similis.encoders.arrays.rows import is_rows, reads_rows
from similis.encoders.base import Encoder, TextEncoder
from similis.encoders.creating import create
from similis.encoders.folder import usable
from similis.encoders.static.encoder import StaticEncoder
from similis.errors import UserError
from similis.objective import Objective
from similis.progress import note
from similis.registry import find
from similis.training.finishing import Ready, checkpoints_of, finished, told_of
from similis.training.fitted import Fitted
from similis.training.negatives.searching import searching_of
from similis.training.negatives.sides import fixes_documents, only_queries_learn
from similis.training.planning import Plan
from similis.training.recipe import Recipe
from similis.training.rows.examples import Integers, TextTable
from similis.training.rows.unlabeled import whole_texts
from similis.training.running.loop import Loop
from similis.training.sets import (
    dev_of,
    family_of,
    judge_of,
    learnt,
    maker_of,
    objective_for,
    part_of,
    planned,
    refuse_pairs,
    sources_of,
    static_base,
    taught_sets,
)
from similis.training.trainees.base import Trainee
from similis.training.trainees.families import searched_by
from similis.training.trainees.static import StaticTrainee, new_static, old_static


def fit(
    data: Any,
    *,
    objective: str | Objective | Mapping[str, str | Objective] | None = None,
    base: str | Path | nn.Module | None = None,
    output: str | Path | None = None,
    dev: Any = None,
    corpus: str | Path | Iterable[str] | None = None,
    teacher: Any = None,
    recipe: Recipe | str | Path | None = None,
    resume: bool = True,
    max_bad: float = 0.01,
    **settings: Any,
) -> Encoder:
    """Learn a similarity from examples, and return the encoder.

    Args:
        data: a path, a :class:`~similis.data.dataset.Dataset`, a mapping of columns, rows such as
            ``[(anchor, positive), ...]``, ``[(text, text, score), ...]`` or ``[(text, label), ...]``, or texts. Several
            data sets at once: a mapping of names to paths or data sets; the first is the main one. Or an array of
            rows ``[n, ...]`` with ``labels``, ``pairs`` or ``triplets``: see
            :func:`similis.training.arrays.ready_rows`, which has all that differs then.
        objective: an :class:`Objective` or its text; None: chosen by the supervision. Of several data sets: a mapping
            of their names, or the first one's.
        base: ``static`` (the default: from nothing), ``static:PATH`` (from a transformer's token vectors), a model
            folder, or a name on the hub.
        output: the model's folder. Checkpoints are kept beside it in ``OUTPUT.checkpoints`` until the run ends.
        dev: held-out data, as ``data``; None: the data's own dev split, or a part split off by hash; False: none.
        corpus: the documents that will be searched, texts or a file of them, where they are known: a static encoder
            takes its words and their first vectors from them and, where the objective is left to the plan, learns
            from passages of them; dev queries are searched among them. They bring no supervision. Of a BEIR folder
            the corpus is read where this is None.
        teacher: a model, a model folder or name, or a list of them, whose scores are learnt instead of the data's own
            supervision (see :mod:`similis.training.teachers.taught`): of every pair in a batch where it embeds texts,
            else of each row's positive and negatives.
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
        corpus=corpus,
        teacher=teacher,
        recipe=recipe,
        resume=resume,
        max_bad=max_bad,
        **settings,
    ).encoder


def train(data: Any, **options: Any) -> Fitted:
    """As :func:`fit`, and returns the whole story."""
    return finished(ready(data, **options))


def ready(
    data: Any,
    *,
    objective: str | Objective | Mapping[str, str | Objective] | None = None,
    base: str | Path | nn.Module | None = None,
    output: str | Path | None = None,
    dev: Any = None,
    corpus: str | Path | Iterable[str] | None = None,
    teacher: Any = None,
    recipe: Recipe | str | Path | None = None,
    resume: bool = True,
    max_bad: float = 0.01,
    **settings: Any,
) -> Ready:
    """As :func:`fit`, up to where the first step would be."""
    if is_rows(data) or isinstance(base, nn.Module) or reads_rows(base):
        if corpus is not None or teacher is not None:
            raise UserError("corpus and teacher are of texts, and the data are an array: leave them out")
        from similis.training.arrays import ready_rows

        named = {"objective": objective, "base": base, "output": output, "dev": dev, "recipe": recipe, "resume": resume}
        return ready_rows(data, **named, **settings)
    started = time.monotonic()
    folder = None if output is None else usable(Path(output))
    first = objective.get(next(iter(data)), None) if isinstance(objective, Mapping) else objective
    given = _recipe(recipe, {"base": None if base is None else str(base), **settings}, first)
    table = TextTable()
    sets = [
        learnt(name, source, table, dev_of(dev, name, number), given, max_bad)
        for number, (name, source) in enumerate(sources_of(data, max_bad=max_bad, replay=given.replay).items())
    ]
    main = sets[0]
    refuse_pairs(sets, given)
    documents = _documents(corpus, main.source, table, max_bad)
    # where queries are parts of the documents, each document is found by its own words
    searched = documents[:0] if main.source.supervision == "texts" else documents
    known = np.unique(np.concatenate([documents, *(each.training.text_codes() for each in sets)]))
    loaded = _loaded(given, table, known)
    if fixes_documents(given.negatives):
        loaded = only_queries_learn(loaded, given.peft)
    sets, given = taught_sets(sets, searched if corpus is None else documents, given, teacher, loaded)
    main = sets[0]
    plan_ = _with_data_reason(planned(main, given, loaded, len(documents)), main.source)
    made = [objective_for(each, sets, objective, plan_, given, loaded) for each in sets]
    for reason in plan_.reasons:
        note(reason)
    trainee = _trainee(loaded, plan_.recipe, table, known, made[0][0])
    start = trainee.encoder() if static_base(loaded) else None
    cross = family_of(loaded) == "cross"
    parts = [
        part_of(each, loss, sampler, trainee, plan_.recipe, cross)
        for each, (loss, sampler) in zip(sets, made, strict=True)
    ]
    judge = judge_of(sets, parts, trainee, searched, cross)
    further = _passages(trainee, plan_.recipe, table, documents)
    searching = searching_of(plan_.recipe, parts[0].examples, searched, str(main.source.path))
    checkpoints = None if folder is None else checkpoints_of(folder, plan_, sets, documents, resume)
    loop = Loop(trainee, parts, plan_.recipe, judge, checkpoints, further, searching)
    told = {**told_of(main.source), "documents": len(documents)}
    if len(sets) > 1:
        told["sets"] = {each.name: told_of(each.source) for each in sets}
    return Ready(loop, plan_, sets, start, told, started, folder)


def _recipe(recipe: Recipe | str | Path | None, settings: dict[str, Any], objective: str | Objective | None) -> Recipe:
    start = recipe if isinstance(recipe, Recipe) else Recipe() if recipe is None else Recipe.read(recipe)
    return start.with_settings({**settings, "objective": None if objective is None else str(objective)})


def _documents(
    corpus: str | Path | Iterable[str] | None, source: Dataset, table: TextTable, max_bad: float
) -> Integers:
    """Codes of the texts to be searched: what was given, a BEIR folder's whole corpus, or the texts learnt from."""
    if isinstance(corpus, str | Path):
        texts: Iterable[str] = read_corpus(corpus, max_bad=max_bad).texts
    elif corpus is not None:
        texts = corpus
    elif source.supervision == "retrieval":
        texts = retrieval(source.path, source.split, max_bad=max_bad).corpus.texts
    elif source.supervision == "texts":
        texts = whole_texts(source)
    else:
        return np.zeros(0, np.int64)
    return table.add(text for text in texts if text.strip())


def _with_data_reason(made: Plan, source: Dataset) -> Plan:
    if source.supervision != "texts":
        return replace(made, reasons=(source.why, *made.reasons))
    maker = maker_of(source, made.recipe)
    how = find("pairs", maker.partition("(")[0]).summary
    said = f"{source.why}; there is no supervision, so pairs are made by {maker}: {how}"
    return replace(made, recipe=made.recipe.with_settings({"pairs": maker}), reasons=(said, *made.reasons))


def _loaded(recipe: Recipe, table: TextTable, known: Integers) -> Encoder | None:
    """The encoder to start from; None for a static one from nothing."""
    if recipe.base in (None, "static"):
        return None
    assert recipe.base is not None
    return create(
        recipe.base, dimension=recipe.dimension, corpus_texts=(table.texts[c] for c in known), seed=recipe.seed
    )


def _trainee(
    encoder: Encoder | None, recipe: Recipe, table: TextTable, known: Integers, objective: Objective
) -> Trainee:
    if getattr(encoder, "family", None) == "cross":
        from similis.training.trainees.cross import CrossTrainee

        return CrossTrainee(cast(Any, encoder), table.texts, recipe, objective)
    similarity = searched_by(objective, encoder)
    if recipe.peft is not None and static_base(encoder):
        raise UserError("peft trains few parameters of a transformer, and the base is static: leave peft out")
    if encoder is None:
        return new_static(table.texts, known, recipe, similarity)
    assert isinstance(encoder, TextEncoder)
    encoder.similarity_name = similarity
    if isinstance(encoder, StaticEncoder):
        return old_static(encoder, table.texts, recipe)
    from similis.encoders.library.encoder import LibraryEncoder
    from similis.training.trainees.transformer import TransformerTrainee

    assert isinstance(encoder, LibraryEncoder)
    return TransformerTrainee(encoder, table.texts, recipe)


def _passages(
    trainee: Trainee, recipe: Recipe, table: TextTable, documents: Integers
) -> Callable[[int], Tensor] | None:
    """The loss of the corpus' own passages.

    Raises:
        UserError: it was asked for, and there is no corpus or no static model.
    """
    if not recipe.passages:
        return None
    if not isinstance(trainee, StaticTrainee) or not len(documents):
        raise UserError("passages are learnt by static models, from a corpus: give corpus, or leave passages out")
    documents = np.unique(documents)
    return trainee.passages(documents, table.folded[documents], recipe).loss
