"""Tokenised texts as two flat arrays, so that training reads them every epoch and tokenises once."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from similis.errors import UserError
from similis.files import building

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CHUNK = 2048


@dataclass(frozen=True, eq=False)
class TokenizedTexts:
    """Token ids of n texts: those of text i are ``ids[offsets[i]:offsets[i + 1]]``.

    Attributes:
        ids: int32 ``[tokens]``.
        offsets: int64 ``[n + 1]``, from 0 to the number of tokens.
    """

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each text, int64 ``[n]``."""
        return np.diff(self.offsets)

    def __getitem__(self, rows: slice | Sequence[int] | NDArray[np.integer[Any]]) -> TokenizedTexts:
        """The texts of a slice or of row numbers (repeats and any order allowed), as a new object."""
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1:
                stop = max(start, stop)
                low, high = self.offsets[start], self.offsets[stop]
                return TokenizedTexts(self.ids[low:high], self.offsets[start : stop + 1] - low)
            rows = np.arange(start, stop, step)
        picked = np.asarray(rows, dtype=np.int64)
        starts, lengths = self.offsets[:-1][picked], self.lengths[picked]
        offsets = _offsets(lengths)
        # position in the source = start of the row + position within the row, for all tokens at once
        where = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
        return TokenizedTexts(self.ids[where], offsets)

    def cut(self, most: int) -> TokenizedTexts:
        """Each text's first ``most`` tokens."""
        kept = np.minimum(self.lengths, most)
        offsets = _offsets(kept)
        where = np.arange(offsets[-1]) + np.repeat(self.offsets[:-1] - offsets[:-1], kept)
        return TokenizedTexts(self.ids[where], offsets)

    def document_frequency(self, vocabulary: int) -> NDArray[np.int64]:
        """In how many texts each token occurs, int64 ``[vocabulary]``."""
        import scipy.sparse

        ones = np.ones(len(self.ids), dtype=np.bool_)
        shape = (len(self), vocabulary)
        # a copy: merging the repeats within a text rearranges the arrays in place
        matrix = scipy.sparse.csr_matrix((ones, self.ids, self.offsets), shape, copy=True)
        matrix.sum_duplicates()
        return np.bincount(matrix.indices, minlength=vocabulary)

    def save(self, folder: Path) -> None:
        """Write ``ids.npy`` and ``offsets.npy`` into a folder that appears whole or not at all."""
        with building(folder) as aside:
            np.save(aside / "ids.npy", self.ids, allow_pickle=False)
            np.save(aside / "offsets.npy", self.offsets, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> TokenizedTexts:
        """Open a saved folder by memory map.

        Raises:
            UserError: a file is missing, damaged, or the two do not fit together.
        """
        try:
            ids = np.load(folder / "ids.npy", mmap_mode="r", allow_pickle=False)
            offsets = np.load(folder / "offsets.npy", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise UserError(f"{folder} holds no readable tokenised texts ({error}); remove it") from None
        fits = ids.dtype == np.int32 and offsets.dtype == np.int64 and offsets.ndim == ids.ndim == 1
        if not fits or not len(offsets) or offsets[0] != 0 or offsets[-1] != len(ids):
            raise UserError(f"{folder} holds token ids and offsets that do not fit together; remove it")
        return cls(ids, offsets)


def _offsets(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def tokenize(
    tokenizer: Tokenizer,
    texts: Iterable[str],
    max_tokens: int | None = None,
    *,
    threads: int | None = None,
) -> TokenizedTexts:
    """Token ids of all texts, without special tokens, as sentence-transformers' StaticEmbedding takes them.

    Args:
        tokenizer: its own truncation, where set, applies first.
        texts: read in chunks, so a generator is fine.
        max_tokens: keep each text's first so many tokens.
        threads: see :func:`encode_ids`.
    """
    from similis.encoders.static.word_memory import WordMemory, cuts_words_apart

    parts, lengths = [np.zeros(0, np.int32)], [np.zeros(0, np.int64)]
    memory = WordMemory(tokenizer) if cuts_words_apart(tokenizer) else None
    source = iter(texts)
    while chunk := list(islice(source, CHUNK)):
        if memory is not None:
            ids, sizes = memory.tokenize(chunk)
        else:
            found, _ = encode_ids(tokenizer, chunk, threads=threads)
            sizes = np.fromiter(map(len, found), np.int64, len(found))
            ids = np.fromiter(chain.from_iterable(found), np.int32, int(sizes.sum()))
        parts.append(ids)
        lengths.append(sizes)
    tokenized = TokenizedTexts(np.concatenate(parts), _offsets(np.concatenate(lengths)))
    return tokenized if max_tokens is None else tokenized.cut(max_tokens)


def tokenize_cached(
    tokenizer: Tokenizer, texts: Sequence[str], cache: Path, max_tokens: int | None = None
) -> TokenizedTexts:
    """As :func:`tokenize`, kept in ``cache`` under a fingerprint of tokenizer, texts and limit."""
    digest = hashlib.sha256(tokenizer.to_str().encode())
    digest.update(f"\0{max_tokens}\0{len(texts)}\0".encode())
    for text in texts:
        body = text.encode("utf-8", "surrogatepass")
        digest.update(len(body).to_bytes(8, "little") + body)
    folder = cache / digest.hexdigest()[:32]
    if folder.is_dir():
        with contextlib.suppress(UserError):  # a damaged cache is made anew
            return TokenizedTexts.load(folder)
    tokenized = tokenize(tokenizer, texts, max_tokens)
    tokenized.save(folder)
    return tokenized


def encode_ids(
    tokenizer: Tokenizer, texts: list[str], *, threads: int | None = None
) -> tuple[list[list[int]], list[int]]:
    """Token ids of each text, and how many tokens of it the tokenizer's truncation cut.

    The tokenizers library starts one thread a core and cannot change their number later. With ``threads`` its
    own threads are switched off for the call and the chunk is shared out over exactly that many of ours (it
    releases the interpreter's lock), so the number is honoured whatever ran before.
    """
    if threads is None:
        return _ids(tokenizer, texts)
    with _no_own_threads():
        if threads == 1 or len(texts) < 2 * threads:
            return _ids(tokenizer, texts)
        step = -(-len(texts) // threads)
        pieces = [texts[start : start + step] for start in range(0, len(texts), step)]
        with ThreadPoolExecutor(threads) as pool:
            done = list(pool.map(lambda piece: _ids(tokenizer, piece), pieces))
    return [ids for piece, _ in done for ids in piece], [cut for _, piece in done for cut in piece]


def _ids(tokenizer: Tokenizer, texts: list[str]) -> tuple[list[list[int]], list[int]]:
    found = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    if tokenizer.truncation is None:
        return [each.ids for each in found], [0] * len(found)
    stride = tokenizer.truncation["stride"]
    # every overflowing piece repeats ``stride`` tokens of the piece before it
    cut = [sum(len(rest.ids) - stride for rest in each.overflowing) for each in found]
    return [each.ids for each in found], cut


@contextlib.contextmanager
def _no_own_threads() -> Iterator[None]:
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ["TOKENIZERS_PARALLELISM"]
        else:
            os.environ["TOKENIZERS_PARALLELISM"] = before
