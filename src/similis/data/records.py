"""Raw records of one file, whatever its format: a line number with its values, or with what is wrong."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from similis.data.opening import must_exist, opened
from similis.errors import UserError

#: Endings that are read, without ``.gz``.
ENDINGS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow")
_BATCH = 1024


class Record(NamedTuple):
    """One row as read: its file and 1-based line (row number in Parquet and Arrow files), its values by
    column, or ``reason`` where it could not be parsed and ``values`` holds its text under ``""``."""

    file: Path
    line: int
    values: dict[str, Any]
    reason: str = ""


def ending(path: Path) -> str:
    """The format's ending in lower case without ``.gz``; empty where it has none that is read."""
    name = path.name.lower().removesuffix(".gz")
    return next((e for e in ENDINGS if name.endswith(e)), "")


def records(path: Path) -> Iterator[Record]:
    """Yield the records of one file in bounded memory (a ``.json`` array is the exception: it is held whole).

    Raises:
        UserError: the file as a whole cannot be read, or its ending names no known format.
    """
    must_exist(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder; a file is needed here")
    with path.open("rb") as stream:
        magic = stream.read(4)
    if magic == b"PAR1":
        return _parquet(path)
    readers: dict[str, Callable[[Path], Iterator[Record]]] = {
        ".jsonl": _jsonl,
        ".ndjson": _jsonl,
        ".json": _json,
        ".csv": _csv,
        ".tsv": _csv,
        ".parquet": _parquet,
        ".arrow": _arrow,
    }
    reader = readers.get(ending(path))
    if reader is None:
        known = ", ".join(ENDINGS[:-1])
        raise UserError(f"{path}: the format is not known by its ending; it should be one of {known} (or with .gz)")
    return reader(path)


def _jsonl(path: Path) -> Iterator[Record]:
    with opened(path) as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                yield _parsed(path, number, line)


def _parsed(path: Path, number: int, line: bytes) -> Record:
    try:
        text = line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        lossy = line.decode("utf-8", "backslashreplace").rstrip("\r\n")
        return Record(path, number, {"": lossy}, f"not UTF-8 text (byte {error.start + 1})")
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        return Record(path, number, {"": text}, f"not valid JSON ({error.msg}, column {error.colno})")
    except RecursionError:
        return Record(path, number, {"": text}, "not usable JSON (nested too deeply)")
    if not isinstance(values, dict):
        return Record(path, number, {"": text}, "not a JSON object")
    return Record(path, number, values)


_SPACE = re.compile(r"[\s,]*")


def _json(path: Path) -> Iterator[Record]:
    """A ``.json`` file is an array of objects; one that holds JSON lines is read as such."""
    with opened(path) as stream:
        array = stream.peek(_BATCH).lstrip()[:1] == b"["  # type: ignore[attr-defined]
        data = stream.read() if array else b""
    if not array:
        yield from _jsonl(path)
        return
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}:{line}: not UTF-8 text") from None
    decoder = json.JSONDecoder()
    at, line = text.index("[") + 1, 1
    start = 0
    while True:
        at = _SPACE.match(text, at).end()  # type: ignore[union-attr]
        line += text.count("\n", start, at)
        start = at
        if text[at : at + 1] == "]":
            return
        try:
            values, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}:{error.lineno}: not valid JSON ({error.msg})") from None
        if isinstance(values, dict):
            yield Record(path, line, values)
        else:
            yield Record(path, line, {"": values}, "not a JSON object")


def _csv(path: Path) -> Iterator[Record]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    with opened(path) as stream:
        sample = stream.peek(1 << 16)  # type: ignore[attr-defined]
        # Bytes that are not UTF-8 become lone surrogates, so that the row they stand in can be named.
        text = io.TextIOWrapper(stream, "utf-8", errors="surrogateescape", newline="")
        rows = _table(text, sample.decode("utf-8", "replace"), path)
        header: list[str] = []
        for line, cells, problem in rows:
            if not header:
                header = _header(path, line, cells, problem)
            elif problem or len(cells) != len(header):
                reason = problem or f"{len(cells)} columns where the header has {len(header)}"
                yield Record(path, line, {"": cells}, reason)
            elif any(not cell.isascii() and _undecoded(cell) for cell in cells):
                yield Record(path, line, {"": cells}, "not UTF-8 text")
            else:
                yield Record(path, line, dict(zip(header, cells, strict=True)))


def _header(path: Path, line: int, cells: list[str], problem: str) -> list[str]:
    names = [cell.strip() for cell in cells]
    if problem or any(_undecoded(name) for name in names):
        raise UserError(f"{path}:{line}: the header cannot be read ({problem or 'not UTF-8 text'})")
    if any(len(name.split()) > 6 for name in names):
        raise UserError(f"{path}:{line}: the first line is data, not a header; add one such as anchor,positive")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"{path}:{line}: the header names column {twice!r} twice")
    return names


def _undecoded(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _table(text: io.TextIOWrapper, sample: str, path: Path) -> Iterator[tuple[int, list[str], str]]:
    """Yield line, cells and problem of each row; tab-separated text is split plainly where quotes mean nothing."""
    first = sample.splitlines()[0] if sample.splitlines() else ""
    delimiter = "\t" if ending(path) == ".tsv" else max(",;\t", key=first.count)
    if delimiter == "\t" and _plain_tabs(sample):
        for number, line in enumerate(text, 1):
            if line.strip("\r\n"):
                yield number, [_unquoted(cell) for cell in line.rstrip("\r\n").split("\t")], ""
        return
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield start, [], f"not valid CSV ({error})"
            continue
        if cells:
            yield start, cells, ""


def _plain_tabs(sample: str) -> bool:
    """Whether quotes mean nothing in tab-separated text: lines have the same number of tabs, and reading the
    quotes as CSV does not give an even table as well.

    Tab-separated sets often carry a stray ``"`` that a CSV reader would take for the start of a field
    running over many lines.
    """
    lines = [line for line in sample.split("\n")[:-1] if line.strip("\r")] or [sample]
    if len({line.count("\t") for line in lines}) > 1:
        return False
    if not any(line.startswith('"') or '\t"' in line for line in lines):
        return True
    try:
        return len({len(row) for row in csv.reader(io.StringIO("\n".join(lines)), delimiter="\t", strict=True)}) > 1
    except csv.Error:
        return True


def _unquoted(cell: str) -> str:
    if len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in cell[1:-1].replace('""', ""):
        return cell[1:-1].replace('""', '"')
    return cell


def _parquet(path: Path) -> Iterator[Record]:
    import pyarrow.parquet as pq

    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty; it should hold one example a row")
    try:
        with pq.ParquetFile(path) as file:
            yield from _arrow_rows(path, file.iter_batches(batch_size=_BATCH))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not a whole Parquet file ({_first_line(error)})") from None


def _arrow(path: Path) -> Iterator[Record]:
    """An Arrow file of a saved ``datasets`` folder (stream format) or of any other writer (file format)."""
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as source:
            try:
                batches: Any = pa.ipc.open_stream(source)
            except pa.ArrowInvalid:
                file = pa.ipc.open_file(source)
                batches = (file.get_batch(i) for i in range(file.num_record_batches))
            yield from _arrow_rows(path, batches)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not a whole Arrow file ({_first_line(error)})") from None


def _arrow_rows(path: Path, batches: Any) -> Iterator[Record]:
    number = 0
    for batch in batches:
        for start in range(0, batch.num_rows, _BATCH):
            for values in batch.slice(start, _BATCH).to_pylist():
                number += 1
                yield Record(path, number, values)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
