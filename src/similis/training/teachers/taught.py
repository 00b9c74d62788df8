"""Examples whose targets a teacher gives: scores of a batch's matrix, scores of lists, or vectors of texts."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from similis.errors import UserError
from similis.progress import note
from similis.relation import Relation
from similis.similarity import Similarity, build
from similis.training.negatives import ByWords, Searching, negatives
from similis.training.recipe import Recipe
from similis.training.rows.examples import Batch, Examples, Integers
from similis.training.rows.lists import Listed
from similis.training.teachers.teaching import Teacher, Teachers

Floats = NDArray[np.float32]

#: Where the keys that a teacher scores beside a pair's own come from, if the data has none.
_NEGATIVES = "bm25(count=4)"


@dataclass(frozen=True, eq=False)
class Matrix(Examples):
    """Examples of which every pair in the batch has the mean score of teachers that embed texts.

    Attributes:
        sides: vectors of the teachers as queries and as documents, each ``[T', d]``.
        place: row of each text of the table in these vectors, ``[T]``.
        similarity: the teachers'.
        asked: who was asked, as fingerprints.
    """

    sides: tuple[tuple[Floats, Floats], ...] = ()
    place: Integers = field(default_factory=lambda: np.zeros(0, np.int64))
    similarity: Similarity | None = None
    asked: str = ""

    @property
    def learns(self) -> str:
        return "teacher"

    def batch(self, rows: Integers) -> Batch:
        batch = super().batch(rows)
        keys = batch.queries if batch.keys is None else batch.keys
        if batch.relation.layout == "list":
            relation = Relation.teacher(self._scores(batch.queries, keys, paired=True).unsqueeze(0), layout="list")
            return replace(batch, relation=relation)
        known = None if batch.keys is not None else ~torch.eye(len(rows), dtype=torch.bool)
        relation = Relation.teacher(self._scores(batch.queries, keys), known)
        samples = torch.from_numpy(self.samples[rows])
        return replace(batch, relation=replace(relation, own=batch.relation.own, samples=samples))

    def _scores(self, queries: Integers, keys: Integers, paired: bool = False) -> torch.Tensor:
        """Mean scores of texts by code: ``[n, m]``, or ``[n]`` of query i with key i."""
        assert self.similarity is not None
        score = self.similarity.paired if paired else self.similarity
        own, other = self.place[queries], self.place[keys]
        found = [score(torch.from_numpy(q[own]), torch.from_numpy(k[other])) for q, k in self.sides]
        return torch.stack(found).mean(0)


@dataclass(frozen=True, eq=False)
class Embedded(Examples):
    """Examples of which every text has the vector that the student is to give it.

    Attributes:
        targets: ``[T', d]``, in the student's dimension after :meth:`reduced`.
        place: row of each text of the table among them, ``[T]``.
        asked: who was asked, as fingerprints.
    """

    targets: Floats = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    place: Integers = field(default_factory=lambda: np.zeros(0, np.int64))
    asked: str = ""

    @property
    def learns(self) -> str:
        return "pairs"

    def batch(self, rows: Integers) -> Batch:
        codes = self.subset(rows).text_codes()
        return Batch(codes, None, Relation.pairs(len(codes)), torch.from_numpy(self.targets[self.place[codes]]))

    def reduced(self, dimension: int) -> Embedded:
        """Targets of fewer coordinates: the principal ones of these texts, scaled to the length they had.

        Raises:
            UserError: the student's vectors have more coordinates than the teacher's.
        """
        if dimension > self.targets.shape[1]:
            raise UserError(
                f"the student's vectors have {dimension} coordinates and the teacher's {self.targets.shape[1]}: "
                "set dimension to at most the teacher's, or learn its scores instead (distill_kl)"
            )
        if dimension == self.targets.shape[1]:
            return self
        second = self.targets.T.astype(np.float64) @ self.targets
        main = np.linalg.eigh(second)[1][:, ::-1][:, :dimension]
        short = self.targets @ main.astype(np.float32)
        lengths = [np.linalg.norm(each, axis=1, keepdims=True) for each in (self.targets, short)]
        return replace(self, targets=short * (lengths[0] / np.maximum(lengths[1], 1e-12)))


def taught(
    examples: Examples, documents: Integers, recipe: Recipe, teachers: Teachers, family: str
) -> tuple[Examples, Recipe]:
    """Examples with what the teachers say of them, and the recipe with an objective that can learn it.

    Teachers that embed texts score every pair of a batch; others (cross-encoders), and every teacher of a
    cross-encoder, score each row's own list: its positive and its negatives. An objective such as ``"attract,
    similarity=match(squared=1, cosine=0)"`` learns the teacher's vectors themselves.

    Args:
        examples: the rows, of any supervision.
        documents: text codes of the corpus.
        recipe: what was given.
        teachers: who is asked.
        family: of the student.

    Raises:
        UserError: labelled texts with a teacher that reads pairs, or negatives that would need the student.
    """
    if recipe.objective is not None and str(recipe.objective).startswith("attract"):
        return _embedded(examples, teachers), recipe
    if teachers.embed and family != "cross":
        made: Examples = _matrix(examples, documents if recipe.negatives else documents[:0], teachers)
    else:
        made, recipe = _lists(examples, documents, recipe, teachers)
    if recipe.objective is None:
        text = _objective(made, teachers, family)
        recipe = recipe.with_settings({"objective": text})
        note(f"objective {text}: it learns what {teachers} says")
    return made, recipe


def _objective(made: Examples, teachers: Teachers, family: str) -> str:
    """Cosines are sharpened alike; raw scores of other models are log-odds already. Of single pairs, their order."""
    if made.scores is not None:
        return "mse" if isinstance(made, Matrix) else f"cosent(temperature={1.0 if family == 'cross' else 0.05})"
    own = 1.0 if family == "cross" else 0.05
    theirs = 0.05 if all(t.embeds and t.model.similarity_name == "cosine" for t in teachers.each) else 1.0
    return f"distill_kl(temperature={own}, teacher_temperature={theirs})"


def _matrix(examples: Examples, documents: Integers, teachers: Teachers) -> Matrix:
    codes, place = _places(examples, documents)
    texts = [examples.table.texts[code] for code in codes]
    sides = tuple((teacher.vectors(texts, True), teacher.vectors(texts, False)) for teacher in teachers.each)
    similarity = build(teachers.each[0].model.similarity_name)
    asked = teachers.fingerprint
    return Matrix(**_same(examples), sides=sides, place=place, similarity=similarity, asked=asked)


def _embedded(examples: Examples, teachers: Teachers) -> Embedded:
    if len(teachers.each) != 1 or not teachers.each[0].embeds:
        raise UserError(f"attract learns one model's vectors, and {teachers} gives none or several a text")
    teacher: Teacher = teachers.each[0]
    codes, place = _places(examples, np.zeros(0, np.int64))
    texts = [examples.table.texts[code] for code in codes]
    targets = teacher.vectors(texts, False)
    return Embedded(**_same(examples), targets=targets, place=place, asked=teachers.fingerprint)


def _lists(examples: Examples, documents: Integers, recipe: Recipe, teachers: Teachers) -> tuple[Listed, Recipe]:
    if examples.keys is None:
        raise UserError(
            f"{teachers} scores pairs of texts, and labelled texts are none: give pairs or plain texts, or a teacher "
            "that embeds texts"
        )
    if examples.scores is None and (examples.negatives is None or recipe.negatives is not None):
        recipe = recipe.with_settings({"negatives": recipe.negatives or _NEGATIVES})
        source = negatives(recipe.negatives or _NEGATIVES)
        if not isinstance(source, ByWords):
            raise UserError(f"a teacher scores lists that are made once: negatives must be {_NEGATIVES} or the like")
        searching = Searching(source, examples, documents, recipe.seed)
        examples = searching.search(0, _unasked, build("dot"))
    assert examples.keys is not None
    made = Listed.of(examples)
    keys = made.lists(np.arange(len(made))) if made.scores is None else examples.keys[:, None]
    row, column = np.nonzero(keys >= 0)
    texts = examples.table.texts
    codes = zip(examples.queries[row].tolist(), keys[row, column].tolist(), strict=True)
    said = np.zeros(keys.shape, np.float32)
    said[row, column] = teachers.scores([(texts[query], texts[key]) for query, key in codes])
    return replace(made, taught=said, asked=teachers.fingerprint), recipe


def _unasked(*_: Any) -> Any:
    raise AssertionError("negatives by words ask no model")


def _places(examples: Examples, further: Integers) -> tuple[Integers, Integers]:
    """Codes of the texts the rows use and of further ones, and the place of every code among them (-1: not there)."""
    codes = np.union1d(examples.text_codes(), further)
    place = np.full(len(examples.table), -1, np.int64)
    place[codes] = np.arange(len(codes))
    return codes, place


def _same(examples: Examples) -> dict[str, Any]:
    return {each.name: getattr(examples, each.name) for each in fields(Examples)}
