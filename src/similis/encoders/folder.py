"""Reading a model folder in sentence-transformers format, with every check that needs no model library."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from similis.errors import UserError, did_you_mean
from similis.files import read_json

#: Weights in Python's pickle format; reading one can run code, so they are refused.
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


@dataclass(frozen=True)
class Module:
    """One step of a model: the class it names, and the folder of its files."""

    type: str
    folder: Path

    @property
    def kind(self) -> str:
        """The class's own name, whatever release of the library wrote the path before it."""
        return self.type.rpartition(".")[2]


#: sentence-transformers' file of prompts and similarity.
SETTINGS = "config_sentence_transformers.json"


def read_settings(folder: Path) -> dict[str, Any]:
    """``config_sentence_transformers.json``, or nothing where an old model has none."""
    file = folder / SETTINGS
    if not file.exists():
        return {}
    settings = read_json(file)
    if not isinstance(settings, dict):
        raise UserError(f"{file} must hold an object, not a {type(settings).__name__}")
    return settings


def check_family(folder: Path) -> None:
    """Raise where the model is of another family than texts → one dense vector each.

    Raises:
        UserError: a CrossEncoder, SparseEncoder or MultiVectorEncoder, named as what it is.
    """
    named = read_settings(folder).get("model_type") or "SentenceTransformer"
    config = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    heads = config.get("architectures") or [] if isinstance(config, dict) else []
    if named == "SentenceTransformer" and any(h.endswith("ForSequenceClassification") for h in heads):
        named = "CrossEncoder"
    if named == "SentenceTransformer" and (folder / "modules.json").is_file():
        kinds = [module.kind for module in read_modules(folder)]
        if any(kind.startswith(("SpladePooling", "SparseStatic", "SparseAutoEncoder")) for kind in kinds):
            named = "SparseEncoder"
    if named != "SentenceTransformer":
        gives = {
            "CrossEncoder": "scores pairs of texts instead of giving each a vector",
            "SparseEncoder": "gives sparse vectors over a vocabulary",
            "MultiVectorEncoder": "gives several vectors a text",
        }.get(named, "is not read here")
        raise UserError(f"{folder} is a {named}: it {gives}; give a SentenceTransformer (dense) model")


def read_modules(folder: Path) -> list[Module]:
    """The steps that ``modules.json`` lists, in order.

    Raises:
        UserError: the file is missing or malformed, a path leaves the folder, or a class is not
            sentence-transformers' own (it would be code from the model's author).
    """
    file = folder / "modules.json"
    if not file.is_file():
        raise UserError(f"{folder} has no modules.json, so it is not a model in sentence-transformers format")
    entries = read_json(file)
    if not isinstance(entries, list) or not entries:
        raise UserError(f"{file} must list the model's modules, each with 'type' and 'path'")
    return [_module(file, folder, number, entry) for number, entry in enumerate(entries, 1)]


def _module(file: Path, folder: Path, number: int, entry: Any) -> Module:
    kind, path = (entry.get("type"), entry.get("path")) if isinstance(entry, dict) else (None, None)
    if not isinstance(kind, str) or not isinstance(path, str):
        raise UserError(f"{file}: module {number} lacks a 'type' or a 'path'")
    if not kind.startswith("sentence_transformers."):
        raise UserError(f"{file}: module {number} is {kind!r}, code of the model's author, which is not run")
    home = (folder / path).resolve()
    if not home.is_relative_to(folder.resolve()):
        raise UserError(f"{file}: module {number} lies at {path!r}, outside the model's folder")
    return Module(kind, home)


def check_files(folder: Path, modules: list[Module]) -> None:
    """Check that each module's folder is there and that weights are whole and no pickles.

    Raises:
        UserError: naming the file.
    """
    for number, module in enumerate(modules, 1):
        if not module.folder.is_dir():
            if module.kind == "Normalize":  # it has no files, and some copies leave its empty folder out
                continue
            raise UserError(f"{module.folder} is missing; modules.json names it as module {number}")
        whole = sorted(module.folder.glob("*.safetensors"))
        for file in whole:
            check_tensors(file)
        pickles = [file for pattern in _PICKLES for file in sorted(module.folder.glob(pattern))]
        if not whole and pickles:
            raise UserError(f"{pickles[0]} is a pickle, which can run code; save the weights as safetensors")
        if not whole and module.kind in ("Transformer", "StaticEmbedding", "Dense"):
            raise UserError(f"{module.folder} holds no weights (model.safetensors)")


def check_tensors(file: Path) -> tuple[dict[str, Any], int]:
    """Check that a safetensors file is as long as its header says.

    Returns:
        The header (name → dtype, shape, data_offsets), and where the data starts in the file, in bytes.

    Raises:
        UserError: it is truncated or not in that format.
    """
    size = file.stat().st_size
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > size - 8:
                raise ValueError("the header is longer than the file")
            header = dict(json.loads(stream.read(length)))
        header.pop("__metadata__", None)
        whole = 8 + length + max((e["data_offsets"][1] for e in header.values()), default=0) == size
    except (struct.error, ValueError, KeyError, TypeError, IndexError):
        whole = False
    if not whole:
        raise UserError(f"{file} is truncated or damaged; copy it again")
    return header, 8 + length


def missing(path: str, why: str) -> UserError:
    """The error for a model that is not there, with folders of similar names."""
    folder = Path(path)
    beside = [each.name for each in folder.parent.iterdir()] if folder.parent.is_dir() else []
    return UserError(f"there is no model {path!r}: {why}{did_you_mean(folder.name, beside)}")
