"""Static encoder: a text's vector is the mean of its tokens' vectors. NumPy and tokenizers alone; no torch."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from similis.encoders.base import Options, TextEncoder, Vectors, checked_similarity
from similis.encoders.library.truncation import Truncation
from similis.encoders.static.tokenized import encode_ids
from similis.encoders.static.word_memory import WordMemory, cuts_words_apart
from similis.errors import UserError
from similis.progress import track

if TYPE_CHECKING:
    from tokenizers import Tokenizer

#: Texts tokenised together at least: below, the call costs more than the tokens. No vector depends on it.
_CHUNK = 512
#: Tokens of one text summed at a time, which bounds memory and rounding on a text of any length.
_TOKENS = 4096
#: Fewer texts in a call are tokenised as they are: remembering words pays by repetition.
_FEW = 64
#: Words remembered at most, about 10 MB of them; then remembering begins anew, so that memory is bounded.
_WORDS = 1 << 15
#: With more threads than this the tokenizer itself is faster: words are remembered on one.
_THREADS = 3


class StaticEncoder(TextEncoder[Vectors]):
    """Token vectors and a tokenizer.

    Args:
        tokenizer: its truncation, where set, is honoured and reported; padding is switched off.
        weights: float32 ``[vocabulary, d]``, one row a token id.
        normalize: end in an L2 normalisation; None: where the similarity is cosine.
        similarity_name: one of :data:`similis.encoders.base.SIMILARITIES`.
        prompts: texts put before a text, by name, as in sentence-transformers.
        default_prompt_name: the prompt used where none is named.

    Raises:
        UserError: weights that are not a finite ``[V, d]`` matrix, or have fewer rows than the tokenizer tokens.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        weights: NDArray[np.float32],
        normalize: bool | None = None,
        *,
        similarity_name: str = "cosine",
        prompts: Mapping[str, str] | None = None,
        default_prompt_name: str | None = None,
    ) -> None:
        super().__init__()
        weights = np.ascontiguousarray(weights, dtype=np.float32)
        if weights.ndim != 2 or not weights.shape[1]:
            raise UserError(f"token weights must be a matrix [tokens, dimension], got shape {weights.shape}")
        largest = tokenizer.get_vocab_size(with_added_tokens=True)
        if len(weights) < largest:
            raise UserError(
                f"the tokenizer has {largest} tokens but the weights have {len(weights)} rows;"
                " they do not belong together"
            )
        if not np.isfinite(weights).all():
            raise UserError("the token weights contain NaN or infinity; the model file is damaged")
        tokenizer.no_padding()
        self.tokenizer = tokenizer
        self.weights = weights.view()
        self.weights.setflags(write=False)  # the fingerprint is computed once
        self.similarity_name = checked_similarity(similarity_name)
        self._normalizes = self.similarity_name == "cosine" if normalize is None else normalize
        self.prompts = {"query": "", "document": "", **(prompts or {})}
        self.default_prompt_name = default_prompt_name
        self._memories: list[WordMemory] = []

    @property
    def dimension(self) -> int:
        """Coordinates of a vector."""
        return int(self.weights.shape[1])

    @property
    def normalizes(self) -> bool:
        """Whether the model ends in an L2 normalisation."""
        return self._normalizes

    @property
    def max_tokens(self) -> int | None:
        """Tokens read of one text; None: all."""
        return self.tokenizer.truncation["max_length"] if self.tokenizer.truncation else None

    @cached_property
    def fingerprint(self) -> str:
        """32 hex digits of a SHA-256 over weights, tokenizer and settings: equal vectors, equal fingerprint."""
        settings = [self._normalizes, self.similarity_name, self.prompts, self.default_prompt_name]
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        digest.update(self.tokenizer.to_str().encode())
        digest.update(repr(self.weights.shape).encode())
        digest.update(self.weights.data)
        return digest.hexdigest()[:32]

    def _encode(self, texts: list[str], options: Options) -> tuple[Vectors, Truncation]:
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        truncation = Truncation(limit=self.max_tokens)
        size = max(_CHUNK, options.batch_size)
        starts = range(0, len(texts), size)
        for start in track(starts, label="encode", unit="batch", show=options.progress):
            chunk = [options.prompt + text for text in texts[start : start + size]]
            ids, sizes, cut = self._tokens(chunk, options.threads)
            self._means(ids, sizes, vectors[start : start + size])
            lost = cut > 0
            read = int(sizes[lost].sum() + cut.sum())
            truncation += Truncation(int(lost.sum()), int(cut.sum()), self.max_tokens, len(chunk), read)
        return self._finish(vectors, options), truncation

    def _tokens(
        self, texts: list[str], threads: int | None
    ) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
        """Ids of all texts one after another, how many each text has, and how many more were cut off it."""
        if len(texts) >= _FEW and _workers(threads) <= _THREADS and self._cuts_words_apart:
            # taken out of the list while it is used, so that no two threads use one
            memory = self._memories.pop() if self._memories else WordMemory(self.tokenizer)
            ids, sizes = memory.tokenize(texts)
            self._memories[:] = [memory] if len(memory) < _WORDS else []
            return ids, sizes, np.zeros(len(texts), np.int64)
        found, cut = encode_ids(self.tokenizer, texts, threads=threads)
        sizes = np.fromiter(map(len, found), np.int64, len(found))
        return np.fromiter(chain.from_iterable(found), np.int32, int(sizes.sum())), sizes, np.array(cut, np.int64)

    @cached_property
    def _knows_words(self) -> bool:
        return cuts_words_apart(self.tokenizer)

    @property
    def _cuts_words_apart(self) -> bool:
        return self.tokenizer.truncation is None and self._knows_words

    def _means(self, ids: NDArray[np.int32], sizes: NDArray[np.int64], into: Vectors) -> None:
        """Write each text's mean of its tokens' rows into ``[n, d]``; texts without tokens are left as they are.

        Rows are summed one after another in the order of the text: a vector's bits depend on its text alone.
        """
        space = np.empty((min(_TOKENS, int(sizes.max(initial=0))), self.dimension), np.float32)
        ends = np.cumsum(sizes)
        for row, (start, end) in enumerate(zip((ends - sizes).tolist(), ends.tolist(), strict=True)):
            if end - start > _TOKENS:
                into[row] = self._long_mean(ids[start:end])
            elif end > start:
                taken = self.weights.take(ids[start:end], axis=0, out=space[: end - start], mode="clip")
                np.add.reduce(taken, axis=0, out=into[row])
        into /= np.where(sizes > _TOKENS, 1, np.maximum(sizes, 1)).astype(np.float32)[:, None]

    def _long_mean(self, ids: NDArray[np.int32]) -> Vectors:
        """The mean of a long text ``[d]``: partial sums meet in double, because float32 would lose digits."""
        steps = range(0, len(ids), _TOKENS)
        parts = (self.weights.take(ids[start : start + _TOKENS], axis=0).sum(axis=0) for start in steps)
        total = sum(parts, start=np.zeros(self.dimension, np.float64))
        return np.asarray(total / len(ids), dtype=np.float32)

    def save(self, folder: str | Path) -> None:
        """Write the folder that ``SentenceTransformer(folder)`` loads; it appears whole or not at all.

        Raises:
            UserError: ``folder`` is a file, or holds something that is not a model.
        """
        from similis.encoders.static.format import write

        write(self, Path(folder))


def _workers(threads: int | None) -> int:
    """Threads that the tokenizers library would use."""
    return threads or int(os.environ.get("RAYON_NUM_THREADS", 0)) or os.cpu_count() or 1
