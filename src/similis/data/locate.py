"""What a path holds: one file, a folder of splits, a saved ``datasets`` folder, or a BEIR folder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from similis.data.opening import must_exist
from similis.data.records import ENDINGS, Record, ending, records
from similis.errors import UserError, did_you_mean
from similis.files import read_json

_SPLITS = {"train": "train", "dev": "dev", "validation": "dev", "valid": "dev", "val": "dev", "test": "test"}
_STEM = re.compile(r"(train|dev|validation|valid|val|test)(-\d+-of-\d+)?")


@dataclass(frozen=True)
class Located:
    """The files of each split under ``path``; a single file or an unsplit set has the one split ``""``."""

    path: Path
    splits: dict[str, tuple[Path, ...]]
    beir: bool = False

    def files(self, split: str | None) -> tuple[str, tuple[Path, ...]]:
        """The chosen split's name and files; by default the training split, or the only one there is.

        Raises:
            UserError: there is no such split, or none is the obvious one.
        """
        if split is None:
            if "train" not in self.splits and len(self.splits) > 1:
                raise UserError(f"{self.path} has no training split; choose one of {', '.join(self.splits)}")
            split = "train" if "train" in self.splits else next(iter(self.splits))
        elif split not in self.splits:
            split = _SPLITS.get(split, split)
        if split not in self.splits:
            names = [name for name in self.splits if name]
            there = f"it has {', '.join(names)}" if names else "it is not divided into splits"
            raise UserError(f"{self.path} has no split {split!r}{did_you_mean(split, names)} ({there})")
        return split, self.splits[split]


def locate(path: Path) -> Located:
    """Find the data files under ``path``.

    Raises:
        UserError: nothing is there, or the folder holds no data that are known.
    """
    must_exist(path)
    if path.is_file():
        return Located(path, {"": (path,)})
    if data_file(path, "corpus") and (path / "qrels").is_dir():
        return Located(path, qrels_files(path), beir=True)
    saved = _saved(path)
    if saved:
        return Located(path, saved)
    splits = _split_files(path) or (_split_files(path / "data") if (path / "data").is_dir() else {})
    if splits:
        return Located(path, splits)
    raise UserError(
        f"{path} holds no data that are known; a folder should have train/dev/test files (.jsonl, .csv, .tsv, "
        ".parquet), be a saved datasets folder, or a BEIR folder (corpus.jsonl, queries.jsonl, qrels/test.tsv)"
    )


def data_file(folder: Path, stem: str) -> Path | None:
    """``folder/stem`` with an ending that is read, plain or gzip; None where there is none."""
    names = (folder / f"{stem}{end}{gz}" for end in ENDINGS[:-1] for gz in ("", ".gz"))
    return next((name for name in names if name.is_file()), None)


def qrels_files(folder: Path) -> dict[str, tuple[Path, ...]]:
    """The qrels file of each split of a BEIR folder."""
    found: dict[str, tuple[Path, ...]] = {}
    for file in sorted((folder / "qrels").iterdir()):
        stem = file.name.removesuffix(".gz")
        if stem.endswith((".tsv", ".txt", ".qrels")):
            found[stem.rpartition(".")[0]] = (file,)
    if not found:
        raise UserError(f"{folder / 'qrels'} holds no qrels; it should have a file such as test.tsv")
    return found


def _saved(folder: Path) -> dict[str, tuple[Path, ...]]:
    """Splits of a folder written by ``datasets``' ``save_to_disk``; empty where it is none."""
    if (folder / "dataset_dict.json").is_file():
        names = _listed(folder / "dataset_dict.json", "splits")
        return {_SPLITS.get(str(name), str(name)): _shards(folder / str(name)) for name in names}
    if (folder / "state.json").is_file():
        return {"": _shards(folder)}
    return {}


def _shards(folder: Path) -> tuple[Path, ...]:
    state = folder / "state.json"
    shards = [folder / str(entry.get("filename")) for entry in _listed(state, "_data_files")]
    for shard in shards:
        if not shard.is_file():
            raise UserError(f"{shard} does not exist, though {state} names it")
    return tuple(shards)


def _listed(path: Path, key: str) -> Sequence[Any]:
    value = read_json(path)
    listed = value.get(key) if isinstance(value, dict) else None
    if not isinstance(listed, list) or not listed:
        raise UserError(f"{path} names no {key.strip('_')}; the saved datasets folder is broken")
    return listed


def _split_files(folder: Path) -> dict[str, tuple[Path, ...]]:
    found: dict[str, list[Path]] = {}
    for file in sorted(folder.iterdir()):
        end = ending(file)
        if not end or not file.is_file() or ".rejected." in file.name:
            continue
        match = _STEM.fullmatch(file.name.lower().removesuffix(".gz").removesuffix(end))
        if match:
            found.setdefault(_SPLITS[match[1]], []).append(file)
    for split, files in found.items():
        if len(files) > 1 and not all("-of-" in file.name for file in files):
            raise UserError(f"{files[0]} and {files[1].name} are both the {split} split; keep one of them")
    return {split: tuple(found[split]) for split in ("train", "dev", "test") if split in found}


def all_records(files: Sequence[Path]) -> Iterator[Record]:
    """The records of several files (shards), one after the other."""
    for file in files:
        yield from records(file)
