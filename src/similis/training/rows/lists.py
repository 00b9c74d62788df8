"""Rows read as lists: each query with its own few keys, for models that read pairs and for teachers that score them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from similis.relation import Relation
from similis.training.recipe import Recipe
from similis.training.rows.examples import Batch, Examples, Integers


@dataclass(frozen=True, eq=False)
class Listed(Examples):
    """Examples whose batches are lists: of a pair its positive first, then its own negatives, then some of the batch.

    Scored and labelled pairs are one list, as they are. A labelled text is read with texts of the batch, one of its
    own class first. Which texts of the batch are taken depends on the rows alone, so a resumed run takes the same.

    Attributes:
        sampled: keys of other rows of the batch that each list ends in.
        seed: of what is sampled.
        taught: a teacher's scores ``[n, 1 + r]`` of the row's own keys, which then are what is learnt.
        asked: who gave them, as fingerprints.
    """

    sampled: int = 0
    seed: int = 0
    taught: NDArray[np.float32] | None = None
    asked: str = ""

    @classmethod
    def of(cls, examples: Examples, **further: Any) -> Listed:
        """The same examples, read as lists."""
        return cls(**{f.name: getattr(examples, f.name) for f in fields(Examples)}, **further)

    def __post_init__(self) -> None:
        super().__post_init__()
        most = len(self.table) + 1
        positives = np.zeros(0, np.int64)
        if self.keys is not None and self.scores is None:
            positives = np.unique(self._folds(self.queries) * most + self._folds(self.keys))
        object.__setattr__(self, "_positives", positives)

    @property
    def learns(self) -> str:
        return self.supervision if self.taught is None else "teacher"

    def subset(self, rows: Integers) -> Listed:
        cut = super().subset(rows)
        assert isinstance(cut, Listed)
        return replace(cut, taught=None if self.taught is None else self.taught[rows])

    def batch(self, rows: Integers) -> Batch:
        """The texts and the relation of some rows: keys ``[n, L]``, -1 where a list is shorter; scored ones ``[n]``."""
        if self.labels is not None:
            return self._of_labels(rows)
        if self.scores is not None or self.keys is None:
            return self._scored(rows)
        own = self.lists(rows)
        if self.taught is not None:
            relation = Relation.teacher(torch.from_numpy(self.taught[rows]), torch.from_numpy(own >= 0), layout="lists")
            return Batch(self.queries[rows], own, replace(relation, samples=self._samples(rows)))
        keys = np.concatenate([own, self._sampled(rows)], 1)
        keys = keys[:, (keys >= 0).any(0)]
        grade = np.zeros(keys.shape, np.float32)
        grade[:, 0] = 1
        return self._graded(rows, keys, grade)

    def lists(self, rows: Integers) -> Integers:
        """Each row's own keys ``[n, 1 + r]``: its positive, then its negatives but for those that may be positives."""
        assert self.keys is not None
        if self.negatives is None:
            return self.keys[rows][:, None]
        given = self.negatives[rows]
        given = np.where(self._may_belong(self.queries[rows][:, None], given), -1, given)
        return np.concatenate([self.keys[rows][:, None], given], 1)

    def _scored(self, rows: Integers) -> Batch:
        if self.taught is None:
            return super().batch(rows)
        assert self.keys is not None
        relation = Relation.teacher(torch.from_numpy(self.taught[rows, 0]).unsqueeze(0), layout="list")
        return Batch(self.queries[rows], self.keys[rows], relation)

    def _of_labels(self, rows: Integers) -> Batch:
        assert self.labels is not None
        labels = self.labels[rows]
        same = labels[:, None] == labels
        order = self._shuffled(rows, len(rows))
        order[np.eye(len(rows), dtype=bool)] = 2.0
        alike = np.where(same, order, 2.0)
        kin = np.flatnonzero(alike.min(1) < 2.0)
        order[kin, alike[kin].argmin(1)] -= 1.0
        places = order.argsort(1)[:, : min(1 + self.sampled, len(rows) - 1)]
        keys = np.where(np.take_along_axis(order, places, 1) < 2.0, self.queries[rows][places], -1)
        return self._graded(rows, keys, np.take_along_axis(same, places, 1).astype(np.float32))

    def _graded(self, rows: Integers, keys: Integers, grade: NDArray[np.float32]) -> Batch:
        relation = Relation.graded(torch.from_numpy(grade), torch.from_numpy(keys >= 0), layout="lists")
        relation = replace(relation, supervision=self.supervision, samples=self._samples(rows))
        return Batch(self.queries[rows], keys, relation)

    def _sampled(self, rows: Integers) -> Integers:
        """Positives of other rows of the batch that cannot belong to the query, ``[n, sampled]``."""
        assert self.keys is not None
        keys = np.broadcast_to(self.keys[rows], (len(rows), len(rows)))
        order = np.where(self._may_belong(self.queries[rows][:, None], keys), 2.0, self._shuffled(rows, len(rows)))
        places = order.argsort(1)[:, : self.sampled]
        return np.where(np.take_along_axis(order, places, 1) < 2.0, np.take_along_axis(keys, places, 1), -1)

    def _shuffled(self, rows: Integers, count: int) -> NDArray[np.float64]:
        generator = np.random.default_rng([self.seed, *self.samples[rows[:4]].tolist()])
        return generator.random((len(rows), count))

    def _samples(self, rows: Integers) -> torch.Tensor:
        return torch.from_numpy(self.samples[rows])

    def _folds(self, codes: Integers) -> Integers:
        folded: Integers = self._folded  # type: ignore[attr-defined]
        return folded[codes]

    def _may_belong(self, queries: Integers, keys: Integers) -> NDArray[np.bool_]:
        """Where a key is a positive of the query anywhere in the data, or the query itself; shapes broadcast."""
        own, other = self._folds(queries), self._folds(keys)
        positives: Integers = self._positives  # type: ignore[attr-defined]
        pairs = own * (len(self.table) + 1) + other
        place = np.minimum(np.searchsorted(positives, pairs), len(positives) - 1)
        return np.asarray((positives[place] == pairs) | (own == other))


def as_lists(examples: Examples, recipe: Recipe) -> Listed:
    """Examples as a model that reads pairs learns from them."""
    if isinstance(examples, Listed):
        return examples
    return Listed.of(examples, sampled=recipe.batch_negatives, seed=recipe.seed)
