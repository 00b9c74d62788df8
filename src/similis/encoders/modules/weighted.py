"""What steps share: how those with weights are saved and loaded, and how one becomes another that does more."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

from sentence_transformers.base.modules import Module
from torch import nn

Step = TypeVar("Step", bound=nn.Module)


class WeightedModule(Module):  # type: ignore[misc]
    """A step of a sentence-transformers model that saves its settings and its weights (safetensors, no pickle)."""

    def save(self, output_path: str, *args: Any, safe_serialization: bool = True, **kwargs: Any) -> None:
        """Write ``config.json`` and ``model.safetensors`` into a folder."""
        self.save_config(output_path)
        self.save_torch_weights(output_path, safe_serialization=True)

    @classmethod
    def load(cls, model_name_or_path: str, subfolder: str = "", **kwargs: Any) -> Any:
        """The step of a folder; further arguments that are not about finding the folder are ignored."""
        known = ("token", "cache_folder", "revision", "local_files_only")
        where = {"subfolder": subfolder, **{name: kwargs[name] for name in known if name in kwargs}}
        made = cls(**cls.load_config(model_name_or_path, **where))
        return cls.load_torch_weights(model_name_or_path, model=made, **where)


def retyped(step: nn.Module, kind: type[Step]) -> Step:
    """A step of another class that shares this one's weights and settings."""
    made = copy.copy(step)
    made._modules = dict(step._modules)
    made.__class__ = kind
    return made  # type: ignore[return-value]
