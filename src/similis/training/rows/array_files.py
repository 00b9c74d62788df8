"""Rows of numbers with labels from a file of records: a column of vectors, and one of classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from similis.data.records import records
from similis.errors import UserError

#: Names of columns that are read, in the order in which they are looked for.
VECTORS = ("vector", "features", "embedding", "image", "x")
LABELS = ("label", "class", "target", "y")


def labelled_rows(path: str | Path) -> tuple[NDArray[np.float32], list[Any]]:
    """Rows float32 ``[n, ...]`` and labels ``[n]`` of a JSONL, Parquet or Arrow file.

    Raises:
        UserError: a column is missing, or a row is no numbers or of another shape than the first; names the line.
    """
    file = Path(path)
    rows: list[NDArray[np.float32]] = []
    labels: list[Any] = []
    names: tuple[str, str] | None = None
    for record in records(file):
        if record.reason:
            raise UserError(f"{file}:{record.line}: {record.reason}")
        if names is None:
            names = _column(file, VECTORS, record.values), _column(file, LABELS, record.values)
        rows.append(_row(file, record.line, names[0], record.values.get(names[0])))
        if rows[-1].shape != rows[0].shape:
            raise UserError(
                f"{file}:{record.line}: {names[0]!r} has the shape {list(rows[-1].shape)}, "
                f"and that of the first row is {list(rows[0].shape)}"
            )
        label = record.values.get(names[1])
        if not isinstance(label, str | int | float) or label != label:
            raise UserError(f"{file}:{record.line}: {names[1]!r} is {label!r}, which names no class")
        labels.append(label)
    if not rows:
        raise UserError(f"{file} has no rows")
    return np.stack(rows), labels


def _column(file: Path, known: tuple[str, ...], values: dict[str, Any]) -> str:
    found = {name.lower(): name for name in values}
    for name in known:
        if name in found:
            return found[name]
    raise UserError(f"{file} has no column {' or '.join(known)}; it has {', '.join(values)}")


def _row(file: Path, line: int, name: str, value: Any) -> NDArray[np.float32]:
    try:
        row: NDArray[np.float32] = np.asarray(value, np.float32)
    except (TypeError, ValueError):
        row = np.zeros(0, np.float32)
    if row.ndim == 0 or not row.size:
        raise UserError(f"{file}:{line}: {name!r} is not a list of numbers")
    return row
