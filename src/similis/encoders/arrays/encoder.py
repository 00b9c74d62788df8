"""An encoder of arrays: any torch module that gives one vector a row."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from similis.encoders.arrays.modules import BuiltIn
from similis.encoders.arrays.rows import array_of, floats, rows_of
from similis.encoders.base import Vectors, checked_similarity, unit_rows
from similis.errors import UserError
from similis.progress import track


class ArrayEncoder:
    """Rows of an array ``[n, ...]`` to vectors ``[n, d]``.

    Args:
        module: float32 rows ``[n, ...]`` in, ``[n, d]`` out; used as it is, not copied.
        shape: of a row.
        similarity_name: that its vectors are compared by.

    Raises:
        UserError: the module cannot read such rows, or gives something else than one vector a row.
    """

    family = "array"

    def __init__(self, module: nn.Module, shape: tuple[int, ...], similarity_name: str = "cosine") -> None:
        self.module, self.shape = module, tuple(int(size) for size in shape)
        self.similarity_name = checked_similarity(similarity_name)
        self.dimension = self._width()

    @property
    def name(self) -> str:
        """The text of a module that is named by one, else the class's own name: told, never imported."""
        if isinstance(self.module, BuiltIn):
            return self.module.text
        kind = type(self.module)
        return f"{kind.__module__}.{kind.__qualname__}"

    @property
    def fingerprint(self) -> str:
        """32 hex digits of a SHA-256 over module, similarity and weights, computed anew at each call."""
        digest = hashlib.sha256(f"{self.name} {self.shape} {self.similarity_name}".encode())
        for name, tensor in self.module.state_dict().items():
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()[:32]

    def encode(
        self,
        rows: Any,
        *,
        batch_size: int = 256,
        normalize: bool = False,
        truncate_dim: int | None = None,
        show_progress_bar: bool = False,
    ) -> Vectors:
        """Encode rows to float32 ``[n, d]``; a single row of the model's shape gives ``[d]``.

        Args:
            rows: ``[n, ...]``, an array, a tensor, or the path of an ``.npy`` file, which is read a batch at a time.
            batch_size: rows encoded together; bounds memory.
            normalize: whether vectors are brought to length 1.
            truncate_dim: keep the first so many coordinates (Matryoshka models).
            show_progress_bar: on stderr, on a terminal only.

        Raises:
            UserError: rows of another shape, a number that is not finite, or an option out of range.
        """
        if batch_size < 1:
            raise UserError(f"batch_size must be at least 1, got {batch_size}")
        if truncate_dim is not None and not 1 <= truncate_dim <= self.dimension:
            raise UserError(f"truncate_dim must lie between 1 and {self.dimension}, got {truncate_dim}")
        given, single = self._rows(rows)
        found = np.empty((len(given), self.dimension), np.float32)
        was_training = self.module.training
        self.module.eval()
        try:
            for start in track(range(0, len(given), batch_size), label="encode", unit="batch", show=show_progress_bar):
                part = floats(given[start : start + batch_size], first=start)
                with torch.inference_mode():
                    found[start : start + len(part)] = self.forward(part).float().cpu().numpy()
        finally:
            self.module.train(was_training)
        if truncate_dim is not None:
            found = np.ascontiguousarray(found[:, :truncate_dim])
        found = unit_rows(found) if normalize else found
        return cast(Vectors, found[0]) if single else found

    def encode_query(self, rows: Any, **options: Any) -> Vectors:
        """As :meth:`encode`."""
        return self.encode(rows, **options)

    def encode_document(self, rows: Any, **options: Any) -> Vectors:
        """As :meth:`encode`."""
        return self.encode(rows, **options)

    def forward(self, rows: NDArray[np.float32]) -> Tensor:
        """Vectors ``[n, d]`` of float32 rows, with a graph where one is kept.

        Raises:
            UserError: the module gives something else than one vector a row.
        """
        weight = next(self.module.parameters(), None)
        found = self.module(torch.from_numpy(rows).to("cpu" if weight is None else weight.device))
        if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != len(rows):
            gave = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise UserError(
                f"{self.name} must give one vector a row, a tensor [{len(rows)}, d], and for rows "
                f"{list(rows.shape)} gave {gave}"
            )
        return found

    def save(self, folder: str | Path) -> None:
        """Write weights and settings; the folder appears whole or not at all. See :func:`ArrayEncoder.load`."""
        from similis.encoders.arrays.format import write

        write(self, Path(folder))

    @classmethod
    def load(cls, folder: str | Path, module: nn.Module | None = None) -> ArrayEncoder:
        """The encoder that :meth:`save` wrote.

        Args:
            folder: of the model.
            module: of the class that was saved, where it is one of your own: code is never imported by a name in a
                file. Its weights are replaced by the saved ones.

        Raises:
            UserError: a part is missing or damaged, the module is missing, or its tensors are not the saved ones.
        """
        from similis.encoders.arrays.format import read

        return read(Path(folder), module)

    def _rows(self, rows: Any) -> tuple[NDArray[Any], bool]:
        """Rows ``[n, *shape]``, and whether it was a single one."""
        given = array_of(rows)
        single = given.shape == self.shape
        given = rows_of(given[None] if single else given)
        if given.shape[1:] != self.shape:
            raise UserError(f"the model reads rows of shape {list(self.shape)}, not {list(given.shape[1:])}")
        return given, single

    def _width(self) -> int:
        was_training = self.module.training
        self.module.eval()
        try:
            with torch.no_grad():
                return int(self.forward(np.zeros((2, *self.shape), np.float32)).shape[1])
        except (RuntimeError, TypeError, IndexError, ValueError) as error:
            if isinstance(error, UserError):
                raise
            reason = str(error).strip().partition("\n")[0]
            raise UserError(f"{self.name} cannot read rows of shape {list(self.shape)}: {reason}") from error
        finally:
            self.module.train(was_training)
