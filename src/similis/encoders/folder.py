"""Reading a model folder in sentence-transformers format, with every check that needs no model library."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from similis.errors import UserError, did_you_mean
from similis.files import building, read_json

#: Weights in Python's pickle format; reading one can run code, so they are refused.
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")

#: Classes of the library that cannot do without weights, and those that end a sparse model.
_WEIGHTED = (
    *("Transformer", "MLMTransformer", "StaticEmbedding", "SparseStaticEmbedding", "SparseAutoEncoder", "Dense"),
    *("LatentAttention", "LongTransformer", "ScalarMix", "TokenImpacts", "WindowTransformer"),
)
_SPARSE = ("SpladePooling", "SparseStatic", "SparseAutoEncoder", "TokenImpacts")
#: Classes of this library's own that a folder may name, see :mod:`similis.encoders.modules`.
OWN = "similis.encoders.modules."
OWN_CLASSES = (
    *("LatentAttention", "LongTransformer", "ScalarMix", "TokenImpacts", "WindowAggregation", "WindowTransformer"),
)
_ROUTER = ("router_config.json", "config.json")

#: The library's names of its model classes, older ones too, and the families they are.
_FAMILIES = {
    "SentenceTransformer": "dense",
    "SparseEncoder": "sparse",
    "MultiVectorEncoder": "multi_vector",
    "ColBERT": "multi_vector",
    "CrossEncoder": "cross",
}


#: Files by which a folder is known as a model's, which a new one may replace.
_MODELS = ("modules.json", "array_encoder.json")


def usable(folder: Path) -> Path:
    """Refuse a folder that a model could not be saved in.

    Raises:
        UserError: it is a file, or holds files that are no model.
    """
    if folder.is_file():
        raise UserError(f"{folder} is a file; give the folder of the model to be")
    if folder.is_dir() and any(folder.iterdir()) and not any((folder / name).is_file() for name in _MODELS):
        raise UserError(f"{folder} holds files that are no model; choose another name or empty it")
    return folder


@contextmanager
def building_model(folder: str | Path) -> Iterator[Path]:
    """A new folder to write a model to; it takes the place of ``folder`` whole, or not at all."""
    with building(usable(Path(folder))) as aside:
        yield aside


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


def family_of(folder: Path) -> str:
    """The family of a model folder: ``dense``, ``sparse``, ``multi_vector`` or ``cross``.

    The library writes it into its settings; older folders are known by their modules or their head.

    Raises:
        UserError: a family that is not known here.
    """
    named = read_settings(folder).get("model_type") or "SentenceTransformer"
    config = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    heads = config.get("architectures") or [] if isinstance(config, dict) else []
    if named == "SentenceTransformer" and any(h.endswith("ForSequenceClassification") for h in heads):
        named = "CrossEncoder"
    if named == "SentenceTransformer" and "HF_ColBERT" in heads:
        named = "MultiVectorEncoder"
    listed = all_modules(folder) if named == "SentenceTransformer" and (folder / "modules.json").is_file() else []
    if any(module.kind.startswith(_SPARSE) for module in listed):
        named = "SparseEncoder"
    if named not in _FAMILIES:
        raise UserError(f"{folder} is a {named}, which is not read here (read are {', '.join(_FAMILIES)})")
    return _FAMILIES[named]


def all_modules(folder: Path) -> list[Module]:
    """The steps that ``modules.json`` lists, those on the routes of a router among them.

    Raises:
        UserError: as :func:`read_modules`.
    """
    return [step for module in read_modules(folder) for step in (module, *_routed(module))]


def _routed(module: Module) -> list[Module]:
    """The steps of a router, from its own settings."""
    if module.kind != "Router":
        return []
    file = next((f for name in _ROUTER if (f := module.folder / name).is_file()), None)
    if file is None:
        raise UserError(f"{module.folder} has no {_ROUTER[0]}, so the routes of its router are not known")
    settings = read_json(file)
    types = settings.get("types") if isinstance(settings, dict) else None
    if not isinstance(types, dict) or not types:
        raise UserError(f"{file} must name the routes' modules under 'types'")
    entries = [{"type": kind, "path": path} for path, kind in types.items()]
    return [_module(file, module.folder, number, entry) for number, entry in enumerate(entries, 1)]


def read_modules(folder: Path) -> list[Module]:
    """The steps that ``modules.json`` lists, in order.

    Raises:
        UserError: the file is missing or malformed, a path leaves the folder, or a class is not
            sentence-transformers' own or ours (it would be code from the model's author).
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
    if not (kind.startswith("sentence_transformers.") or (kind.startswith(OWN) and kind[len(OWN) :] in OWN_CLASSES)):
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
    steps = [step for module in modules for step in (module, *_routed(module))]
    for number, module in enumerate(steps, 1):
        if not module.folder.is_dir():
            if module.kind == "Normalize":  # it has no files, and some copies leave its empty folder out
                continue
            raise UserError(f"{module.folder} is missing; modules.json names it as module {number}")
        _check_outside(module)
        whole = sorted(module.folder.glob("*.safetensors"))
        for file in whole:
            check_tensors(file)
        pickles = [file for pattern in _PICKLES for file in sorted(module.folder.glob(pattern))]
        if not whole and pickles:
            raise UserError(f"{pickles[0]} is a pickle, which can run code; save the weights as safetensors")
        if not whole and module.kind in _WEIGHTED and not _tabled(module):
            raise UserError(f"{module.folder} holds no weights (model.safetensors)")


def _tabled(module: Module) -> str | None:
    """The file of token weights that a SparseStaticEmbedding's settings name in place of tensors."""
    file = module.folder / "config.json"
    settings = read_json(file) if module.kind == "SparseStaticEmbedding" and file.is_file() else {}
    path = settings.get("path") if isinstance(settings, dict) else None
    return path if isinstance(path, str) else None


def _check_outside(module: Module) -> None:
    table = _tabled(module)
    if table is not None and not (module.folder / table).resolve().is_relative_to(module.folder.resolve()):
        raise UserError(f"{module.folder / 'config.json'}: token weights lie at {table!r}, outside the model's folder")


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
