"""A matrix written row by row as .npy, and opened as a memory map."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np

from similis.errors import UserError
from similis.indexes.reduction import Vectors


class VectorWriter:
    """Appends float32 rows to a .npy file; the number of rows is put into the header at the end.

    The longest row is noted on the way (``longest``), which exact search needs.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.rows, self.longest = path, 0, 0.0
        self._width = 0
        self._stream: BinaryIO = path.open("wb")

    def add(self, vectors: Vectors) -> None:
        """Append ``[n, r]``."""
        if not self.rows:
            self._width = vectors.shape[1]
            self._header()
        np.ascontiguousarray(vectors, "<f4").tofile(self._stream)
        self.rows += len(vectors)
        if len(vectors):
            self.longest = max(self.longest, float(np.sqrt(np.square(vectors).sum(-1).max())))

    def close(self) -> None:
        """Write the final header. NumPy leaves room in it for the first dimension to grow."""
        self._stream.seek(0)
        self._header()
        self._stream.close()

    def _header(self) -> None:
        shape = (self.rows, self._width)
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._stream, header)


def open_vectors(path: Path) -> Vectors:
    """The matrix as a memory map.

    Raises:
        UserError: the file is not a float32 matrix.
    """
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise UserError(f"{path} cannot be read as a matrix ({error}); build the index again") from None
    if vectors.dtype != np.float32 or vectors.ndim != 2:
        raise UserError(f"{path} holds {vectors.dtype} {vectors.shape}, not a float32 matrix; build the index again")
    # A plain view: slicing a memory map object costs more than the arithmetic of a small search.
    return np.asarray(vectors)
