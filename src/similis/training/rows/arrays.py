"""Rows of an array in the place of texts: a table of them, and what a user says of them by their numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from similis.data.dataset import Dataset
from similis.encoders.arrays.rows import check_finite, floats, rows_of
from similis.errors import UserError
from similis.training.rows.array_files import labelled_rows
from similis.training.rows.examples import Examples, Integers, TextTable

#: What may be said of rows: of each its class, or numbers of rows that belong together.
SUPERVISIONS = ("labels", "pairs", "triplets")

_HELP = (
    "give labels=[n], pairs=[m, 2] (numbers of rows that belong together, from 0; with scores=[m] how much), or "
    "triplets=[m, 3] (row, one that belongs to it, one that does not)"
)


class ArrayTable(TextTable):
    """Rows of one or several arrays of one shape; a row's code is its number among all of them.

    Rows of equal content have one folded code, as texts that differ in case alone.

    Args:
        parts: arrays ``[n_i, ...]``, in memory or mapped from files; they are not copied.
    """

    def __init__(self, parts: Sequence[NDArray[Any]]) -> None:
        super().__init__()
        self.parts = list(parts)
        self._starts = np.cumsum([0, *(len(part) for part in parts)])
        self.digests = [hashlib.blake2b(row.tobytes(), digest_size=16).hexdigest() for part in parts for row in part]
        self._folded = [self._folded_codes.setdefault(digest, len(self._folded_codes)) for digest in self.digests]
        # what messages and the split by hash know a row by: its number, or that of the first one like it
        first = {code: number for number, code in reversed(list(enumerate(self._folded)))}
        self.texts = [f"row {first[code]}" for code in self._folded]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a row."""
        return self.parts[0].shape[1:]

    def rows(self, codes: Integers) -> NDArray[np.float32]:
        """Rows ``[n, ...]`` of codes ``[n]``, float32."""
        if len(self.parts) == 1:
            return floats(self.parts[0][codes])
        found = np.empty((len(codes), *self.shape), np.float32)
        part = np.searchsorted(self._starts, codes, side="right") - 1
        for number in np.unique(part).tolist():
            own = part == number
            found[own] = self.parts[number][codes[own] - self._starts[number]]
        return found


@dataclass
class ArrayData(Dataset):
    """What a run's record says of arrays.

    Attributes:
        count: rows of supervision.
        digest: of the arrays' content and what was said of them.
    """

    count: int = 0
    digest: str = ""

    def __len__(self) -> int:
        return self.count

    @property
    def fingerprint(self) -> str:
        return self.digest


@dataclass(frozen=True, eq=False)
class Said:
    """An array and what is said of its rows.

    Attributes:
        rows: ``[n, ...]``.
        kind: of :data:`SUPERVISIONS`.
        values: labels ``[n]``, or numbers of rows ``[m, 2]`` or ``[m, 2 + r]``, -1 for no negative.
        scores: of pairs ``[m]``, or None.
        path: of the file, where it is one.
    """

    rows: NDArray[Any]
    kind: str
    values: NDArray[Any]
    scores: NDArray[Any] | None
    path: Path

    def __len__(self) -> int:
        return len(self.values)

    def data(self, table: ArrayTable) -> ArrayData:
        """The data set as the record of a run tells it."""
        digest = hashlib.sha256(f"{self.kind} {self.rows.shape} {self.rows.dtype}".encode())
        for each in table.digests[: len(self.rows)]:
            digest.update(each.encode())
        digest.update("\n".join(map(str, self.values.tolist())).encode())
        digest.update(b"" if self.scores is None else "\n".join(map(str, self.scores.tolist())).encode())
        supervision = "scored_pairs" if self.scores is not None else self.kind
        why = f"an array of {len(self.rows):,} rows {list(self.rows.shape[1:])} with {supervision.replace('_', ' ')}"
        return ArrayData(self.path, supervision, why, {}, count=len(self), digest=digest.hexdigest())

    def examples(self, table: ArrayTable, start: int = 0, classes: Sequence[Any] | None = None) -> Examples:
        """The rows as codes of ``table``, where this array begins at ``start``; ``classes`` as numbered before."""
        if self.kind == "labels":
            return self._labelled(table, start, classes)
        first, second = self.values[:, 0] + start, self.values[:, 1] + start
        if self.scores is not None:
            low, high = min(0.0, float(self.scores.min())), float(self.scores.max())
            grades = self.scores if low == 0 and high <= 1 else (self.scores - low) / (high - low)
            kind = "labeled_pairs" if self.scores.dtype.kind == "b" else "scored"
            return Examples(kind, table, first, second, scores=np.asarray(grades, np.float32))
        if self.kind == "pairs":
            return Examples("pairs", table, first, second)
        negatives = np.where(self.values[:, 2:] < 0, -1, self.values[:, 2:] + start)
        return Examples("triplets", table, first, second, negatives)

    def _labelled(self, table: ArrayTable, start: int, classes: Sequence[Any] | None) -> Examples:
        names = self.values.tolist()
        known = list(classes) if classes is not None else sorted(set(names), key=lambda name: (str(type(name)), name))
        numbers = {name: number for number, name in enumerate(known)}
        for name in names:  # classes that only dev has
            numbers.setdefault(name, len(numbers))
        labels = np.fromiter((numbers[name] for name in names), np.int64, len(names))
        return Examples("labels", table, np.arange(len(names)) + start, labels=labels, classes=tuple(numbers))


def said_of(data: Any, given: Mapping[str, Any]) -> Said:
    """An array with the one supervision among ``given``, checked.

    Args:
        data: the array, see :func:`similis.encoders.arrays.rows.rows_of`; or a file of vectors and labels, see
            :func:`similis.training.rows.array_files.labelled_rows`.
        given: ``labels``, ``pairs``, ``scores`` and ``triplets``; those that are None are not given.

    Raises:
        UserError: none or several are given, lengths differ, or a number is of no row.
    """
    path = Path(data) if isinstance(data, str | Path) else Path("array in memory")
    if isinstance(data, str | Path) and Path(data).suffix != ".npy":
        data, given = _from_file(Path(data), given)
    rows = rows_of(data)
    check_finite(rows)
    stated = [name for name in SUPERVISIONS if given.get(name) is not None]
    if len(stated) != 1:
        raise UserError(f"an array needs one supervision, and {' and '.join(stated) or 'none'} is given: {_HELP}")
    kind, scores = stated[0], given.get("scores")
    values = _array(kind, given[kind])
    if kind == "labels":
        if values.shape != (len(rows),):
            raise UserError(f"labels have the shape {list(values.shape)} and the array {len(rows)} rows: one a row")
        if scores is not None:
            raise UserError("scores are of pairs, and labels are given: leave scores out")
        return Said(rows, kind, values, None, path)
    _check_numbers(kind, values, len(rows))
    if scores is not None:
        scores = _array("scores", scores)
        if kind != "pairs" or scores.shape != (len(values),) or scores.dtype.kind not in "fiub":
            raise UserError(f"scores are numbers, one for each of {len(values)} pairs, not {list(scores.shape)}")
        if not np.isfinite(scores).all() or scores.min() == scores.max():
            raise UserError("scores must be finite, and not all the same")
    return Said(rows, kind, values.astype(np.int64), scores, path)


def _from_file(path: Path, given: Mapping[str, Any]) -> tuple[NDArray[Any], Mapping[str, Any]]:
    stated = [name for name, value in given.items() if value is not None]
    if stated:
        raise UserError(f"{path} has labels of its own: leave {' and '.join(stated)} out")
    rows, labels = labelled_rows(path)
    return rows, {"labels": labels}


def _array(name: str, values: Any) -> NDArray[Any]:
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    try:
        return np.asarray(values)
    except ValueError:
        raise UserError(f"{name} have no common shape: {_HELP}") from None


def _check_numbers(kind: str, values: NDArray[Any], rows: int) -> None:
    width = values.shape[1] if values.ndim == 2 else 0
    if values.dtype.kind not in "iu" or (width != 2 if kind == "pairs" else width < 3):
        raise UserError(f"{kind} are {values.dtype} of the shape {list(values.shape)}: {_HELP}")
    low = np.zeros(width, np.int64)
    low[2:] = -1  # no negative
    bad = np.argwhere((values >= rows) | (values < low))
    if len(bad):
        line, column = bad[0].tolist()
        raise UserError(f"{kind}[{line}] names row {values[line, column]}, and the array has rows 0 to {rows - 1}")
