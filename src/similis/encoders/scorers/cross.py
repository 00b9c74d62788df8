"""Cross-encoders: a transformer that reads two texts at once and gives the pair one score."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import CrossEncoder
from torch import Tensor, nn

from similis.encoders.base import Vectors, checked_texts
from similis.encoders.folder import building_model, read_modules
from similis.encoders.library.batching import Rows, batches, most_tokens
from similis.encoders.library.encoder import digest_of, left_out, open_model, torch_threads
from similis.encoders.library.truncation import Truncation
from similis.errors import UserError, did_you_mean
from similis.progress import track

#: Pairs whose lengths are compared at once, in batches.
_WINDOW = 64

#: What a model may make of its raw scores: nothing, or a number in 0..1.
ACTIVATIONS: Mapping[str, type[nn.Module]] = {"identity": nn.Identity, "sigmoid": nn.Sigmoid}

Pairs = Sequence[tuple[str, str]]


class CrossEncoderScorer:
    """A cross-encoder of sentence-transformers.

    Pairs are sorted by their number of tokens before they are batched; the score of a pair is the same for every batch
    size and order up to float32 rounding (below 1e-5).
    Source: "Passage Re-ranking with BERT", Nogueira and Cho, 2019.

    Args:
        model: a loaded model; used as it is, not copied.

    Raises:
        UserError: the model gives no scores, or more than one a pair.
    """

    family = "cross"

    def __init__(self, model: CrossEncoder) -> None:
        last = list(model.children())[-1]
        if type(last).__name__ != "LogitScore" and getattr(last, "module_output_name", None) != "scores":
            raise UserError(f"a cross-encoder ends in scores, and this model ends in a {type(last).__name__}")
        if model.num_labels != 1:
            raise UserError(
                f"the cross-encoder gives {model.num_labels} scores a pair (a classifier); to rank, it must give one"
            )
        self.model = model
        self.prompts = {name: text for name, text in (model.prompts or {}).items() if text is not None}
        self.default_prompt_name = model.default_prompt_name
        self._truncation = Truncation()

    @classmethod
    def open(cls, folder: Path) -> CrossEncoderScorer:
        """Load a checked local folder.

        Raises:
            UserError: the library cannot make a cross-encoder of it.
        """
        return cls(open_model(folder, CrossEncoder))

    @classmethod
    def new(cls, base: str | Path, seed: int = 0) -> CrossEncoderScorer:
        """A cross-encoder to train: the transformer at ``base``, and a new head of one score drawn by ``seed``.

        It reads pairs of twice the length that its base reads of a text, as far as its positions go.

        Args:
            base: a folder: a transformer, or a dense model whose transformer is taken without its pooling.

        Raises:
            UserError: there is no transformer at ``base``.
        """
        folder = _transformer_at(Path(base))
        one_score = cast(type[CrossEncoder], partial(CrossEncoder, num_labels=1))
        with torch.random.fork_rng(devices=[]), _quiet():
            torch.manual_seed(seed)
            made = cls(open_model(folder, one_score))
        positions, limit = getattr(made.model.config, "max_position_embeddings", 0), made.max_tokens
        if limit is not None:  # some models number positions from 2
            made.model.max_seq_length = max(limit, min(2 * limit, positions - 2))
        return made

    # ---- what it says of itself ---------------------------------------------------------------------------

    @property
    def activation(self) -> str:
        """What is made of raw scores: ``identity``, ``sigmoid``, or the name of the model's own function."""
        kind = type(self.model.activation_fn)
        return next((name for name, known in ACTIVATIONS.items() if known is kind), kind.__name__)

    @activation.setter
    def activation(self, name: str) -> None:
        if name not in ACTIVATIONS:
            raise UserError(f"activation must be one of {', '.join(ACTIVATIONS)}{did_you_mean(name, ACTIVATIONS)}")
        self.model.activation_fn = ACTIVATIONS[name]()

    @property
    def max_tokens(self) -> int | None:
        """Tokens read of one pair, special tokens included; None: all."""
        limit = self.model.max_seq_length
        return int(limit) if limit is not None and limit < 10**9 else None

    @property
    def last_truncation(self) -> Truncation:
        """What the latest ``score`` left unread, in pairs."""
        return self._truncation

    @property
    def fingerprint(self) -> str:
        """32 hex digits of a SHA-256 over weights, tokenizer and settings, computed anew at each call."""
        settings = [self.activation, self.max_tokens, self.prompts, self.default_prompt_name]
        return digest_of(self.model, [self.model.tokenizer], settings)

    # ---- scoring ------------------------------------------------------------------------------------------

    def score(
        self,
        pairs: Pairs,
        *,
        batch_size: int = 32,
        raw: bool = False,
        prompt_name: str | None = None,
        threads: int | None = None,
        show_progress_bar: bool = False,
    ) -> Vectors:
        """Scores of pairs, float32 ``[n]``; the default equals the library's ``predict``.

        Args:
            pairs: (query, document) texts.
            batch_size: pairs read together; bounds memory, never changes a score.
            raw: the scores before the model's activation: of the same order, and still apart where a sigmoid has
                reached 1.
            prompt_name: a prompt saved with the model, put before each query; None: the model's default.
            threads: processor threads to use; None leaves it to the libraries.
            show_progress_bar: on stderr, on a terminal only.

        Raises:
            UserError: an item is no pair of texts, an unknown prompt, or an option out of range.
        """
        if batch_size < 1 or (threads is not None and threads < 1):
            raise UserError(f"batch_size and threads must be at least 1, got {batch_size} and {threads}")
        rows, prompt = checked_pairs(pairs), self._prompt(prompt_name)
        scores = np.zeros(len(rows), np.float32)
        was_training = self.model.training
        self.model.eval()
        self._truncation = Truncation(limit=self.max_tokens)
        try:
            with torch_threads(threads), torch.inference_mode():
                for chosen in self._batches(rows, prompt, batch_size, show_progress_bar):
                    found = self.forward_features(self.preprocess([rows[i] for i in chosen], prompt)).float()
                    scores[chosen] = (found if raw else self._activated(found)).cpu().numpy()
        finally:
            self.model.train(was_training)
        self._truncation.report()
        return scores

    def rank(self, query: str, documents: Sequence[str], top_k: int | None = None) -> list[tuple[int, float]]:
        """Places in ``documents`` and raw scores, best first; ties go to the earlier document."""
        scores = self.score([(query, document) for document in checked_texts(documents)], raw=True)
        order = np.argsort(-scores, kind="stable")[:top_k]
        return [(int(place), float(scores[place])) for place in order]

    def preprocess(self, pairs: Pairs, prompt: str = "") -> dict[str, Any]:
        """Model inputs of pairs, padded to the longest, on the model's device."""
        features = self.model.preprocess([tuple(pair) for pair in pairs], prompt=prompt or None)
        device = self.model.device
        return {name: v.to(device) if isinstance(v, Tensor) else v for name, v in features.items()}

    def forward_features(self, features: dict[str, Any]) -> Tensor:
        """Raw scores ``[n]`` of preprocessed pairs, with their graph."""
        return cast(Tensor, self.model(dict(features))["scores"]).reshape(-1)

    def _activated(self, scores: Tensor) -> Tensor:
        activation = self.model.activation_fn
        return scores if activation is None else cast(Tensor, activation(scores))

    def _prompt(self, name: str | None) -> str:
        chosen = name or self.default_prompt_name
        if chosen is not None and chosen not in self.prompts:
            raise UserError(f"the model has no prompt called {chosen!r}{did_you_mean(chosen, self.prompts)}")
        return self.prompts[chosen] if chosen else ""

    def _batches(self, rows: Pairs, prompt: str, size: int, show: bool) -> Iterator[Rows]:
        """Numbers of the pairs of each batch; adds to the report."""
        window = size * _WINDOW
        for start in track(range(0, len(rows), window), label="score", unit="window", show=show):
            lengths = self.lengths(rows[start : start + window], prompt)
            self._truncation = self._truncation + left_out(lengths, self.max_tokens)
            for chosen in batches(lengths, size, self.max_tokens, most_tokens(self.model.device)):
                yield start + chosen

    def lengths(self, pairs: Pairs, prompt: str = "") -> NDArray[np.int64]:
        """Tokens of each pair ``[n]``, special tokens included, as if there were no limit; each text is read once."""
        texts = list(dict.fromkeys(text for first, second in pairs for text in (prompt + first, second)))
        tokenizer: Any = self.model.tokenizer
        quiet = {"padding": False, "return_attention_mask": False, "verbose": False}
        found = tokenizer(texts, truncation=False, add_special_tokens=False, **quiet)["input_ids"] if texts else []
        counts = {text: len(ids) for text, ids in zip(texts, found, strict=True)}
        special = tokenizer.num_special_tokens_to_add(pair=True)
        return np.array([counts[prompt + first] + counts[second] + special for first, second in pairs], np.int64)

    def encode(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: a pair has a score, a text has no vector.

        Raises:
            UserError: always; says what can be done.
        """
        raise UserError(
            "the model is a cross-encoder: it scores pairs of texts and gives no vectors; re-rank with it "
            "(similis.search.Rerank), or train an encoder by its scores (teacher=)"
        )

    encode_query = encode_document = encode_stream = encode

    @property
    def dimension(self) -> NoReturn:
        """As :meth:`encode`."""
        self.encode()

    def save(self, folder: str | Path) -> None:
        """Write the model in the library's CrossEncoder format; the folder appears whole or not at all."""
        with building_model(folder) as aside:
            self.model.save_pretrained(str(aside))


def checked_pairs(pairs: Pairs) -> list[tuple[str, str]]:
    """The pairs as a list.

    Raises:
        UserError: an item is not two strings; the message counts from 1.
    """
    rows = list(pairs)
    for number, pair in enumerate(rows, 1):
        if isinstance(pair, str) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise UserError(f"pair {number} must be two strings (query, document), not {pair!r:.60}")
    return [(first, second) for first, second in rows]


def _transformer_at(folder: Path) -> Path:
    """The folder of a transformer's weights, in a model folder or by itself."""
    if (folder / "modules.json").is_file():
        first = read_modules(folder)[0]
        if first.kind != "Transformer":
            raise UserError(f"{folder} begins with a {first.kind}: a cross-encoder is made of a transformer")
        return first.folder
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} is no transformer's folder (it has no config.json)")
    return folder


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the libraries' reports on the head that is not in the checkpoint: it is new on purpose."""
    from transformers.utils import logging as theirs

    before, converting = theirs.get_verbosity(), logging.getLogger("sentence_transformers.base.model")
    level = converting.level
    theirs.set_verbosity_error()
    converting.setLevel(logging.ERROR)
    try:
        yield
    finally:
        theirs.set_verbosity(before)
        converting.setLevel(level)
