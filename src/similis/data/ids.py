"""Ids must be unique: the same id with the same text is a repeat, with another text a contradiction."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

from similis.errors import UserError


class Ids:
    """The ids seen so far, each with the place and a digest of its text."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[bytes, Path, int]] = {}
        self.repeats = 0

    def contradiction(self, identifier: str, text: str, file: Path, line: int) -> str:
        """Note one document; the sentence that says where the id stood before with another text, else empty."""
        digest = blake2b(text.encode(), digest_size=8).digest()
        before = self._seen.setdefault(identifier, (digest, file, line))
        if before[1:] == (file, line):
            return ""
        if before[0] == digest:
            self.repeats += 1
            return ""
        return f"{file}:{line}: id {identifier!r} stands at {before[1]}:{before[2]} with a different text"

    def is_new(self, identifier: str, text: str, file: Path, line: int) -> bool:
        """Note one document and say whether its id is new.

        Raises:
            UserError: the id was seen with a different text; names both lines.
        """
        before = self.repeats
        problem = self.contradiction(identifier, text, file, line)
        if problem:
            raise UserError(problem + "; ids must be unique")
        return self.repeats == before
