"""An index folder's manifest: what is in it, by whom it was made, and a checksum for every file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

from similis.errors import UserError
from similis.files import read_json, sha256, write_json

FORMAT = 1
NAME = "manifest.json"
#: Folders up to this many bytes have all checksums compared when they are opened; larger ones only sizes.
CHECKED = 1 << 30


def write_manifest(folder: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """Write the manifest of a folder: ``facts``, the size and SHA-256 of every file, and a checksum of itself."""
    import similis

    files = {name: _entry(folder / name) for name in _files(folder)}
    manifest = {"format": FORMAT, "similis": similis.__version__, **facts, "files": files}
    return rewrite_manifest(folder, manifest)


def rewrite_manifest(folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """Write a changed manifest, whole or not at all; the files it lists are as they were."""
    sealed = {**manifest, "checksum": _seal(manifest)}
    write_json(folder / NAME, sealed)
    return sealed


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an index folder.

    Raises:
        UserError: not an index folder, made by a newer version, or the manifest was changed.
    """
    path = folder / NAME
    if not folder.is_dir():
        kind = "is a file, not an index folder" if folder.exists() else "does not exist"
        raise UserError(f"{folder} {kind}; build one with: similis index MODEL CORPUS -o {folder}")
    if not path.is_file():
        raise UserError(f"{folder} is not an index folder: it has no {NAME}")
    manifest = read_json(path)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("format"), int):
        raise UserError(f"{path} is not the manifest of an index: it has no format number")
    if manifest["format"] > FORMAT:
        raise UserError(
            f"{path}: the index has format {manifest['format']}, made by similis {manifest.get('similis')}; "
            f"this version reads up to format {FORMAT}: update similis or build the index again"
        )
    if manifest.get("checksum") != _seal(manifest):
        raise UserError(f"{path} was changed after it was written (its checksum differs); build the index again")
    return manifest


def verify(folder: Path, manifest: dict[str, Any], checksums: bool | None = None) -> None:
    """Compare the folder's files with the manifest.

    Args:
        folder: the index.
        manifest: what :func:`read_manifest` gave.
        checksums: compare SHA-256 as well as sizes; None does so up to 1 GiB in all.

    Raises:
        UserError: a file is missing, has another size or another checksum; it is named.
    """
    files: dict[str, Any] = manifest["files"]
    for name, entry in files.items():
        path = folder / name
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise UserError(f"{folder / NAME} lists {name!r}, which lies outside the index folder")
        if not path.is_file():
            raise UserError(f"{path} is missing from the index; restore it or build the index again")
        size = path.stat().st_size
        if size != entry["size"]:
            raise UserError(f"{path} has {size:,} bytes instead of {entry['size']:,}; build the index again")
    total = sum(entry["size"] for entry in files.values())
    if checksums or (checksums is None and total <= CHECKED):
        _compare(folder, files)


def _compare(folder: Path, files: dict[str, Any]) -> None:
    # Hashing releases the interpreter, so threads share the work; the longest file goes first.
    names = sorted(files, key=lambda name: -files[name]["size"])
    with ThreadPoolExecutor(4) as pool:
        for name, digest in zip(names, pool.map(lambda name: sha256(folder / name), names), strict=True):
            if digest != files[name]["sha256"]:
                raise UserError(f"{folder / name} was changed or damaged (its checksum differs); build the index again")


def _seal(manifest: dict[str, Any]) -> str:
    plain = {key: value for key, value in manifest.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(plain, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _files(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / NAME:
            yield path.relative_to(folder).as_posix()


def _entry(path: Path) -> dict[str, Any]:
    return {"size": path.stat().st_size, "sha256": sha256(path)}
