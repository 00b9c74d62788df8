"""The folder of an array encoder: ``array_encoder.json`` and ``model.safetensors``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from similis.encoders.arrays import SETTINGS
from similis.encoders.arrays.encoder import ArrayEncoder
from similis.encoders.arrays.modules import BuiltIn
from similis.encoders.folder import building_model, check_tensors
from similis.errors import UserError
from similis.files import read_json, sha256, write_json

WEIGHTS = "model.safetensors"
FORMAT = 1


def write(encoder: ArrayEncoder, folder: Path) -> None:
    """Write an encoder.

    Raises:
        UserError: the folder holds files that are no model.
    """
    module = encoder.module
    with building_model(folder) as aside:
        tensors = {name: t.detach().cpu().contiguous().clone() for name, t in module.state_dict().items()}
        save_file(tensors, aside / WEIGHTS)
        settings = {
            "format": FORMAT,
            "module": module.text if isinstance(module, BuiltIn) else None,
            "class": None if isinstance(module, BuiltIn) else encoder.name,
            "shape": list(encoder.shape),
            "dimension": encoder.dimension,
            "similarity": encoder.similarity_name,
            "weights_sha256": sha256(aside / WEIGHTS),
        }
        write_json(aside / SETTINGS, settings)


def read(folder: Path, module: nn.Module | None) -> ArrayEncoder:
    """Read what :func:`write` wrote; ``module`` is the user's own, where it is not one that a text names.

    Raises:
        UserError: see :meth:`ArrayEncoder.load`.
    """
    settings = _settings(folder)
    text, shape = settings["module"], tuple(settings["shape"])
    if text is not None and module is not None:
        raise UserError(f"{folder} holds the module {text}, which is made anew: leave module out")
    if text is None and module is None:
        raise UserError(
            f"{folder} holds the weights of {settings['class']}, which is code of your own and not in the folder: "
            f"give an instance, as in load({str(folder)!r}, module={settings['class'].rpartition('.')[2]}())"
        )
    made = BuiltIn(text, shape) if module is None else module
    saved = _weights(folder / WEIGHTS, settings["weights_sha256"])
    _check_fit(folder, settings["class"] or text, made.state_dict(), saved)
    made.load_state_dict(saved)
    made.eval()
    return ArrayEncoder(made, shape, settings["similarity"])


def _settings(folder: Path) -> dict[str, Any]:
    file = folder / SETTINGS
    settings: dict[str, Any] = read_json(file)
    wanted = ("format", "module", "class", "shape", "similarity", "weights_sha256")
    missing = [name for name in wanted if not isinstance(settings, dict) or name not in settings]
    if missing:
        raise UserError(f"{file} lacks {missing[0]!r}; it is not whole, copy the model again")
    if settings["format"] != FORMAT:
        raise UserError(f"{file} has the format {settings['format']!r}, and this release reads {FORMAT}")
    shape = settings["shape"]
    if not isinstance(shape, list) or not shape or not all(type(size) is int and size > 0 for size in shape):
        raise UserError(f"{file}: the shape of a row must be whole numbers above 0, not {shape!r}")
    if not isinstance(settings["module"] or settings["class"], str):
        raise UserError(f"{file} names neither a module nor a class")
    return settings


def _weights(file: Path, digest: str) -> dict[str, torch.Tensor]:
    if not file.is_file():
        raise UserError(f"{file} is missing; the model's folder holds no weights")
    check_tensors(file)
    if sha256(file) != digest:
        raise UserError(f"{file} is not the one that was saved (its checksum differs); copy the model again")
    try:
        return dict(load_file(file))
    except SafetensorError as error:
        raise UserError(f"{file} is damaged ({error}); copy the model again") from None


def _check_fit(folder: Path, kind: str, own: Mapping[str, Any], saved: Mapping[str, torch.Tensor]) -> None:
    """Refuse a module whose tensors are not the saved ones; says which."""
    said = []
    for what, names in (("lacks", saved.keys() - own.keys()), ("also has", own.keys() - saved.keys())):
        if names:
            said.append(f"{what} {_shown(sorted(names))}")
    other = [name for name in sorted(saved.keys() & own.keys()) if saved[name].shape != own[name].shape]
    if other:
        sizes = [f"{name} {list(own[name].shape)} for {list(saved[name].shape)}" for name in other]
        said.append(f"has {_shown(sizes)}")
    if said:
        raise UserError(f"the module does not fit the weights of {kind} in {folder}: it {', and '.join(said)}")


def _shown(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
