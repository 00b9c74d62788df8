"""Files that are whole or absent: written aside, flushed, renamed; folders likewise; checksums."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from similis.errors import UserError


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _with_room(path: Path) -> Iterator[None]:
    """Say in one sentence that a disk is full; libraries that write by themselves only tell the system's number."""
    try:
        yield
    except Exception as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if not full and f"os error {errno.ENOSPC}" not in str(error):
            raise
        raise UserError(
            f"no space is left to write {path}; what was written before is whole: make room and run the same again"
        ) from None


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; on success it is flushed and renamed over ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(descriptor)
    aside = Path(name)
    try:
        with _with_room(path):
            yield aside
            _sync(aside)
        os.chmod(aside, 0o666 & ~_umask())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


@contextlib.contextmanager
def building(folder: Path, *, replace: bool = True) -> Iterator[Path]:
    """Yield a new folder beside ``folder`` to fill; on success it takes the place of ``folder``.

    Raises:
        UserError: ``folder`` exists and ``replace`` is False, or it is a file.
    """
    if folder.is_file() or (folder.exists() and not replace):
        raise UserError(f"{folder} already exists; choose another name or remove it first")
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        with _with_room(folder):
            yield aside
            for file in aside.rglob("*"):
                if file.is_file():
                    _sync(file)
        os.chmod(aside, 0o777 & ~_umask())
        _swap(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _swap(new: Path, old: Path) -> None:
    """Rename ``new`` to ``old``; what stood there before is moved away first and removed last."""
    if not old.exists():
        os.rename(new, old)
        return
    doomed = Path(tempfile.mkdtemp(prefix=f".{old.name}.old.", dir=old.parent))
    os.rename(old, doomed / "was")
    try:
        os.rename(new, old)
    except OSError:
        os.rename(doomed / "was", old)
        raise
    finally:
        shutil.rmtree(doomed, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented UTF-8 JSON, whole or not at all."""
    with writing(path) as aside:
        aside.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file; a missing or broken one is a :class:`UserError` naming file and line."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}: not valid JSON ({error.msg})") from None
