"""Rows of an array as a user gives them: NumPy, torch, nested lists, or a path to an ``.npy`` file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from similis.encoders.arrays import MODULES, SETTINGS
from similis.errors import UserError

#: Numbers looked at together when rows are checked.
_BLOCK = 1 << 22


def is_rows(data: Any) -> bool:
    """Whether ``data`` is an array of rows: NumPy's, torch's, or a path that ends in ``.npy``."""
    if isinstance(data, str | Path):
        return Path(data).suffix == ".npy"
    return isinstance(data, np.ndarray) or (type(data).__module__ == "torch" and hasattr(data, "detach"))


def reads_rows(model: Any) -> bool:
    """Whether a model or a base is of arrays: an encoder, the text of a module, or a saved one's folder."""
    if isinstance(model, str | Path):
        return is_built_in(str(model)) or (Path(model) / SETTINGS).is_file()
    return getattr(model, "family", None) == "array"


def is_built_in(text: str) -> bool:
    """Whether a base's text names one of the modules of :mod:`similis.encoders.arrays.modules`."""
    return text.partition("(")[0].strip() in MODULES


def array_of(data: Any, what: str = "the array") -> NDArray[Any]:
    """An array of numbers of any shape; a file is mapped into memory, not read.

    Raises:
        UserError: it is no array of numbers.
    """
    if isinstance(data, str | Path):
        what = str(data)
        try:
            data = np.load(data, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise UserError(f"{data} cannot be read as a NumPy array ({error})") from None
    elif hasattr(data, "detach"):
        data = data.detach().cpu().float().numpy() if data.is_floating_point() else data.cpu().numpy()
    try:
        rows: NDArray[Any] = np.asanyarray(data)
    except ValueError:
        raise UserError(f"{what} is no array: its rows differ in length") from None
    if rows.dtype.kind not in "fiub":
        raise UserError(f"{what} holds {rows.dtype}; rows are numbers [n, ...]")
    return rows


def rows_of(data: Any, what: str = "the array") -> NDArray[Any]:
    """Rows ``[n, ...]`` of numbers.

    Raises:
        UserError: as :func:`array_of`, or a row is no vector, image or the like.
    """
    rows = array_of(data, what)
    if rows.ndim < 2 or 0 in rows.shape[1:]:
        raise UserError(
            f"{what} has the shape {list(rows.shape)}; rows are [n, ...], such as [n, 64] or [n, 3, 32, 32]"
        )
    return rows


def floats(rows: NDArray[Any], what: str = "the array", first: int = 0) -> NDArray[np.float32]:
    """Rows as float32 in memory.

    Raises:
        UserError: a number is not finite; names the row, counted from 0 at ``first``.
    """
    # copied where it is mapped from a file: torch warns of memory that it may not write
    found = np.array(rows, np.float32) if not rows.flags.writeable else np.ascontiguousarray(rows, np.float32)
    if not np.isfinite(found).all():
        bad = int(np.flatnonzero(~np.isfinite(found.reshape(len(found), -1)).all(1))[0])
        raise UserError(f"row {first + bad} of {what} is not finite; leave it out or fill its gaps")
    return found


def check_finite(rows: NDArray[Any], what: str = "the array") -> None:
    """Look through all rows, a block at a time.

    Raises:
        UserError: as :func:`floats`.
    """
    if rows.dtype.kind != "f":
        return
    step = max(1, _BLOCK // max(1, int(np.prod(rows.shape[1:]))))
    for start in range(0, len(rows), step):
        floats(rows[start : start + step], what, start)
