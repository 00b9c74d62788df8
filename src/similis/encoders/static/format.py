"""The folder of a static model, as sentence-transformers 6 writes it: read and written without torch."""

from __future__ import annotations

import importlib.metadata
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from similis.encoders.base import Vectors, similarity_settings, stated_similarity
from similis.encoders.folder import Module, building_model, check_tensors, read_settings
from similis.errors import UserError
from similis.files import write_json

if TYPE_CHECKING:
    from similis.encoders.static.encoder import StaticEncoder

_STATIC = "sentence_transformers.sentence_transformer.modules.static_embedding.StaticEmbedding"
_NORMALIZE = "sentence_transformers.base.modules.normalize.Normalize"


def is_static(modules: list[Module]) -> bool:
    """Whether the light path can load it: a StaticEmbedding, alone or followed by a Normalize."""
    return [module.kind for module in modules] in (["StaticEmbedding"], ["StaticEmbedding", "Normalize"])


def read(folder: Path, modules: list[Module]) -> StaticEncoder:
    """Load a folder for which :func:`is_static` holds.

    Raises:
        UserError: a part is missing or damaged, or tokenizer and weights do not belong together.
    """
    from similis.encoders.static.encoder import StaticEncoder
    from similis.encoders.static.tokenizers import tokenizer_from

    home = modules[0].folder
    settings = read_settings(folder)
    tokenizer = tokenizer_from(home)
    weights = _read_weights(home / "model.safetensors")
    try:
        return StaticEncoder(
            tokenizer,
            weights,
            normalize=len(modules) == 2,
            similarity_name=stated_similarity(settings),
            prompts=settings.get("prompts") or {},
            default_prompt_name=settings.get("default_prompt_name"),
        )
    except UserError as error:
        raise UserError(f"{folder}: {error}") from None


def _read_weights(file: Path) -> Vectors:
    """Token vectors float32 ``[V, d]``; a model2vec file's mapping and token weights are folded in."""
    if not file.is_file():
        raise UserError(f"{file} is missing; the model folder holds no weights in safetensors format")
    tensors = read_tensors(file)
    if "embedding.weight" in tensors:
        return tensors["embedding.weight"].astype(np.float32, copy=False)
    if "embeddings" not in tensors:
        raise UserError(f"{file} holds {', '.join(tensors) or 'nothing'}, not the 'embedding.weight' of a static model")
    rows = tensors["embeddings"].astype(np.float32, copy=False)
    if "mapping" in tensors:
        rows = rows[tensors["mapping"].astype(np.int64)]
    if "weights" in tensors:
        rows = rows * tensors["weights"].astype(np.float32)[:, None]
    return rows


def read_tensors(file: Path) -> dict[str, NDArray[Any]]:
    """All tensors of a safetensors file, by memory map; bfloat16 comes as float32.

    Raises:
        UserError: the file is truncated, not in that format, or holds a type NumPy lacks.
    """
    header, start = check_tensors(file)
    data = np.memmap(file, dtype=np.uint8, mode="r", offset=start) if header else np.zeros(0, np.uint8)
    return {name: _array(file, data, entry) for name, entry in header.items()}


_TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
}


def _array(file: Path, data: NDArray[np.uint8], entry: dict[str, Any]) -> NDArray[Any]:
    if entry["dtype"] not in _TYPES:
        raise UserError(f"{file} holds tensors of type {entry['dtype']}; save the model in float32")
    low, high = entry["data_offsets"]
    try:
        array = np.frombuffer(data[low:high], _TYPES[entry["dtype"]]).reshape(entry["shape"])
    except ValueError:
        raise UserError(f"{file} is damaged: a tensor's bytes do not fit its shape; copy it again") from None
    if entry["dtype"] == "BF16":  # the upper half of a float32
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array


def write(encoder: StaticEncoder, folder: Path) -> None:
    """Write modules.json, settings, weights, tokenizer and a model card, aside, and rename."""
    from safetensors.numpy import save_file

    with building_model(folder) as aside:
        modules = [{"idx": 0, "name": "0", "path": "", "type": _STATIC}]
        if encoder.normalizes:
            modules.append({"idx": 1, "name": "1", "path": "1_Normalize", "type": _NORMALIZE})
            names = {"module_input_name": "sentence_embedding", "module_output_name": "sentence_embedding"}
            write_json(aside / "1_Normalize/config.json", names)
        write_json(aside / "modules.json", modules)
        write_json(aside / "config_sentence_transformers.json", _settings(encoder))
        save_file({"embedding.weight": np.ascontiguousarray(encoder.weights)}, aside / "model.safetensors")
        (aside / "model.safetensors").chmod(0o644)
        encoder.tokenizer.save(str(aside / "tokenizer.json"))
        (aside / "README.md").write_text(model_card(encoder, folder.name), encoding="utf-8")


def _settings(encoder: StaticEncoder) -> dict[str, Any]:
    from similis import __version__

    return {
        "__version__": {
            "similis": __version__,
            "sentence_transformers": importlib.metadata.version("sentence-transformers"),
        },
        "default_prompt_name": encoder.default_prompt_name,
        "model_type": "SentenceTransformer",
        "prompts": encoder.prompts,
        **similarity_settings(encoder.similarity_name),
    }


def model_card(encoder: StaticEncoder, name: str) -> str:
    """A README with the facts of the model and the lines that use it."""
    tokens, dimension = encoder.weights.shape
    size = encoder.weights.nbytes / 2**20
    limit = encoder.max_tokens or math.inf
    prompts = json.dumps({k: v for k, v in encoder.prompts.items() if v}, ensure_ascii=False)
    return f"""---
tags:
- sentence-transformers
- sentence-similarity
- feature-extraction
- dense
- similis
pipeline_tag: sentence-similarity
library_name: sentence-transformers
---

# {name}

A static text encoder: the vector of a text is the mean of its tokens' vectors{
        ", L2-normalised" if encoder.normalizes else ""
    }.

| | |
|---|---|
| vocabulary | {tokens} tokens |
| dimension | {dimension} |
| size | {size:.1f} MiB, float32 |
| tokens read of a text | {limit} |
| similarity | {encoder.similarity_name} |
| prompts | {prompts} |

```python
from similis.encoders import load
model = load("{name}")                       # NumPy and tokenizers alone
vectors = model.encode(["a text", "another"])

from sentence_transformers import SentenceTransformer
vectors = SentenceTransformer("{name}").encode(["a text", "another"])   # the same vectors
```
"""
