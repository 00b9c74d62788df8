"""The data of a comparison: what is learnt from, what candidates are chosen by, and what they are judged on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from similis.data.corpora import read_corpus
from similis.data.dataset import Dataset, read
from similis.data.leakage import Leakage, leakage
from similis.data.locate import locate
from similis.errors import UserError
from similis.training.rows.columns import dataset_of, examples_of
from similis.training.rows.examples import TextTable
from similis.training.rows.splitting import split
from similis.training.rows.unlabeled import pairs_of

#: Shares held out by hash where the data bring no split of their own.
TEST_SHARE, DEV_SHARE = 0.2, 0.1
FEWEST_TRAIN, FEWEST_JUDGED = 20, 10


@dataclass(frozen=True, eq=False)
class Material:
    """Three parts of the data that share no query.

    Attributes:
        path: where it was read.
        supervision: as ``Relation`` names it: pairs, triplets, labels, scored, labeled_pairs.
        train, dev, test: rows to learn from, to choose by, to judge on.
        corpus: documents to be searched, ids and texts; None where the data bring none.
        why: how the parts were made, in a sentence.
        leak: what of the test stood in the training rows.
        removed: training rows taken out for it.
        classes: number of classes, 0 where there are no labels.
    """

    path: str
    supervision: str
    train: Dataset
    dev: Dataset
    test: Dataset
    corpus: tuple[list[str], list[str]] | None
    why: str
    leak: Leakage
    removed: int
    classes: int = 0

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the three parts and the corpus."""
        digest = hashlib.sha256()
        for part in (self.train, self.dev, self.test):
            digest.update(part.fingerprint.encode())
        for text in self.corpus[1] if self.corpus is not None else ():
            digest.update(b"\n" + text.encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    @property
    def rows(self) -> dict[str, int]:
        return {"train": len(self.train), "dev": len(self.dev), "test": len(self.test)}

    def leakage_as_dict(self) -> dict[str, Any]:
        """What the report says of leakage."""
        said = self.leak.sentence()
        if self.removed:
            said += f"; {self.removed:,} training rows were taken out for it before anything was learnt"
        return {**self.leak.as_dict(), "removed": True, "removed_rows": self.removed, "sentence": said}


def material(data: Any, dev: Any = None, test: Any = None, *, max_bad: float = 0.01) -> Material:
    """Read data and divide them into rows to learn from, to choose by and to judge on.

    Splits of the data are kept. A missing one is held out by a hash of the texts, the test first, before anything
    else is done. Near copies of test texts are then taken out of train and dev, and those of dev out of train.

    Raises:
        UserError: unreadable data, parts of different supervision, or too few rows.
    """
    whole = _as_pairs(_first(data, max_bad))
    reasons = [whole.why]
    parts = {
        "test": _part(data, test, "test", whole, max_bad),
        "dev": _part(data, dev, "dev", whole, max_bad),
    }
    train = whole
    if train.split == "test":  # only judged queries are there: all three parts come from them
        parts = {"test": None, "dev": None}
    for name, share in (("test", TEST_SHARE), ("dev", DEV_SHARE)):
        if parts[name] is None:
            train, parts[name] = _held_out(train, share, name)
            reasons.append(f"there is no {name} split: {len(parts[name] or ()):,} rows were held out by a hash")
    held_dev, held_test = parts["dev"], parts["test"]
    assert held_dev is not None
    assert held_test is not None
    for part in (held_dev, held_test):
        if set(part.rows) != set(train.rows) and part.supervision != train.supervision:
            raise UserError(
                f"{part.path} is supervised by {part.supervision}, the training data by {train.supervision}"
            )
    leak = leakage(train, held_test)
    held_dev = _without(held_dev, leakage(held_dev, held_test).train)
    kept = _without(train, tuple({*leak.train, *leakage(train, held_dev).train}))
    _refuse_few(kept, held_dev, held_test)
    examples = examples_of(kept, TextTable())
    corpus = _corpus(train, max_bad)
    return Material(
        str(whole.path),
        examples.supervision,
        kept,
        held_dev,
        held_test,
        corpus,
        "; ".join(reasons),
        leak,
        len(train) - len(kept),
        len(examples.classes),
    )


def _first(data: Any, max_bad: float) -> Dataset:
    """The training split where there is one, else the only one, else the test split of judged queries."""
    if not isinstance(data, str | Path):
        return dataset_of(data, max_bad=max_bad)
    found = locate(Path(data)).splits
    name = next((name for name in ("train", "", "test", "dev") if name in found), None)
    return read(data, split=name or None, max_bad=max_bad)


def _part(data: Any, given: Any, name: str, whole: Dataset, max_bad: float) -> Dataset | None:
    """A split that was given or that the data have."""
    if given is not None:
        return _as_pairs(dataset_of(given, max_bad=max_bad))
    if name in whole.splits and name != whole.split and isinstance(data, str | Path):
        return _as_pairs(read(data, split=name, max_bad=max_bad))
    return None


def _as_pairs(data: Dataset) -> Dataset:
    """Documents without supervision as pairs: title or first sentence against the rest."""
    if data.supervision != "texts":
        return data
    anchors, rest = pairs_of(data)
    why = f"{data.why}; without supervision each title or first sentence is taken as a query for the rest of its text"
    return replace(data, supervision="pairs", rows={"anchor": anchors, "positive": rest}, why=why)


def _held_out(data: Dataset, share: float, name: str) -> tuple[Dataset, Dataset]:
    """The rows that stay and those held out, near-identical queries on the same side."""
    _, held = split(examples_of(data, TextTable()), share)
    if held is None:
        raise UserError(
            f"{data.path} has {len(data)} rows, too few to hold out a {name} part; give at least 100 rows, or --{name}"
        )
    taken = set(held.samples.tolist())
    stay = [row for row in range(len(data)) if row not in taken]
    return _rows(data, stay), _rows(data, sorted(taken))


def _without(data: Dataset, rows: tuple[int, ...]) -> Dataset:
    mask = np.ones(len(data), bool)
    mask[list(rows)] = False
    return data if mask.all() else _rows(data, np.flatnonzero(mask).tolist())


def _rows(data: Dataset, rows: list[int]) -> Dataset:
    return replace(data, rows={name: [values[row] for row in rows] for name, values in data.rows.items()})


def _refuse_few(train: Dataset, dev: Dataset, test: Dataset) -> None:
    for name, part, least in (
        ("train", train, FEWEST_TRAIN),
        ("dev", dev, FEWEST_JUDGED),
        ("test", test, FEWEST_JUDGED),
    ):
        if len(part) < least:
            raise UserError(
                f"{part.path}: the {name} part has {len(part)} rows, too few to compare by; it needs at least {least}"
            )


def _corpus(train: Dataset, max_bad: float) -> tuple[list[str], list[str]] | None:
    if train.supervision != "retrieval":
        return None
    found = read_corpus(train.path, max_bad=max_bad, keep_empty=True)
    return found.ids, found.texts
