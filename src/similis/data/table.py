"""A located data set opened for reading: its schema, then its validated rows one record at a time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from similis.data.columns import Schema, recognise
from similis.data.locate import Located, all_records, data_file
from similis.data.records import Record
from similis.data.rejects import BadRowError
from similis.data.rows import Row, rows_of
from similis.errors import UserError

#: Rows looked at to recognise the columns.
SAMPLE = 1000


@dataclass(frozen=True)
class Table:
    """Records of one split with the schema recognised in them; ``records`` can be walked once."""

    path: Path
    split: str
    schema: Schema
    names: tuple[str, ...]
    records: Iterator[Record]

    def rows(self, bad: Callable[[Record, str], None]) -> Iterator[tuple[Record, list[Row]]]:
        """Yield each record with its canonical rows (none where it is bad, after ``bad`` was told the reason)."""
        for record in self.records:
            reason = record.reason
            rows: list[Row] = []
            if not reason:
                try:
                    rows = rows_of(record.values, self.schema)
                except BadRowError as error:
                    reason = str(error)
            if reason:
                bad(record, reason)
            yield record, rows


def open_table(located: Located, split: str | None, columns: Mapping[str, str] | None) -> Table:
    """Open one split and recognise its columns from its first rows.

    Raises:
        UserError: there are no rows, none of the first can be parsed, or no supervision is recognised.
    """
    name, files = located.files(split)
    stream = all_records(files)
    head = list(itertools.islice(stream, SAMPLE))
    where = str(files[0]) if len(files) == 1 else str(located.path)
    if not head:
        raise UserError(f"{where} has no rows (a header at most)")
    sample = [record.values for record in head if not record.reason]
    if not sample:
        first = head[0]
        raise UserError(f"{first.file}:{first.line}: {first.reason}; none of the first {len(head):,} rows can be read")
    names = tuple(dict.fromkeys(column for values in sample for column in values))
    schema = recognise(names, sample, where, columns)
    if schema.columns.get("positive", "").endswith("_document_ids"):
        schema = replace(schema, documents=_documents(files[0]))
    return Table(located.path, name, schema, names, itertools.chain(head, stream))


def _documents(file: Path) -> dict[str, str]:
    """The corpus beside a file that names its positives and negatives by document id (Tevatron's layout)."""
    from similis.data.corpora import read_corpus

    corpus = data_file(file.parent, "corpus")
    if corpus is None:
        raise UserError(f"{file} names documents by id; their texts should be in {file.parent / 'corpus.jsonl'}")
    read = read_corpus(corpus)
    return dict(zip(read.ids, read.texts, strict=True))
