"""From a path, a data set or rows in memory to :class:`Examples`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from similis.data.columns import note_classes
from similis.data.dataset import Dataset, read
from similis.errors import UserError
from similis.training.rows.examples import Examples, TextTable
from similis.training.rows.unlabeled import pairs_of

#: Labels of pairs by name: how much the two texts belong together.
_SAME = ("1", "true", "yes", "same", "entailment", "paraphrase", "duplicate")
_DIFFERENT = ("0", "-1", "false", "no", "different", "contradiction")
_NEITHER = ("not_paraphrase", "not_duplicate", "not_entailment")
_GRADES = {**dict.fromkeys(_SAME, 1.0), **dict.fromkeys((*_DIFFERENT, *_NEITHER), 0.0), "neutral": 0.5}


def dataset_of(data: Any, *, max_bad: float = 0.01) -> Dataset:
    """The data set a user gave: a path, a :class:`Dataset`, columns by name, tuples of a row, or texts.

    Raises:
        UserError: it is none of these, or the file cannot be read.
    """
    if isinstance(data, Dataset):
        return data
    if isinstance(data, str | Path):
        return read(data, max_bad=max_bad)
    if isinstance(data, Mapping):
        return _from_columns({str(name): list(values) for name, values in data.items()})
    if isinstance(data, Sequence) and len(data):
        return _from_columns(_columns(data))
    raise UserError(
        f"{type(data).__name__} is no training data; give a path, a Dataset, a mapping of columns, "
        "a list of (anchor, positive) rows, or a list of texts"
    )


def _columns(rows: Sequence[Any]) -> dict[str, list[Any]]:
    first = rows[0]
    if isinstance(first, str):
        return {"text": list(rows)}
    if isinstance(first, Mapping):
        return {str(name): [row[name] for row in rows] for name in first}
    if not isinstance(first, Sequence) or len(first) < 2 or any(len(row) != len(first) for row in rows):
        raise UserError("rows in memory must be texts, mappings of one shape, or tuples of one length (at least 2)")
    columns = [list(column) for column in zip(*rows, strict=True)]
    if all(isinstance(value, str) for value in first):
        if len(columns) == 2:
            return {"anchor": columns[0], "positive": columns[1]}
        return {"anchor": columns[0], "positive": columns[1], "negatives": [list(row[2:]) for row in rows]}
    if len(columns) == 3 and isinstance(first[1], str):
        return {"sentence1": columns[0], "sentence2": columns[1], "score": columns[2]}
    if len(columns) == 2:
        return {"text": columns[0], "label": columns[1]}
    raise UserError(f"a row such as {tuple(first)!r} is not (text, text), (text, text, score) or (text, label)")


def _from_columns(columns: dict[str, list[Any]]) -> Dataset:
    kinds = {
        "triplets": {"anchor", "positive", "negatives"},
        "pairs": {"anchor", "positive"},
        "scored_pairs": {"sentence1", "sentence2", "score"},
        "labeled_pairs": {"sentence1", "sentence2", "label"},
        "labels": {"text", "label"},
        "texts": {"text"},
    }
    for supervision, names in kinds.items():
        if names <= set(columns):
            if len(columns[next(iter(names))]) == 1:
                raise UserError("one row is no training data; give at least two")
            if supervision == "pairs":
                note_classes("rows in memory", "the second column", columns["positive"])
            return Dataset(Path("rows in memory"), supervision, f"columns {', '.join(sorted(names))}", columns)
    expected = "; ".join(", ".join(sorted(names)) for names in kinds.values())
    raise UserError(f"columns {', '.join(columns)} carry no supervision; expected one of: {expected}")


def examples_of(
    data: Dataset,
    table: TextTable,
    classes: Sequence[Any] | None = None,
    *,
    pairs: str = "leading",
    seed: int = 0,
) -> Examples:
    """The rows of a data set as codes; texts go into ``table``.

    Args:
        classes: class names numbered by an earlier set, so that train and dev agree.
        pairs: what pairs are made of texts alone, see :mod:`similis.training.rows.unlabeled`.
        seed: of their drawing.

    Raises:
        UserError: labels of pairs that say neither same nor different.
    """
    if data.supervision in ("pairs", "retrieval", "triplets"):
        return _pairs(data, table)
    if data.supervision == "labels":
        return _labels(data, table, classes)
    if data.supervision in ("scored_pairs", "labeled_pairs"):
        return _graded(data, table)
    anchors, rest = pairs_of(data, pairs, seed)
    return Examples("pairs", table, table.add(anchors), table.add(rest))


def _pairs(data: Dataset, table: TextTable) -> Examples:
    queries, keys = table.add(data.column("anchor")), table.add(data.column("positive"))
    if data.supervision != "triplets":
        return Examples("pairs", table, queries, keys)
    given = [[each] if isinstance(each, str) else each for each in data.column("negatives")]
    most = max(len(each) for each in given)
    negatives = np.full((len(given), most), -1, np.int64)
    for row, each in enumerate(given):
        negatives[row, : len(each)] = table.add(each)
    return Examples("triplets", table, queries, keys, negatives)


def _labels(data: Dataset, table: TextTable, classes: Sequence[Any] | None) -> Examples:
    names = data.column("label")
    known = list(classes) if classes is not None else sorted(set(names), key=str)
    numbers = {name: number for number, name in enumerate(known)}
    for name in names:  # classes that only dev has
        numbers.setdefault(name, len(numbers))
    labels = np.fromiter((numbers[name] for name in names), np.int64, len(names))
    return Examples("labels", table, table.add(data.column("text")), labels=labels, classes=tuple(numbers))


def _graded(data: Dataset, table: TextTable) -> Examples:
    first, second = table.add(data.column("sentence1")), table.add(data.column("sentence2"))
    if data.supervision == "scored_pairs":
        grades = np.asarray(data.column("score"), np.float64)
        low, high = min(0.0, grades.min()), grades.max()
        grades = grades if low == 0 and high <= 1 else (grades - low) / (high - low)
        return Examples("scored", table, first, second, scores=grades.astype(np.float32))
    labels = [str(label).strip().lower() for label in data.column("label")]
    unknown = sorted(set(labels) - set(_GRADES))
    if unknown:
        raise UserError(
            f"{data.path}: label {unknown[0]!r} of a pair says neither same nor different; write 1 or 0, "
            "entailment, neutral or contradiction, or a score in a column called score"
        )
    graded = np.array([_GRADES[label] for label in labels], np.float32)
    # three-way labels are an order, not two classes
    kind = "labeled_pairs" if set(np.unique(graded)) <= {0.0, 1.0} else "scored"
    return Examples(kind, table, first, second, scores=graded)
