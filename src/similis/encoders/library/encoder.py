"""What all models of the sentence-transformers library share: opening, batches by length, the report, saving."""

from __future__ import annotations

import contextlib
import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from similis.encoders.base import Found, Options, TextEncoder, Vectors, similarity_settings
from similis.encoders.folder import OWN, SETTINGS, all_modules, building_model, read_settings
from similis.encoders.library.batching import Rows, batches, most_tokens
from similis.encoders.library.truncation import Truncation
from similis.encoders.modules import own_classes
from similis.errors import UserError
from similis.files import write_json
from similis.progress import track

#: Texts whose lengths are compared at once, in batches; bounds what is held beside the results.
_WINDOW = 64


def open_model(folder: Path, kind: type[Any]) -> Any:
    """Load a checked local folder as ``kind``, a model class of the library; code of the model's author is not run.

    Raises:
        UserError: the library cannot make a model of it, or the tokenizer has tokens that the weights lack.
    """
    try:
        model = _made(folder, kind)
    except Exception as error:  # the library raises whatever its parts raise
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UserError(f"{folder} cannot be loaded as a sentence-transformers model: {reason}") from error
    for route in routes(model).values():
        _check_tokenizer(folder, route[0])
    return model


def _made(folder: Path, kind: type[Any]) -> Any:
    given: dict[str, Any] = {"local_files_only": True, "model_kwargs": {"use_safetensors": True}}
    if not any(
        module.type.startswith(OWN) for module in (all_modules(folder) if (folder / "modules.json").is_file() else [])
    ):
        return kind(str(folder), trust_remote_code=False, **given)
    # steps of ours are handed over as classes, so that nothing else of the folder has to be trusted
    return kind._load_with_module_classes(str(folder), own_classes(), trust_remote_code=False, **given)


def _check_tokenizer(folder: Path, first: Any) -> None:
    """A text whose token has no row in the weights would fail only when it comes."""
    tokenizer: Any = getattr(first, "tokenizer", None)
    size = len(tokenizer) if hasattr(tokenizer, "__len__") else 0
    inner = getattr(first, "auto_model", None)
    rows = len(inner.get_input_embeddings().weight) if inner is not None else getattr(first, "num_dimensions", size)
    if size > rows:
        raise UserError(
            f"the tokenizer of {folder} has {size:,} tokens and the weights have rows for {rows:,}: "
            "they do not belong together"
        )


def routes(model: Any) -> dict[str | None, list[Any]]:
    """The steps of a model by the side they read: ``query`` and ``document`` of an asymmetric one, None for all."""
    steps = list(model.children())
    if type(steps[0]).__name__ != "Router":
        return {None: steps}
    return {name: [*part, *steps[1:]] for name, part in steps[0].sub_modules.items()}


class LibraryEncoder(TextEncoder[Found]):
    """A model of sentence-transformers.

    Texts are sorted by their number of tokens before they are batched, so padding is small; what a text gives is
    the same for every batch size and order up to float32 rounding (below 1e-5).

    A subclass says what a batch gives (:meth:`_batch`), how batches are put together (:meth:`_joined`), and which
    similarity the model states.

    Args:
        model: a loaded model; used as it is, not copied.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.prompts = {name: text for name, text in (model.prompts or {}).items() if text is not None}
        self.default_prompt_name = model.default_prompt_name
        self._routes = routes(model)

    @abstractmethod
    def _batch(self, features: dict[str, Any], options: Options) -> Any:
        """What the preprocessed texts of one batch give."""

    @abstractmethod
    def _joined(self, parts: Iterator[tuple[Rows, Any]], total: int) -> Found:
        """The results of all batches in the order of the texts; each part comes with its row numbers."""

    @abstractmethod
    def forward_features(self, features: dict[str, Any]) -> Tensor:
        """What training compares, with its graph, from preprocessed texts."""

    @property
    def dimension(self) -> int:
        """Coordinates of a vector."""
        return int(self.model.get_embedding_dimension())

    @property
    def asymmetric(self) -> bool:
        """Whether queries and documents are read by different parts."""
        return None not in self._routes

    @property
    def sided(self) -> bool:
        """Whether it matters that a text is read as a query or as a document, prompts aside."""
        return self.asymmetric

    @property
    def max_tokens(self) -> int | None:
        """Tokens read of one text, special tokens included; None: all."""
        return self._limit(None)

    def _limit(self, task: str | None) -> int | None:
        first = self._first(task)
        own = getattr(first, f"{task}_length", None)
        if task == "query" and (getattr(first, "query_expansion", None) or {}).get("length"):
            own = first.query_expansion["length"]
        if type(first).__name__ == "SparseStaticEmbedding":
            own = first.tokenizer.model_max_length
        limit = own or self.model.max_seq_length
        return int(limit) if limit is not None and limit < 10**9 else None

    def _first(self, task: str | None) -> Any:
        """The step that reads the text."""
        return self._steps(task)[0]

    def _steps(self, task: str | None) -> list[Any]:
        """The steps that a text goes through."""
        if not self.asymmetric:
            return self._routes[None]
        default = self.model[0].default_route or next(iter(self._routes))
        return self._routes.get(task, self._routes[default])

    @property
    def fingerprint(self) -> str:
        """32 hex digits of a SHA-256 over weights, tokenizers and settings, computed anew at each call."""
        settings = [self.similarity_name, self.normalizes, self.max_tokens, self.prompts, self.default_prompt_name]
        tokenizers = [steps[0].tokenizer for steps in self._routes.values()]
        return digest_of(self.model, tokenizers, settings)

    @property
    def module(self) -> EncoderModule:
        """The model as a torch module for training; it shares its parameters with this encoder."""
        return EncoderModule(self)

    def lengths(self, texts: list[str], task: str | None = None) -> list[int]:
        """Tokens of each text, special tokens included, as if there were no limit."""
        first = self._first(task)
        tokenizer = first.tokenizer
        if not callable(tokenizer):  # a bare tokenizers.Tokenizer, as StaticEmbedding has
            return [len(each.ids) for each in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
        found = tokenizer(
            texts,
            truncation=False,
            padding=False,
            return_attention_mask=False,
            verbose=False,
            add_special_tokens=type(first).__name__ != "SparseStaticEmbedding",
        )["input_ids"]
        return [len(ids) for ids in found]

    def preprocess(self, texts: list[str], prompt: str = "", task: str | None = None) -> dict[str, Any]:
        """Model inputs of texts, padded to the longest, on the model's device, and the task they are read for."""
        features = self.model.preprocess(texts, prompt=prompt or None, task=task)
        device = self.model.device
        moved = {name: v.to(device) if isinstance(v, Tensor) else v for name, v in features.items()}
        return {**moved, "task": task}

    def run(self, features: dict[str, Any]) -> dict[str, Any]:
        """All steps of the model over preprocessed texts."""
        inputs = dict(features)
        task = inputs.pop("task", None)
        return cast(dict[str, Any], self.model(inputs, task=task))

    def _encode(self, texts: list[str], options: Options) -> tuple[Found, Truncation]:
        was_training = self.model.training
        self.model.eval()
        cut = [Truncation(limit=self._limit(options.task))]
        try:
            with torch_threads(options.threads), torch.inference_mode():
                found = self._joined(self._parts(texts, options, cut), len(texts))
        finally:
            self.model.train(was_training)
        return found, cut[0]

    def _parts(self, texts: list[str], options: Options, cut: list[Truncation]) -> Iterator[tuple[Rows, Any]]:
        """Row numbers and results batch by batch; adds to the report in ``cut``."""
        window = options.batch_size * _WINDOW
        starts = range(0, len(texts), window)
        for start in track(starts, label="encode", unit="window", show=options.progress):
            part = texts[start : start + window]
            lengths = np.array(self.lengths([options.prompt + text for text in part], options.task))
            cut[0] = cut[0] + left_out(lengths, cut[0].limit)
            for rows in batches(lengths, options.batch_size, cut[0].limit, most_tokens(self.model.device)):
                features = self.preprocess([part[row] for row in rows], options.prompt, options.task)
                yield start + rows, self._batch(features, options)

    def save(self, folder: str | Path) -> None:
        """Write the model in sentence-transformers format; the folder appears whole or not at all."""
        with building_model(folder) as aside:
            self.model.save_pretrained(str(aside))
            write_json(aside / SETTINGS, {**read_settings(aside), **self._stated()})

    def _stated(self) -> dict[str, str | None]:
        """The similarity as the settings file states it."""
        return similarity_settings(self.similarity_name)


class EncoderModule(nn.Module):
    """A sentence-transformers model with the two calls a training loop needs."""

    def __init__(self, encoder: LibraryEncoder[Any]) -> None:
        super().__init__()
        self.model = encoder.model
        self._encoder = encoder

    def features(self, texts: list[str], *, prompt_name: str | None = None, task: str | None = None) -> dict[str, Any]:
        """Model inputs of texts, with the named (or the default) prompt, on the model's device."""
        return self._encoder.preprocess(texts, self._encoder._prompt(prompt_name), task)

    def forward(self, features: dict[str, Any]) -> Tensor:
        """What the encoder's ``forward_features`` gives."""
        return self._encoder.forward_features(features)


def digest_of(model: nn.Module, tokenizers: Sequence[Any], settings: Sequence[Any]) -> str:
    """32 hex digits of a SHA-256 over a model's settings, steps, tokenizers and weights."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    digest.update(repr(model).encode())
    for tokenizer in tokenizers:
        backend = getattr(tokenizer, "backend_tokenizer", None) or getattr(tokenizer, "_tokenizer", tokenizer)
        if hasattr(backend, "to_str"):
            # padding and truncation are state that a call of the tokenizer leaves behind
            described = json.loads(backend.to_str()) | {"padding": None, "truncation": None}
            digest.update(json.dumps(described, sort_keys=True).encode())
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:32]


def left_out(lengths: NDArray[np.int64], limit: int | None) -> Truncation:
    """The report on texts of so many tokens under a limit."""
    if limit is None:
        return Truncation(total=len(lengths))
    long = lengths[lengths > limit]
    return Truncation(len(long), int((long - limit).sum()), limit, len(lengths), int(long.sum()))


@contextlib.contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        if threads is not None:
            torch.set_num_threads(before)


def input_embeddings(model: Any) -> Vectors:
    """The token vectors a transformer starts from, float32 ``[V, hidden]``.

    Raises:
        UserError: the model has none.
    """
    inner = model.transformers_model
    if inner is None:
        raise UserError("the model has no transformer in it, so no input vectors to start from")
    return cast(Vectors, inner.get_input_embeddings().weight.detach().cpu().float().numpy())
