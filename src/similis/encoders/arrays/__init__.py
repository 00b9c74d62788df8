"""Encoders of arrays: rows of numbers, images or vectors made elsewhere to vectors, by any torch module.

``encoder`` encodes and judges nothing of what a row is, ``modules`` are the ones that can be named by text,
``format`` reads and writes a folder.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from similis.encoders.arrays.encoder import ArrayEncoder
    from similis.encoders.arrays.modules import BuiltIn, built_in

#: The settings of a model of arrays, by which its folder is known.
SETTINGS = "array_encoder.json"

#: The modules that a text names.
MODULES = ("linear", "mlp", "conv")

__all__ = ["ArrayEncoder", "BuiltIn", "built_in"]

_HOMES = {"ArrayEncoder": "encoder", "BuiltIn": "modules", "built_in": "modules"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"similis.encoders.arrays.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
