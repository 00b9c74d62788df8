"""The data sets of a run: rows to train on and to judge by, and the objective of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from similis.data.dataset import Dataset, read
from similis.encoders.base import Encoder
from similis.encoders.static.encoder import StaticEncoder
from similis.errors import UserError
from similis.objective import Objective
from similis.progress import note
from similis.training.planning import Plan, plan, with_similarity
from similis.training.recipe import Recipe
from similis.training.rows.columns import dataset_of, examples_of
from similis.training.rows.examples import Examples, Integers, TextTable
from similis.training.rows.lists import as_lists
from similis.training.rows.splitting import split
from similis.training.rows.unlabeled import chosen_pairs
from similis.training.running.cross_dev import cross_dev_set
from similis.training.running.dev import DevSet, dev_set
from similis.training.running.mixing import MeanDev, Part
from similis.training.teachers.taught import Embedded, taught
from similis.training.teachers.teaching import Teachers
from similis.training.trainees.base import Trainee
from similis.training.trainees.families import cross_objective, objective_of, of_head

#: The name of the data that was learnt before.
REPLAY = "replay"


@dataclass(frozen=True, eq=False)
class Learnt:
    """One data set: its rows to train on, and those to judge by."""

    name: str
    source: Dataset
    training: Examples
    held: Examples | None


def sources_of(data: Any, *, max_bad: float, replay: str | None = None) -> dict[str, Dataset]:
    """The data sets a user gave, by name: one, or a mapping of names to paths or data sets; then what is replayed."""
    if isinstance(data, Mapping) and data and all(isinstance(v, str | Path | Dataset) for v in data.values()):
        found = {str(name): dataset_of(value, max_bad=max_bad) for name, value in data.items()}
    else:
        found = {"": dataset_of(data, max_bad=max_bad)}
    if replay is not None:
        if REPLAY in found:
            raise UserError(f"a data set is called {REPLAY!r} and replay is given too; give it another name")
        found[REPLAY] = dataset_of(replay, max_bad=max_bad)
    return found


def family_of(encoder: Encoder | None) -> str:
    """The family of the encoder to start from; None is a static one from nothing."""
    return getattr(encoder, "family", "dense")


def static_base(encoder: Encoder | None) -> bool:
    return encoder is None or isinstance(encoder, StaticEncoder)


def learnt(name: str, source: Dataset, table: TextTable, dev: Any, recipe: Recipe, max_bad: float) -> Learnt:
    pairs = maker_of(source, recipe)
    examples = examples_of(source, table, pairs=pairs, seed=recipe.seed)
    return Learnt(name, source, *_held_out(source, examples, dev, recipe, max_bad, pairs))


def maker_of(source: Dataset, recipe: Recipe) -> str:
    """What pairs are made of texts that have no supervision."""
    if recipe.pairs is not None or source.supervision != "texts":
        return recipe.pairs or "leading"
    return chosen_pairs(source, static=(recipe.base or "static").partition(":")[0] == "static")


def refuse_pairs(sets: Sequence[Learnt], recipe: Recipe) -> None:
    """Refuse makers of pairs where no data set is without supervision."""
    if recipe.pairs is not None and not any(each.source.supervision == "texts" for each in sets):
        main = sets[0].source
        raise UserError(
            f"pairs are made of texts without supervision, and {main.path} has {main.supervision}: leave pairs out"
        )


def dev_of(dev: Any, name: str, number: int) -> Any:
    """The dev data of one of several sets: by its name, or the first set's where one is given."""
    if isinstance(dev, Mapping) and name in dev:
        return dev[name]
    return dev if number == 0 or dev is False else None


def taught_sets(
    sets: Sequence[Learnt], documents: Integers, given: Recipe, teacher: Any, loaded: Encoder | None
) -> tuple[list[Learnt], Recipe]:
    """The data sets with what a teacher says of them, where there is one, and the recipe that learns it.

    Raises:
        UserError: as :func:`similis.training.teachers.taught.taught`.
    """
    chosen = given.teacher if teacher is None else teacher
    if chosen is None:
        return list(sets), given
    teachers, family = Teachers.of(chosen), family_of(loaded)
    pools = [documents if each is sets[0] else documents[:0] for each in sets]
    found = [taught(each.training, pool, given, teachers, family) for each, pool in zip(sets, pools, strict=True)]
    said = [replace(each, training=training) for each, (training, _) in zip(sets, found, strict=True)]
    return said, found[0][1].with_settings({"teacher": str(teachers)})


def planned(each: Learnt, given: Recipe, loaded: Encoder | None, documents: int) -> Plan:
    family, static = family_of(loaded), static_base(loaded)
    supervision, rows = each.training.supervision, len(each.training)
    unlabeled = each.source.supervision == "texts"
    made = plan(supervision, rows, given, static=static, documents=documents, family=family, unlabeled=unlabeled)
    return with_similarity(made, of_head(loaded))


def objective_for(
    each: Learnt,
    sets: Sequence[Learnt],
    objective: Any,
    first: Plan,
    given: Recipe,
    loaded: Encoder | None,
) -> tuple[Objective, str]:
    """The objective and the sampler of one data set: as given by name, else the plan for its supervision.

    Raises:
        UserError: the objective has no meaning for the supervision.
    """
    alike = each is sets[0] or (each.name == REPLAY and each.training.learns == sets[0].training.learns)
    wanted = objective.get(each.name) if isinstance(objective, Mapping) else objective if alike else None
    if wanted is None and given.teacher is not None:
        wanted = given.objective  # what a teacher says is learnt by one objective
    if isinstance(wanted, Objective):
        loss, sampler = wanted, first.recipe.sampler
    else:
        own = replace(given, objective=None if wanted is None else str(wanted))
        made = first if each is sets[0] else planned(each, own, loaded, 0)
        loss, sampler = objective_of(made.objective, family_of(loaded)), made.recipe.sampler
        if each is not sets[0]:
            note(f"{each.name}: objective {made.objective}, {len(each.training):,} rows")
    if family_of(loaded) == "cross":
        loss = cross_objective(loss)
    _check_accepts(loss, each.training.learns, each.source)
    assert sampler is not None
    return loss, sampler


def part_of(each: Learnt, loss: Objective, sampler: str, trainee: Trainee, recipe: Recipe, cross: bool) -> Part:
    training = as_lists(each.training, recipe) if cross else each.training
    if isinstance(training, Embedded):
        training = training.reduced(trainee.dimension)
    loss.prepare(dimension=trainee.dimension, classes=len(training.classes) or None, rows=len(each.source))
    share = recipe.replay_share if each.name == REPLAY else None
    return Part(each.name, training, loss, sampler, training.items(trainee.lengths), share)


def judge_of(
    sets: Sequence[Learnt], parts: Sequence[Part], trainee: Trainee, documents: Integers, cross: bool
) -> DevSet | None:
    """What the weights are chosen by: the held-out rows of every set that has some."""
    judged = cross_dev_set if cross else dev_set
    found = [
        judged(each.held, part.examples, trainee.dev_keys, documents if each is sets[0] else documents[:0])
        for each, part in zip(sets, parts, strict=True)
        if each.held is not None
    ]
    return None if not found else found[0] if len(found) == 1 else MeanDev(found)


def _held_out(
    source: Dataset, examples: Examples, dev: Any, recipe: Recipe, max_bad: float, pairs: str
) -> tuple[Examples, Examples | None]:
    """Rows to train on and rows to judge by."""
    if dev is False:
        return examples, None
    if dev is None and source.split == "train" and "dev" in source.splits:
        dev = read(source.path, split="dev", max_bad=max_bad)
    if dev is None:
        return split(examples, recipe.dev_share)
    given = dataset_of(dev, max_bad=max_bad)
    held = examples_of(given, examples.table, examples.classes or None, pairs=pairs, seed=recipe.seed)
    if (held.labels is None) != (examples.labels is None) or (held.keys is None) != (examples.keys is None):
        raise UserError(
            f"the dev data are supervised by {held.supervision}, the training data by {examples.supervision}"
        )
    return examples, held


def _check_accepts(objective: Objective, supervision: str, source: Dataset) -> None:
    if objective.accepts and supervision not in objective.accepts:
        raise UserError(
            f"objective {str(objective)!r} has no meaning for {supervision} ({source.path}): "
            f"it accepts {', '.join(objective.accepts)}; leave --objective out to have one chosen"
        )
