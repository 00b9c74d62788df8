"""Transformers run by OpenVINO, through sentence-transformers' own back end; see :mod:`exported`."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from similis.encoders.library.exported import Backend
from similis.errors import MissingExtraError


class OpenVINO(Backend):
    """OpenVINO, which is made for processors; int8 is calibrated on the texts."""

    name, title = "openvino", "OpenVINO"
    main, files = "openvino_model.xml", "*"

    def require(self) -> None:
        """Raise MissingExtraError where it is not installed."""
        try:
            import optimum.intel.openvino  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("backend='openvino'", "openvino") from error

    def step(self, first: Any, folder: Path, threads: int | None) -> Any:
        """The library's transformer of an exported folder; sums are in float32 where the weights are."""
        from sentence_transformers.base.modules import Transformer

        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        given = {"trust_remote_code": False, "local_files_only": True}
        own = {**given, "ov_config": settings, "file_name": self.main, "export": False}
        return Transformer.load(str(folder), backend="openvino", model_kwargs=own, config_kwargs=given)

    def export(self, first: Any, folder: Path, texts: list[str] | None) -> None:
        """Write it, with the settings and the tokenizer that the library wants beside it."""
        from optimum.intel.openvino import OVConfig, OVModelForFeatureExtraction, OVQuantizationConfig, OVQuantizer

        first.save(str(folder))
        model = OVModelForFeatureExtraction.from_pretrained(folder, export=True, local_files_only=True, compile=False)
        if texts is None:
            model.save_pretrained(folder / self.name)
            return
        from datasets import Dataset

        tokens = first.tokenizer(texts, truncation=True)
        settings = OVConfig(quantization_config=OVQuantizationConfig(num_samples=len(texts)))
        with tempfile.TemporaryDirectory() as aside:
            OVQuantizer.from_pretrained(model).quantize(
                Dataset.from_dict(dict(tokens)), save_directory=aside, ov_config=settings
            )
            found = next(Path(aside).rglob(self.main)).parent
            shutil.copytree(found, folder / self.name)


BACKEND = OpenVINO()
