"""Any dense sentence-transformers model as an :class:`~similis.encoders.base.Encoder`."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from similis.encoders.base import (
    Options,
    TextEncoder,
    Truncation,
    Vectors,
    checked_similarity,
    similarity_settings,
)
from similis.encoders.folder import SETTINGS, read_settings
from similis.errors import UserError
from similis.files import building, write_json
from similis.progress import track

#: Texts whose lengths are compared at once, in batches; bounds what is held beside the vectors.
_WINDOW = 64


def open_model(folder: Path) -> SentenceTransformer:
    """Load a checked local folder; code of the model's author is not run.

    Raises:
        UserError: the library cannot make a model of it.
    """
    try:
        return SentenceTransformer(
            str(folder), trust_remote_code=False, local_files_only=True, model_kwargs={"use_safetensors": True}
        )
    except Exception as error:  # the library raises whatever its parts raise
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UserError(f"{folder} cannot be loaded as a sentence-transformers model: {reason}") from error


class SentenceTransformerEncoder(TextEncoder):
    """A transformer (or any other dense) model of sentence-transformers.

    Texts are sorted by their number of tokens before they are batched, so padding is small; a text's vector
    is the same for every batch size and order up to float32 rounding (below 1e-5).

    Args:
        model: a loaded model; used as it is, not copied.

    Raises:
        UserError: its similarity is none of cosine, dot, euclidean.
    """

    def __init__(self, model: SentenceTransformer) -> None:
        super().__init__()
        self.model = model
        self.similarity_name = checked_similarity(model._get_model_config().get("similarity_fn_name"))
        self.prompts = dict(model.prompts or {})
        self.default_prompt_name = model.default_prompt_name

    @property
    def dimension(self) -> int:
        """Coordinates of a vector."""
        return int(self.model.get_embedding_dimension())

    @property
    def normalizes(self) -> bool:
        """Whether the model ends in an L2 normalisation."""
        return type(list(self.model.children())[-1]).__name__ == "Normalize"

    @property
    def max_tokens(self) -> int | None:
        """Tokens read of one text, special tokens included; None: all."""
        limit = self.model.max_seq_length
        return int(limit) if limit is not None and limit < 10**9 else None

    @property
    def fingerprint(self) -> str:
        """32 hex digits of a SHA-256 over weights, tokenizer and settings, computed anew at each call."""
        settings = [self.similarity_name, self.normalizes, self.max_tokens, self.prompts, self.default_prompt_name]
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        digest.update(repr(self.model).encode())
        backend = getattr(self.model.tokenizer, "backend_tokenizer", None) or getattr(
            self.model.tokenizer, "_tokenizer", self.model.tokenizer
        )
        if hasattr(backend, "to_str"):
            # padding and truncation are state that a call of the tokenizer leaves behind
            described = json.loads(backend.to_str()) | {"padding": None, "truncation": None}
            digest.update(json.dumps(described, sort_keys=True).encode())
        for name, tensor in self.model.state_dict().items():
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()[:32]

    @property
    def module(self) -> EncoderModule:
        """The model as a torch module for training; it shares its parameters with this encoder."""
        return EncoderModule(self)

    def lengths(self, texts: list[str]) -> list[int]:
        """Tokens of each text, special tokens included, as if there were no limit."""
        tokenizer = self.model.tokenizer
        if not callable(tokenizer):  # a bare tokenizers.Tokenizer, as StaticEmbedding has
            return [len(each.ids) for each in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
        found = tokenizer(texts, truncation=False, padding=False, return_attention_mask=False, verbose=False)[
            "input_ids"
        ]
        return [len(ids) for ids in found]

    def forward_features(self, features: dict[str, Any], *, raw: bool = False) -> Tensor:
        """Vectors ``[n, d]`` of preprocessed texts; ``raw`` leaves out a final Normalize."""
        if raw and self.normalizes:
            for step in list(self.model.children())[:-1]:
                features = step(features)
        else:
            features = self.model(features)
        return cast(Tensor, features["sentence_embedding"])

    def preprocess(self, texts: list[str], prompt: str = "") -> dict[str, Any]:
        """Model inputs of texts, padded to the longest, on the model's device."""
        features = self.model.preprocess(texts, prompt=prompt or None)
        device = self.model.device
        return {name: v.to(device) if isinstance(v, Tensor) else v for name, v in features.items()}

    def _encode(self, texts: list[str], options: Options) -> tuple[Vectors, Truncation]:
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        truncation = Truncation(limit=self.max_tokens)
        was_training = self.model.training
        self.model.eval()
        window = options.batch_size * _WINDOW
        try:
            with _torch_threads(options.threads), torch.inference_mode():
                starts = range(0, len(texts), window)
                for start in track(starts, label="encode", unit="window", show=options.progress):
                    part = texts[start : start + window]
                    lengths = np.array(self.lengths([options.prompt + text for text in part]))
                    truncation = truncation + self._cut(lengths)
                    for rows in _batches(lengths, options.batch_size):
                        features = self.preprocess([part[row] for row in rows], options.prompt)
                        found = self.forward_features(features, raw=options.normalize is False)
                        vectors[start + rows] = found.float().cpu().numpy()
        finally:
            self.model.train(was_training)
        if options.truncate_dim is None and options.normalize is None:
            return vectors, truncation  # the model's own last step has been taken
        return self._finish(vectors, options), truncation

    def _cut(self, lengths: np.ndarray[Any, Any]) -> Truncation:
        limit = self.max_tokens
        if limit is None:
            return Truncation(total=len(lengths))
        long = lengths[lengths > limit]
        return Truncation(len(long), int((long - limit).sum()), limit, len(lengths), int(long.sum()))

    def save(self, folder: str | Path) -> None:
        """Write the model in sentence-transformers format; the folder appears whole or not at all."""
        target = Path(folder)
        if target.is_dir() and any(target.iterdir()) and not (target / "modules.json").exists():
            raise UserError(f"{target} holds files that are no model; choose another name or empty it")
        with building(target) as aside:
            self.model.save_pretrained(str(aside))
            stated = similarity_settings(self.similarity_name)
            write_json(aside / SETTINGS, {**read_settings(aside), **stated})


class EncoderModule(nn.Module):
    """A sentence-transformers model with the two calls a training loop needs."""

    def __init__(self, encoder: SentenceTransformerEncoder) -> None:
        super().__init__()
        self.model = encoder.model
        self._encoder = encoder

    def features(self, texts: list[str], *, prompt_name: str | None = None) -> dict[str, Any]:
        """Model inputs of texts, with the named (or the default) prompt, on the model's device."""
        return self._encoder.preprocess(texts, self._encoder._prompt(prompt_name))

    def forward(self, features: dict[str, Any]) -> Tensor:
        """Vectors ``[n, d]``, as the model normalises them."""
        return self._encoder.forward_features(features)


def _batches(lengths: np.ndarray[Any, Any], size: int) -> Iterator[np.ndarray[Any, Any]]:
    """Row numbers in batches of texts of like length, the longest first so that memory peaks at once."""
    order = np.argsort(-lengths, kind="stable")
    for start in range(0, len(order), size):
        yield order[start : start + size]


@contextlib.contextmanager
def _torch_threads(threads: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        if threads is not None:
            torch.set_num_threads(before)


def input_embeddings(model: SentenceTransformer) -> Vectors:
    """The token vectors a transformer starts from, float32 ``[V, hidden]``.

    Raises:
        UserError: the model has none.
    """
    inner = model.transformers_model
    if inner is None:
        raise UserError("the model has no transformer in it, so no input vectors to start from")
    return cast(Vectors, inner.get_input_embeddings().weight.detach().cpu().float().numpy())
