"""Teachers: models whose scores of pairs, or whose vectors of texts, another model learns.

A teacher reads each pair or text once; what it said is kept on disk under its fingerprint and the texts, so that a
second run, or a second student, does not ask again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from similis.errors import UserError
from similis.files import writing
from similis.progress import track

Floats = NDArray[np.float32]

#: Pairs or texts of one file of the cache: what a killed run has to ask again.
_PART = 4096
#: What joins the names of several teachers.
JOIN = " + "


class Teacher:
    """One model that is asked.

    Args:
        model: of any family: it scores pairs in its own similarity, a cross-encoder by its raw scores.
        name: what the user called it.
    """

    def __init__(self, model: Any, name: str) -> None:
        if not hasattr(model, "fingerprint") or not (hasattr(model, "encode") or hasattr(model, "score")):
            raise UserError(
                f"a {type(model).__name__} is no teacher: give a model folder, an encoder or a cross-encoder"
            )
        self.model, self.name = model, name
        self.family: str = getattr(model, "family", "dense")
        self.fingerprint: str = model.fingerprint

    @property
    def embeds(self) -> bool:
        """Whether it gives each text one vector."""
        return self.family in ("static", "dense")

    def scores(self, pairs: Sequence[tuple[str, str]]) -> Floats:
        """Its scores ``[n]`` of pairs."""
        return self._kept(pairs, self._score, lambda pair: pair)

    def vectors(self, texts: Sequence[str], queries: bool) -> Floats:
        """Its vectors ``[n, d]`` of texts, read as queries or as documents where that makes a difference."""
        queries = queries and bool(any(self.model.prompts.values()) or getattr(self.model, "asymmetric", False))
        encode = self.model.encode_query if queries else self.model.encode_document
        found = self._kept(texts, encode, lambda text: (str(queries), text))
        return found if len(texts) else np.zeros((0, self.model.dimension), np.float32)

    def _score(self, pairs: Sequence[tuple[str, str]]) -> Floats:
        if self.family == "cross":
            return np.asarray(self.model.score(pairs, raw=True), np.float32)
        from similis.indexes.pairs import pair_scores

        return pair_scores(self.model, [query for query, _ in pairs], [key for _, key in pairs])

    def _kept(self, items: Sequence[Any], ask: Callable[[Any], Any], texts: Callable[[Any], Iterable[str]]) -> Floats:
        """What the teacher says of items, from the disk where it was asked before."""
        parts = [np.zeros(0, np.float32)]
        for start in track(range(0, len(items), _PART), label=f"teacher {self.name}", unit=f"x{_PART}"):
            part = items[start : start + _PART]
            file = cache() / f"{self.fingerprint}-{_digest(texts(item) for item in part)}.npy"
            found = _read(file, len(part))
            if found is None:
                found = np.asarray(ask(part), np.float32)
                file.parent.mkdir(parents=True, exist_ok=True)
                with writing(file) as aside, aside.open("wb") as stream:
                    np.save(stream, found, allow_pickle=False)
            parts.append(found)
        return np.concatenate(parts[1:]) if len(parts) > 1 else parts[0]


@dataclass(frozen=True)
class Teachers:
    """One teacher, or several whose scores are averaged."""

    each: tuple[Teacher, ...]

    @classmethod
    def of(cls, given: Any) -> Teachers:
        """Teachers from models, model folders or names, one or a list; texts may be joined by `` + ``.

        Raises:
            UserError: a model cannot be read, or is none.
        """
        items = list(given) if isinstance(given, list | tuple) else [given]
        split = [part for item in items for part in (item.split(JOIN) if isinstance(item, str) else [item])]
        if not split or "" in split:
            raise UserError("teacher names no model; give a model folder or name")
        return cls(tuple(_teacher(item.strip() if isinstance(item, str) else item) for item in split))

    def __str__(self) -> str:
        return JOIN.join(teacher.name for teacher in self.each)

    @property
    def fingerprint(self) -> str:
        """Whose answers these are, whatever the models are called and wherever they lie."""
        return JOIN.join(teacher.fingerprint for teacher in self.each)

    @property
    def embed(self) -> bool:
        """Whether all give each text one vector, under one similarity, so that any pair's score costs a product."""
        names = {teacher.model.similarity_name for teacher in self.each if teacher.embeds}
        return all(teacher.embeds for teacher in self.each) and len(names) == 1

    def scores(self, pairs: Sequence[tuple[str, str]]) -> Floats:
        """Mean scores ``[n]``. Teachers of one family are averaged as they are, others standardised first.

        Source of the mean: "Improving Efficient Neural Ranking Models with Cross-Architecture Knowledge
        Distillation", Hofstätter, Althammer, Schröder, Sertkan and Hanbury, 2020.
        """
        distinct = list(dict.fromkeys(pairs))
        columns = [teacher.scores(distinct) for teacher in self.each]
        if len({teacher.family for teacher in self.each}) > 1:
            columns = [(column - column.mean()) / max(float(column.std()), 1e-6) for column in columns]
        place = {pair: number for number, pair in enumerate(distinct)}
        mean = np.mean(columns, axis=0) if distinct else np.zeros(0)
        return np.asarray(mean[[place[pair] for pair in pairs]], np.float32)


def cache() -> Path:
    """Where teachers' answers are kept: ``similis/teachers`` in the user's cache folder; it may be deleted."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "similis" / "teachers"


def _teacher(item: Any) -> Teacher:
    from similis.encoders import load

    if isinstance(item, str | Path):
        return Teacher(load(item), str(item))
    return Teacher(item, f"{getattr(item, 'family', type(item).__name__)} {getattr(item, 'fingerprint', '')[:8]}")


def _digest(items: Iterable[Iterable[str]]) -> str:
    digest = hashlib.sha256()
    for texts in items:
        for text in texts:
            body = text.encode("utf-8", "surrogatepass")
            digest.update(len(body).to_bytes(8, "little") + body)
    return digest.hexdigest()[:32]


def _read(file: Path, count: int) -> Floats | None:
    """A file of the cache; None where it is not there, damaged or of another length."""
    try:
        found = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.dtype == np.float32 and len(found) == count else None
