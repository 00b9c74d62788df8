"""Steps of models that sentence-transformers has no class for; it loads them from a saved folder.

A folder names its steps by ``similis.encoders.modules.NAME``, wherever the class is written, so that it stays readable.
sentence-transformers asks for ``trust_remote_code=True`` before it imports them, as for any class that is not its own;
:func:`similis.encoders.load` needs no such word: it knows these classes and runs no other.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from similis.encoders.modules.impacts import TokenImpacts
    from similis.encoders.modules.latent_attention import LatentAttention
    from similis.encoders.modules.positions import LongTransformer
    from similis.encoders.modules.scalar_mix import ScalarMix
    from similis.encoders.modules.windows import WindowAggregation, WindowTransformer

_HOMES = {
    "LatentAttention": "latent_attention",
    "LongTransformer": "positions",
    "ScalarMix": "scalar_mix",
    "TokenImpacts": "impacts",
    "WindowAggregation": "windows",
    "WindowTransformer": "windows",
}

__all__ = [
    "LatentAttention",
    "LongTransformer",
    "ScalarMix",
    "TokenImpacts",
    "WindowAggregation",
    "WindowTransformer",
]


def own_classes() -> dict[str, type[Any]]:
    """All steps by the name under which a folder has them."""
    return {f"{__name__}.{name}": __getattr__(name) for name in _HOMES}


def __getattr__(name: str) -> Any:
    """Import a class when it is first asked for: torch is heavy."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
