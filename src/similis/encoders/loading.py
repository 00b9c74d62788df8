"""Loading an encoder from a folder or a hub name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from similis.encoders.arrays import SETTINGS as ARRAYS
from similis.encoders.base import OWN_SETTING, stated_similarity
from similis.encoders.folder import check_files, family_of, missing, read_modules, read_settings
from similis.encoders.static.format import is_static, read
from similis.errors import UserError, did_you_mean
from similis.progress import note

if TYPE_CHECKING:
    from torch import nn

#: What runs a transformer: torch, and others by the module whose ``BACKEND`` each is.
BACKENDS = {
    "torch": "",
    "openvino": "similis.encoders.library.openvino",
    "onnx": "similis.encoders.library.onnx",
}
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_NOT_NEEDED = ["onnx/*", "openvino/*", "*.bin", "*.h5", "*.ot", "*.msgpack", "*.onnx", "*.tflite", "*.pt"]


def load(
    path_or_name: str | Path,
    *,
    module: nn.Module | None = None,
    backend: str = "torch",
    precision: str = "float32",
    texts: Sequence[str] | None = None,
    threads: int | None = None,
    force: bool = False,
) -> Any:
    """Load a model in sentence-transformers format (dense, static, sparse, multi-vector, cross-encoder) or of arrays.

    A static model is loaded with NumPy, tokenizers and safetensors alone; anything else through
    sentence-transformers. A name without a slash is looked for under ``sentence-transformers/`` on the hub.
    Code that comes with a model is never run, and weights in pickle format are refused.

    Args:
        path_or_name: a folder, a name on the hub, or either with parts of its own as ``dense(windows=mean):NAME``
            (see :func:`similis.encoders.library.creating_dense.dense`).
        module: of a model of arrays that is a module of your own: an instance, whose weights become the saved ones.
        backend: ``torch``, or for a dense transformer ``openvino`` or ``onnx`` (optional parts).
        precision: of those two: ``float32``, or ``int8`` that is made with and judged on ``texts``; see
            :func:`similis.encoders.library.exported.exported`, also for ``threads`` and ``force``. A folder that such
            an encoder was saved to has what is needed, and a file that came with a model (``onnx/model.onnx``) is run
            in float32. In bfloat16 torch encodes by :func:`similis.encoders.fast.fast`.

    Returns:
        The encoder of the folder's family (its ``family``), an :class:`~similis.encoders.base.Encoder`; of a
        cross-encoder, which reads pairs, a :class:`~similis.encoders.scorers.cross.CrossEncoderScorer`; of a model of
        arrays, an :class:`~similis.encoders.arrays.encoder.ArrayEncoder`.

    Raises:
        UserError: there is no such model; a part of it is missing, damaged or lies outside its folder; or it
            is a model of a family that is not read (it is named).
    """
    if backend not in BACKENDS:
        raise UserError(f"backend must be {' or '.join(BACKENDS)}, not {backend!r}{did_you_mean(backend, BACKENDS)}")
    if BACKENDS[backend]:
        from similis.encoders.library.exported import opened

        runtime = import_module(BACKENDS[backend]).BACKEND
        return opened(load(path_or_name, module=module), runtime, Path(path_or_name), precision, texts, threads, force)
    if precision != "float32" or texts is not None or threads is not None or force:
        raise UserError("precision, texts, threads and force are for backend='openvino' or 'onnx'; name one")
    if str(path_or_name).startswith("dense("):
        from similis.encoders.creating import create

        return create(str(path_or_name))
    folder = folder_of(path_or_name)
    if (folder / ARRAYS).is_file():
        from similis.encoders.arrays import ArrayEncoder

        return ArrayEncoder.load(folder, module)
    if module is not None:
        raise UserError(f"{folder} is no model of arrays: it has its own modules, leave module out")
    family = family_of(folder)
    if (folder / "modules.json").is_file() or not (folder / "config.json").is_file():
        modules = read_modules(folder)
        check_files(folder, modules)
        if family == "dense" and is_static(modules):
            return read(folder, modules)
    elif list(folder.glob("[0-9]_*")) or (folder / "config_sentence_transformers.json").is_file():
        read_modules(folder)  # a sentence-transformers model that lost its modules.json: says so
    else:
        _check_plain(folder, family)
    return _opened(folder, family)


def folder_of(path_or_name: str | Path) -> Path:
    """The folder of a model; that of a name on the hub is fetched where it is not there yet.

    Raises:
        UserError: there is no such model.
    """
    folder = Path(path_or_name)
    if folder.is_file():
        raise UserError(f"{folder} is a file; give the model's folder")
    return folder if folder.is_dir() else _download(str(path_or_name))


def _opened(folder: Path, family: str) -> Any:
    """A checked folder through sentence-transformers."""
    if family == "cross":
        from similis.encoders.scorers.cross import CrossEncoderScorer

        return CrossEncoderScorer.open(folder)
    if family == "sparse":
        from similis.encoders.library.sparse import SparseLibraryEncoder

        return SparseLibraryEncoder.open(folder)
    if family == "multi_vector":
        from similis.encoders.library.multi_vector import MultiVectorLibraryEncoder

        return MultiVectorLibraryEncoder.open(folder)
    from sentence_transformers import SentenceTransformer

    from similis.encoders.library.dense import SentenceTransformerEncoder
    from similis.encoders.library.encoder import open_model

    encoder = SentenceTransformerEncoder(open_model(folder, SentenceTransformer))
    encoder.similarity_name = stated_similarity({"similarity_fn_name": encoder.similarity_name} | _own(folder))
    return encoder


def _own(folder: Path) -> dict[str, str]:
    """The similarity under our own setting, where the folder has one."""
    settings = read_settings(folder)
    return {OWN_SETTING: settings[OWN_SETTING]} if OWN_SETTING in settings else {}


def _check_plain(folder: Path, family: str) -> None:
    """A transformers folder without modules.json: usable, with mean pooling, if its weights are sound."""
    from similis.encoders.folder import Module

    check_files(folder, [Module("sentence_transformers.models.Transformer", folder)])
    if family == "dense":
        note(f"{folder} has no modules.json: its token vectors are averaged")


def _download(name: str) -> Path:
    """The local copy of a hub model, fetched where it is not there yet."""
    if not _HUB_NAME.fullmatch(name):
        raise missing(name, "no such folder")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    full = name if "/" in name else f"sentence-transformers/{name}"
    try:
        return Path(snapshot_download(full, ignore_patterns=_NOT_NEEDED))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise missing(name, f"no such folder, and the hub did not give it ({reason})") from None
