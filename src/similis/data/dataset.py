"""Training data in one call: ``read`` into memory, ``stream`` or ``batches`` for files larger than memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from similis.data.columns import note_classes
from similis.data.ids import Ids
from similis.data.locate import Located, locate
from similis.data.records import Record
from similis.data.rejects import MAX_BAD, Rejected, Rejects
from similis.data.rows import Row
from similis.data.table import Table, open_table
from similis.errors import UserError, did_you_mean
from similis.progress import note


@dataclass
class Dataset:
    """Validated rows by column, with the supervision that was recognised in them.

    Attributes:
        path: what was read.
        supervision: ``pairs`` (anchor, positive), ``triplets`` (anchor, positive, negatives),
            ``scored_pairs`` (sentence1, sentence2, score), ``labeled_pairs`` (sentence1, sentence2, label),
            ``labels`` (text, label), ``texts`` (text, and title and id where given), or ``retrieval``
            (a BEIR folder's relevant pairs: anchor, positive, score, query_id, id).
        why: which columns were recognised, and as what.
        rows: canonical column name → list of length n; ``negatives`` holds a list of texts a row.
        rejected: how many rows were set aside, and where.
        split: the split that was read; empty where there is none.
        splits: all splits under ``path``.
    """

    path: Path
    supervision: str
    why: str
    rows: dict[str, list[Any]]
    rejected: Rejected = field(default_factory=Rejected)
    split: str = ""
    splits: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(next(iter(self.rows.values()), []))

    def column(self, name: str) -> list[Any]:
        """The values of one canonical column, of length n.

        Raises:
            UserError: this supervision has no such column.
        """
        if name not in self.rows:
            hint = did_you_mean(name, self.rows)
            raise UserError(
                f"{self.path} ({self.supervision}) has no column {name!r}{hint}; it has {', '.join(self.rows)}"
            )
        return self.rows[name]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of supervision and rows: the same content gives the same digest in every file format."""
        digest = hashlib.sha256(self.supervision.encode())
        for name in sorted(self.rows):
            # a column at once, which the library writes in compiled code
            digest.update(f"\n{name}\n{json.dumps(self.rows[name], ensure_ascii=False)}".encode())
        return digest.hexdigest()


def read(
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    max_bad: float = MAX_BAD,
    rejected: Path | None = None,
    limit: int | None = None,
    split: str | None = None,
) -> Dataset:
    """Read training data into memory and say which supervision it carries.

    Args:
        path: JSONL, JSON array, CSV, TSV or Parquet (text formats also ``.gz``), a folder with
            train/dev/test files, a saved ``datasets`` folder, or a BEIR folder.
        columns: canonical name → column of the file, where the names are not recognised as wished.
        max_bad: share of rows, 0..1, that may be bad; those are set aside, more stop the run.
        rejected: where bad rows go; by default ``<file>.rejected.jsonl`` beside the data.
        limit: read at most so many rows.
        split: of a folder with splits; by default ``train``, or the only one.

    Raises:
        UserError: the file cannot be used as a whole, or too many of its rows are bad.
    """
    located = locate(Path(path))
    if located.beir:
        return _retrieval(located, split, max_bad, rejected, limit)
    table = open_table(located, split, columns)
    names = _canonical(table)
    rows: dict[str, list[Any]] = {name: [] for name in names}
    lists = [(name, rows[name]) for name in names]
    ids = Ids()
    with Rejects(_file(table, located), max_bad=max_bad, rejected=rejected) as rejects:
        for record, row in _valid(table, rejects, limit):
            if "id" in row and not ids.is_new(row["id"], row["text"], record.file, record.line):
                continue
            for name, values in lists:
                values.append(row[name])
        where = rejects.finish(_total(rows) + ids.repeats + rejects.count)
    if ids.repeats:
        note(f"{table.path}: {ids.repeats:,} rows repeat an earlier id and text, and are read once")
    data = Dataset(table.path, table.schema.supervision, table.schema.why, rows, where, table.split, _names(located))
    _refuse_degenerate(data, limit)
    if data.supervision == "pairs" and data.split not in ("dev", "test"):
        note_classes(str(data.path), f"column {table.schema.columns['positive']!r}", rows["positive"])
    return data


def stream(
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    max_bad: float = MAX_BAD,
    rejected: Path | None = None,
    limit: int | None = None,
    split: str | None = None,
) -> Iterator[Row]:
    """Yield validated rows under canonical names in bounded memory; arguments and errors as :func:`read`.

    Mistakes of the whole file are raised before the first row, too many bad rows after the last.
    """
    located = locate(Path(path))
    if located.beir:
        data = _retrieval(located, split, max_bad, rejected, limit)
        return (dict(zip(data.rows, values, strict=True)) for values in zip(*data.rows.values(), strict=True))
    table = open_table(located, split, columns)
    return _streamed(table, Rejects(_file(table, located), max_bad=max_bad, rejected=rejected), limit)


def _streamed(table: Table, rejects: Rejects, limit: int | None) -> Iterator[Row]:
    count = 0
    with rejects:
        for _, row in _valid(table, rejects, limit):
            count += 1
            yield row
        rejects.finish(count + rejects.count)
    if not count:
        raise UserError(f"{table.path} has no usable row")


def batches(path: str | Path, size: int, **options: Any) -> Iterator[dict[str, list[Any]]]:
    """Yield columns of up to ``size`` rows in bounded memory; ``options`` as for :func:`stream`."""
    if size < 1:
        raise UserError(f"a batch needs at least one row, not {size}")
    batch: dict[str, list[Any]] = {}
    for row in stream(path, **options):
        for name, value in row.items():
            batch.setdefault(name, []).append(value)
        if len(next(iter(batch.values()))) == size:
            yield batch
            batch = {}
    if batch:
        yield batch


def _valid(table: Table, rejects: Rejects, limit: int | None) -> Iterator[tuple[Record, Row]]:
    """Records with their good rows, at most ``limit``; the bad ones go to ``rejects``."""
    if limit is not None and limit < 1:
        raise UserError(f"limit must be at least 1, not {limit}")
    given = 0

    def bad(record: Record, reason: str) -> None:
        rejects.add(record.file, record.line, reason, record.values.get("", record.values))

    for record, rows in table.rows(bad):
        for row in rows:
            yield record, row
            given += 1
            if given == limit:
                return


def _canonical(table: Table) -> list[str]:
    names = list(table.schema.columns)
    return [*names, "negatives"] if table.schema.supervision == "triplets" else names


def _file(table: Table, located: Located) -> Path:
    """What rejected rows are named after: the file, or the folder where a split has several."""
    files = located.splits[table.split]
    return files[0] if len(files) == 1 else located.path


def _names(located: Located) -> tuple[str, ...]:
    return tuple(name for name in located.splits if name)


def _total(rows: Mapping[str, list[Any]]) -> int:
    return len(next(iter(rows.values()), []))


def _refuse_degenerate(data: Dataset, limit: int | None) -> None:
    """Refuse what nothing can be learned from, however well it is written."""
    if not len(data):
        raise UserError(f"{data.path} has no usable row")
    if limit is not None:
        return
    if len(data) == 1:
        raise UserError(f"{data.path} has only one usable row; nothing can be learned from a single example")
    for name in ("label", "score"):
        if name in data.rows and data.supervision != "retrieval" and len(set(data.rows[name])) == 1:
            value = data.rows[name][0]
            what = "one class" if name == "label" else "one score"
            raise UserError(f"{data.path}: {name} is {value!r} in every row; {what} says nothing of similarity")


def _retrieval(
    located: Located, split: str | None, max_bad: float, rejected: Path | None, limit: int | None
) -> Dataset:
    """The relevant pairs of a BEIR folder's split, as training rows."""
    from similis.data.corpora import retrieval

    name, _ = located.files(split)
    found = retrieval(located.path, name, max_bad=max_bad, rejected=rejected)
    queries = dict(zip(found.queries.ids, found.queries.texts, strict=True))
    corpus = dict(zip(found.corpus.ids, found.corpus.texts, strict=True))
    rows: dict[str, list[Any]] = {"anchor": [], "positive": [], "score": [], "query_id": [], "id": []}
    for query, judged in found.qrels.items():
        for document, grade in judged.items():
            if grade > 0 and corpus[document].strip() and (limit is None or len(rows["id"]) < limit):
                values = (queries[query], corpus[document], float(grade), query, document)
                for column, value in zip(rows.values(), values, strict=True):
                    column.append(value)
    why = f"retrieval: corpus, queries and qrels ({name}); the relevant pairs as anchor, positive and score"
    data = Dataset(located.path, "retrieval", why, rows, found.rejected, name, _names(located))
    _refuse_degenerate(data, limit)
    return data
