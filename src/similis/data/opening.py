"""Opening text files, plain or gzip; what is wrong with a whole file is said in one sentence."""

from __future__ import annotations

import contextlib
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from similis.errors import UserError

_GZIP = b"\x1f\x8b"
_PEEK = 1 << 16
#: Byte-order marks of encodings that are not UTF-8, the longer first.
_MARKS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
UTF8_MARK = b"\xef\xbb\xbf"


def is_gzip(path: Path) -> bool:
    """Whether the file starts with gzip's two magic bytes, whatever its name says."""
    with path.open("rb") as stream:
        return stream.read(2) == _GZIP


def must_exist(path: Path) -> None:
    """Raise a :class:`UserError` where ``path`` is not there, with the names beside it that come close."""
    if path.exists():
        return
    import difflib

    near: list[str] = []
    if path.parent.is_dir():
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.iterdir()], n=2, cutoff=0.7)
    hint = f"; did you mean {' or '.join(repr(str(path.with_name(n))) for n in near)}?" if near else ""
    raise UserError(f"{path} does not exist{hint}")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Yield the file's decompressed bytes, buffered and positioned behind a UTF-8 byte-order mark.

    Raises:
        UserError: the file is missing, a folder, unreadable, empty, binary, in UTF-16 or UTF-32,
            or its gzip stream is broken or ends too early (also while the caller reads on).
    """
    must_exist(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder; a file is needed here")
    try:
        with _raw(path) as stream:
            head = stream.peek(_PEEK)[:_PEEK]
            _examine(path, head)
            if head.startswith(UTF8_MARK):
                stream.read(len(UTF8_MARK))
            yield cast(BinaryIO, stream)
    except EOFError:
        raise UserError(f"{path} is a truncated gzip file: it ends before its end mark") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path} is a broken gzip file ({error})") from None
    except PermissionError:
        raise UserError(f"{path} may not be read: permission denied") from None


def _raw(path: Path) -> io.BufferedReader:
    if is_gzip(path):
        return io.BufferedReader(gzip.open(path, "rb"), _PEEK)
    return io.BufferedReader(io.FileIO(path, "r"), _PEEK)


def _examine(path: Path, head: bytes) -> None:
    if not head.strip(b" \t\r\n" + UTF8_MARK):
        raise UserError(f"{path} is empty; it should hold one example a line")
    for mark, name in _MARKS.items():
        if head.startswith(mark):
            raise UserError(f"{path} is {name} text; save it as UTF-8")
    if b"\0" in head:
        raise UserError(
            f"{path} is a binary file; data are read from JSONL, CSV, TSV, Parquet, "
            "Hugging Face datasets folders or BEIR folders"
        )
