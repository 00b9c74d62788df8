"""Bad rows: set aside with their line and reason, counted, and too many of them stop the run."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from similis.errors import UserError
from similis.files import writing
from similis.progress import note

#: Share of bad rows that is borne before a run stops.
MAX_BAD = 0.01


class BadRowError(ValueError):
    """One row that cannot be used; the message is the reason, without file and line."""


@dataclass(frozen=True)
class Rejected:
    """How many rows were set aside, and the file that holds them (None where there are none)."""

    count: int = 0
    path: Path | None = None


class Rejects:
    """Collects the bad rows of one reading, in a temporary file so that memory stays bounded.

    Use as a context manager; :meth:`finish` writes the ``.rejected.jsonl`` and enforces ``max_bad``.
    """

    def __init__(self, path: Path, *, max_bad: float, rejected: Path | None = None) -> None:
        if not 0.0 <= max_bad <= 1.0:
            raise UserError(f"max_bad must be a fraction from 0 to 1, not {max_bad}")
        self.path = path
        self.max_bad = max_bad
        self.target = rejected
        self.count = 0
        self.first = ""
        self._aside: IO[str] | None = None

    def __enter__(self) -> Rejects:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._aside is not None:
            self._aside.close()
            self._aside = None

    def add(self, file: Path, line: int, reason: str, row: Any) -> None:
        """Set one row aside; ``row`` is what was read of it (its text where it could not be parsed)."""
        if self._aside is None:
            self._aside = tempfile.TemporaryFile("w+", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
            self.first = f"{file}:{line}: {reason}"
        self.count += 1
        entry = {"line": line, "reason": reason, "row": row}
        if file != self.path:
            entry["file"] = str(file)
        self._aside.write(json.dumps(entry, ensure_ascii=False, default=str) + "\n")

    def finish(self, total: int) -> Rejected:
        """Write the rejected file where there are bad rows.

        Raises:
            UserError: more than ``max_bad`` of the ``total`` rows are bad.
        """
        if self._aside is None:
            return Rejected()
        where = self._write(self._aside)
        rows = f"{self.count:,} of {total:,} rows {'is' if self.count == 1 else 'are'} bad"
        if self.count > self.max_bad * total:
            raise UserError(
                f"{self.first} ({rows}, more than the {self.max_bad:.2%} allowed; all of them with reasons: {where})"
            )
        note(f"{self.path}: {rows}, set aside in {where}; the first: {self.first}")
        return Rejected(self.count, where)

    def _write(self, aside: IO[str]) -> Path:
        name = self.path.name + ".rejected.jsonl"
        wanted = self.target or self.path.with_name(name)
        try:
            _copy(aside, wanted)
            return wanted
        except OSError as error:
            if self.target is not None:
                raise UserError(f"{wanted} cannot be written: {error.strerror or error}") from None
        # The data may lie where we cannot write (a read-only share): then the temporary folder takes it.
        elsewhere = Path(tempfile.mkdtemp(prefix="similis-")) / name
        _copy(aside, elsewhere)
        return elsewhere


def _copy(aside: IO[str], path: Path) -> None:
    aside.seek(0)
    with writing(path) as target, target.open("w", encoding="utf-8", errors="backslashreplace") as out:
        while block := aside.read(1 << 20):
            out.write(block)
