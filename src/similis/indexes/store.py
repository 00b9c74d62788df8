"""Documents in SQLite: position, id, title, text, metadata."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from similis.errors import UserError
from similis.search.ranker import Positions

_SCHEMA = """
CREATE TABLE documents (
    position INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, title TEXT NOT NULL, text TEXT NOT NULL, metadata TEXT
)
"""
#: Positions looked up one by one; for more, all ids are read once.
_FEW = 2000


@dataclass(frozen=True)
class Document:
    """A document. ``metadata`` is whatever else is known of it, as JSON can hold it."""

    id: str
    text: str
    title: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def searched(self) -> str:
        """What is encoded and indexed: title and text joined by a space."""
        return f"{self.title} {self.text}" if self.title else self.text


class DocumentWriter:
    """Writes documents in the order of their positions, from 0."""

    def __init__(self, path: Path) -> None:
        self.count = 0
        self._connection = sqlite3.connect(path)
        # The file is built aside and thrown away if anything fails: no journal is needed.
        self._connection.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;" + _SCHEMA)

    def add(self, documents: Sequence[Document]) -> None:
        """Append documents.

        Raises:
            UserError: an id occurs twice.
        """
        rows = [
            (position, d.id, d.title, d.text, json.dumps(d.metadata, ensure_ascii=False) if d.metadata else None)
            for position, d in enumerate(documents, self.count)
        ]
        try:
            self._connection.executemany("INSERT INTO documents VALUES (?, ?, ?, ?, ?)", rows)
        except sqlite3.IntegrityError:
            raise UserError(f"document id {self._repeated(documents)!r} occurs twice; ids must differ") from None
        self.count += len(rows)

    def close(self) -> None:
        self._connection.commit()
        self._connection.close()

    def _repeated(self, documents: Sequence[Document]) -> str:
        seen: set[str] = set()
        for document in documents:
            query = "SELECT 1 FROM documents WHERE id = ? AND position < ?"
            if document.id in seen or self._connection.execute(query, (document.id, self.count)).fetchone():
                return document.id
            seen.add(document.id)
        return "?"


class Documents:
    """Documents by position or id; safe to use from several threads. Positions are rows, from 0.

    Raises:
        UserError: the file is not such a database.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._ids: list[str] | None = None
        uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
        try:
            self._connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
            # Positions have no gaps, so the last one gives the count without reading the table.
            self._count = int(self._rows("SELECT coalesce(max(position) + 1, 0) FROM documents", ())[0][0])
        except sqlite3.Error as error:
            raise UserError(f"{path} cannot be read as a document store ({error}); build the index again") from None

    def __len__(self) -> int:
        return self._count

    def take(self, positions: Positions) -> list[str]:
        """The ids at ``positions`` ``[n]``."""
        if self._ids is None and len(positions) <= _FEW:
            wanted = np.unique(positions).tolist()
            known = dict(self._rows(f"SELECT position, id FROM documents WHERE position IN ({_marks(wanted)})", wanted))
            return [known[p] for p in positions.tolist()]
        if self._ids is None:
            self._ids = [row[0] for row in self._rows("SELECT id FROM documents ORDER BY position", ())]
        return [self._ids[p] for p in positions.tolist()]

    def positions(self, ids: Sequence[str]) -> list[int]:
        """The positions of ids that are in the index."""
        known = dict(self._rows(f"SELECT id, position FROM documents WHERE id IN ({_marks(ids)})", ids))
        return [known[name] for name in ids]

    def get(self, ids: Iterable[str]) -> list[Document]:
        """The documents with these ids, in their order.

        Raises:
            UserError: an id is not in the index.
        """
        wanted = list(ids)
        found: dict[str, Document] = {}
        for start in range(0, len(wanted), _FEW):
            part = wanted[start : start + _FEW]
            query = f"SELECT id, title, text, metadata FROM documents WHERE id IN ({_marks(part)})"
            for name, title, text, metadata in self._rows(query, part):
                found[name] = Document(name, text, title, json.loads(metadata) if metadata else {})
        missing = next((name for name in wanted if name not in found), None)
        if missing is not None:
            raise UserError(f"the index has no document with the id {missing!r}")
        return [found[name] for name in wanted]

    def close(self) -> None:
        self._connection.close()

    def _rows(self, query: str, values: Sequence[Any]) -> list[Any]:
        with self._lock:
            return self._connection.execute(query, values).fetchall()


def _marks(values: Sequence[Any]) -> str:
    return ",".join("?" * len(values))
