"""What the steps with weights of their own share: how they are saved and loaded."""

from __future__ import annotations

from typing import Any

from sentence_transformers.base.modules import Module


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
