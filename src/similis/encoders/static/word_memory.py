"""Tokenising a corpus by its distinct words: each is given to the tokenizer once, however often it occurs."""

from __future__ import annotations

import json
import re
from itertools import chain, islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tokenizers import Tokenizer

#: Words of an ASCII text as BertPreTokenizer cuts them: runs without white space, every punctuation mark by itself.
_WORDS = re.compile(r"[^\t-\r !-/:-@\[-`{-~]+|[!-/:-@\[-`{-~]")
_NORMALIZERS = ({"type": "NFKC"}, {"type": "Lowercase"})


class _Numbers(dict[str, int]):
    """A number for each key, in the order in which keys first come."""

    def __missing__(self, key: str) -> int:
        number = self[key] = len(self)
        return number


def cuts_words_apart(tokenizer: Tokenizer) -> bool:
    """Whether the tokenizer is of the kind trained here: NFKC (and lower case), words cut as BERT cuts them.

    Its tokens of an ASCII text are then the tokens of the text's words one after another.
    """
    settings = json.loads(tokenizer.to_str())
    normalizer = settings["normalizer"] or {}
    parts = normalizer.get("normalizers", [])
    return (
        parts in ([_NORMALIZERS[0]], list(_NORMALIZERS))
        and settings["pre_tokenizer"] == {"type": "BertPreTokenizer"}
        and settings["truncation"] is None
        and all(token["special"] and not token["normalized"] for token in settings["added_tokens"])
    )


class WordMemory:
    """Tokenises chunk after chunk, remembering the tokens of every word.

    The ids are those of the tokenizer (a test compares them), in a third of the processor time on prose. Texts
    beyond ASCII, or with a special token written in them, go through the tokenizer whole.

    Args:
        tokenizer: one of which :func:`cuts_words_apart` holds.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._folds = "Lowercase" in tokenizer.to_str()
        self._special = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
        self._numbers = _Numbers()
        self._ids, self._sizes = np.zeros(0, np.int32), np.zeros(0, np.int64)

    def __len__(self) -> int:
        """Words remembered."""
        return len(self._numbers)

    def tokenize(self, texts: list[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Ids of all texts one after another, int32 ``[tokens]``, and of how many each has, int64 ``[n]``."""
        known, counts = len(self._numbers), np.ones(len(texts), np.int64)
        codes: list[NDArray[np.int64]] = []
        whole: list[str] = []
        for row, text in enumerate(texts):
            if text.isascii() and not any(token in text for token in self._special):
                words = _WORDS.findall(text.lower() if self._folds else text)
                counts[row] = len(words)
                codes.append(np.fromiter(map(self._numbers.__getitem__, words), np.int64, len(words)))
            else:
                whole.append(text)
                codes.append(np.array([-len(whole)]))
        self._learn([*islice(self._numbers, known, None)])
        own_ids, own_sizes = self._encoded(whole)
        every = np.concatenate([np.zeros(0, np.int64), *codes])
        every[every < 0] = len(self._sizes) - 1 - every[every < 0]
        sizes = np.concatenate([self._sizes, own_sizes])
        starts, lengths = (np.cumsum(sizes) - sizes)[every], sizes[every]
        ends = np.append(0, np.cumsum(lengths))
        where = np.arange(ends[-1]) + np.repeat(starts - ends[:-1], lengths)
        borders = ends[np.append(0, np.cumsum(counts))]
        return np.concatenate([self._ids, own_ids])[where], np.diff(borders)

    def _learn(self, words: list[str]) -> None:
        ids, sizes = self._encoded(words)
        self._ids, self._sizes = np.concatenate([self._ids, ids]), np.concatenate([self._sizes, sizes])

    def _encoded(self, texts: list[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        found = [each.ids for each in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
        sizes = np.fromiter(map(len, found), np.int64, len(found))
        return np.fromiter(chain.from_iterable(found), np.int32, int(sizes.sum())), sizes
