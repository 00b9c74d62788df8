"""The transformer that a new model starts from."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from similis.encoders.folder import check_files, read_modules
from similis.errors import UserError
from similis.files import read_json


def transformer(folder: Path, task: str, seed: int) -> Any:
    """The library's Transformer of a folder for ``task``; ``seed`` is of what its checkpoint lacks.

    Raises:
        UserError: the folder holds no transformer, or one that cannot be loaded.
    """
    from sentence_transformers.base.modules import Transformer

    place, limit = folder, None
    if (folder / "modules.json").is_file():
        modules = read_modules(folder)
        check_files(folder, modules)
        if modules[0].kind not in ("Transformer", "MLMTransformer"):
            raise UserError(f"{folder} starts with {modules[0].kind}, and a new model is made from a transformer")
        place = modules[0].folder
        settings = place / "sentence_bert_config.json"
        limit = read_json(settings).get("max_seq_length") if settings.is_file() else None
    if not (place / "config.json").is_file():
        raise UserError(f"{folder} is no transformer's folder: it has no config.json")
    given = {"trust_remote_code": False, "local_files_only": True}
    weights = {**given, "use_safetensors": True}
    try:
        # it would tell at length of the head that is new, which is told in one sentence
        with _quiet(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = Transformer(str(place), transformer_task=task, model_kwargs=weights, config_kwargs=given)
    except Exception as error:  # the library raises whatever its parts raise
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UserError(f"{folder} cannot be loaded as a transformer: {reason}") from error
    if limit is not None:
        made.max_seq_length = limit
    return made


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
