"""Exact and near duplicates of texts: MinHash over word shingles, verified by the true Jaccard similarity."""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from similis.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Hashes = NDArray[np.uint64]

_HASHES = 128
#: Scripts written without blanks between words: each character is taken as a word.
_CHARACTER = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_CHARACTER}]|(?:(?![{_CHARACTER}])\w)+")
_ASCII_WORD = re.compile(r"\w+", re.ASCII)
#: In a bucket each text is compared with so many neighbours, so that boilerplate stays linear.
_NEIGHBOURS = 128
_ROWS_AT_ONCE = 1 << 19


def fold(text: str) -> str:
    """The text with case folded and white space collapsed: what counts as equal."""
    return " ".join(text.casefold().split())


def exact_duplicates(texts: Sequence[str]) -> Ints:
    """Label each text by the index of the first text equal to it after :func:`fold`: an int64 array ``[n]``."""
    import numpy as np

    first: dict[str, int] = {}
    return np.fromiter((first.setdefault(fold(t), i) for i, t in enumerate(texts)), np.int64, len(texts))


def near_duplicates(texts: Sequence[str], threshold: float = 0.8, *, shingle: int = 3) -> Ints:
    """Label each text by the index of the first text of its group: an int64 array ``[n]``.

    Two texts are near duplicates where the Jaccard similarity of their sets of word shingles is at least
    ``threshold``; groups are the connected components. Candidate pairs come from MinHash signatures (128
    hashes, banded so that a pair at the threshold is missed with a chance below 0.001) and each is verified by
    the true similarity, so there are no false pairs. Deterministic: the hashes have no seed.

    Args:
        texts: n texts; case and white space do not count.
        threshold: Jaccard similarity in (0, 1].
        shingle: words in a shingle, 1 or more; a shorter text is one shingle.

    Raises:
        UserError: ``threshold`` or ``shingle`` is out of range.

    Source: On the resemblance and containment of documents, A. Z. Broder, 1997.
    """
    import numpy as np

    sets = _Sets(texts, threshold, shingle)
    parent = list(range(len(texts)))
    for i, j in zip(range(len(texts)), sets.first.tolist(), strict=True):
        parent[i] = j
    for left, right in sets.pairs():
        for i, j in zip(left.tolist(), right.tolist(), strict=True):
            a, b = _root(parent, i), _root(parent, j)
            if a != b and sets.similar(i, j):
                parent[max(a, b)] = min(a, b)
    return np.fromiter((_root(parent, i) for i in range(len(texts))), np.int64, len(texts))


def groups(labels: Ints) -> list[list[int]]:
    """The groups of two or more members in ``labels`` ``[n]``, each a rising list of indices."""
    members: dict[int, list[int]] = {}
    for index, label in enumerate(labels.tolist()):
        members.setdefault(label, []).append(index)
    return [group for group in members.values() if len(group) > 1]


def overlap(train_texts: Sequence[str], test_texts: Sequence[str], threshold: float = 0.8, *, shingle: int = 3) -> Ints:
    """Indices into ``test_texts`` of the texts that have a near duplicate in ``train_texts``, rising.

    What counts as near is said in :func:`near_duplicates`.
    """
    import numpy as np

    n = len(train_texts)
    sets = _Sets([*train_texts, *test_texts], threshold, shingle)
    # Equal texts were collapsed to their first one: a test text whose first equal stands in train is found.
    found = sets.first < n
    for left, right in sets.pairs(sides=n):
        for i, j in zip(left.tolist(), right.tolist(), strict=True):
            if not found[j] and sets.similar(i, j):
                found[j] = True
    return np.flatnonzero(found[sets.first][n:] | found[n:]).astype(np.int64)


def _root(parent: list[int], i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


class _Sets:
    """The shingle sets of texts, equal sets collapsed to their first, with the signatures of the different ones."""

    def __init__(self, texts: Sequence[str], threshold: float, shingle: int) -> None:
        import numpy as np

        if not 0.0 < threshold <= 1.0:
            raise UserError(f"the threshold is a Jaccard similarity above 0 and at most 1, not {threshold}")
        if shingle < 1:
            raise UserError(f"a shingle needs at least one word, not {shingle}")
        self.threshold = threshold
        self.values, self.starts = _shingles(texts, shingle)
        self.sizes = np.diff(self.starts)
        first: dict[bytes, int] = {}
        self.first = np.fromiter(
            (first.setdefault(self._of(i).tobytes(), i) for i in range(len(texts))), np.int64, len(texts)
        )
        self.different = np.fromiter(first.values(), np.int64, len(first))

    def _of(self, i: int) -> Hashes:
        return self.values[self.starts[i] : self.starts[i + 1]]

    def similar(self, i: int, j: int) -> bool:
        """Whether the true Jaccard similarity of texts ``i`` and ``j`` reaches the threshold."""
        import numpy as np

        a, b = self._of(i), self._of(j)
        both = np.concatenate((a, b))
        both.sort()
        shared = int(np.count_nonzero(both[1:] == both[:-1]))
        return shared >= self.threshold * (len(a) + len(b) - shared)

    def pairs(self, sides: int | None = None) -> list[tuple[Ints, Ints]]:
        """Candidate pairs (i < j) of different sets that agree in a band; with ``sides`` only those across it."""
        import numpy as np

        kept = self.different[self.sizes[self.different] > 0]
        if len(kept) < 2:
            return []
        signatures = self._signatures(kept)
        bands, rows = _banding(self.threshold)
        keys = np.stack([_mixed_columns(signatures[:, b * rows : (b + 1) * rows]) for b in range(bands)], axis=1)
        codes = np.empty(0, np.int64)
        for band in range(bands):
            found = self._agreeing(kept, signatures, keys, band, sides)
            codes = np.union1d(codes, found)
        left, right = codes // len(self.first), codes % len(self.first)
        return [(left, right)]

    def _agreeing(self, kept: Ints, signatures: NDArray[np.uint32], keys: Hashes, band: int, sides: int | None) -> Ints:
        """Pairs equal in one band that may reach the threshold, coded as ``i * n + j``."""
        import numpy as np

        # Within a bucket the next band orders, so that the likest stand near each other.
        order = np.lexsort((keys[:, (band + 1) % keys.shape[1]], keys[:, band]))
        key, codes = keys[order, band], []
        for step in range(1, min(_NEIGHBOURS, len(order) - 1) + 1):
            at = np.flatnonzero(key[step:] == key[:-step])
            if not len(at):
                break
            a, b = order[at], order[at + step]
            i, j = np.minimum(kept[a], kept[b]), np.maximum(kept[a], kept[b])
            likely = self._likely(signatures, a, b, i, j)
            if sides is not None:
                likely &= (i < sides) & (j >= sides)
            codes.append(i[likely] * len(self.first) + j[likely])
        return np.concatenate(codes) if codes else np.empty(0, np.int64)

    def _likely(self, signatures: NDArray[np.uint32], a: Ints, b: Ints, i: Ints, j: Ints) -> NDArray[np.bool_]:
        """Pairs whose sizes allow the threshold and whose signatures agree to within five standard deviations."""
        import numpy as np

        small, large = np.minimum(self.sizes[i], self.sizes[j]), np.maximum(self.sizes[i], self.sizes[j])
        likely: NDArray[np.bool_] = small >= self.threshold * large
        at = np.flatnonzero(likely)
        slack = 5.0 * (self.threshold * (1.0 - self.threshold) / _HASHES) ** 0.5
        for start in range(0, len(at), 4096):
            part = at[start : start + 4096]
            agreement = (signatures[a[part]] == signatures[b[part]]).mean(axis=1)
            likely[part] = agreement >= self.threshold - slack
        return likely

    def _signatures(self, kept: Ints) -> NDArray[np.uint32]:
        """The MinHash signatures ``[len(kept), 128]``: for each hash the least value over the text's shingles."""
        import numpy as np

        multipliers, offsets = _hash_family()
        out = np.empty((len(kept), _HASHES), np.uint32)
        begin = 0
        while begin < len(kept):
            limit = self.starts[kept[begin]] + _ROWS_AT_ONCE
            end = max(begin + 1, int(np.searchsorted(self.starts[kept + 1], limit, side="right")))
            part = kept[begin:end]
            values = np.concatenate([self._of(i) for i in part.tolist()])
            heads = np.concatenate(([0], np.cumsum(self.sizes[part])[:-1]))
            hashed = np.empty_like(values)
            for h in range(_HASHES):
                np.multiply(values, multipliers[h], out=hashed)
                hashed += offsets[h]
                out[begin:end, h] = np.minimum.reduceat(hashed, heads) >> np.uint64(32)
            begin = end
        return out


def _banding(threshold: float) -> tuple[int, int]:
    """Bands and rows: the most rows (fewest false candidates) that miss a pair at the threshold below 0.001."""
    rows = 1
    for r in range(2, 17):
        if (1.0 - threshold**r) ** (_HASHES // r) > 1e-3:
            break
        rows = r
    return _HASHES // rows, rows


def _shingles(texts: Sequence[str], size: int) -> tuple[Hashes, Ints]:
    """The sorted sets of 64-bit shingle hashes of all texts in one array, and where each starts ``[n + 1]``."""
    import numpy as np

    known: dict[str, int] = {}
    parts: list[Any] = []
    starts = np.zeros(len(texts) + 1, np.int64)
    weights = _mix(np.arange(1, size + 1, dtype=np.uint64)) | np.uint64(1)
    for i, text in enumerate(texts):
        words = _words(text)
        codes = np.fromiter((known.get(w) or known.setdefault(w, _hash(w)) for w in words), np.uint64, len(words))
        if len(codes) >= size:
            joined = codes[: len(codes) - size + 1] * weights[0]
            for k in range(1, size):
                joined = joined + codes[k : len(codes) - size + 1 + k] * weights[k]
        else:
            joined = (codes * weights[: len(codes)]).sum(keepdims=True) if len(codes) else codes
        joined = _mix(joined)
        joined.sort()
        if len(joined) > 1:
            joined = joined[np.concatenate(([True], joined[1:] != joined[:-1]))]
        parts.append(joined)
        starts[i + 1] = starts[i] + len(joined)
    return (np.concatenate(parts) if parts else np.empty(0, np.uint64)), starts


def _words(text: str) -> list[str]:
    folded = text.casefold()
    return (_ASCII_WORD if folded.isascii() else _WORD).findall(folded) or folded.split()


def _hash(word: str) -> int:
    return int.from_bytes(blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little") or 1


def _mix(values: Hashes) -> Hashes:
    """The finaliser of splitmix64: every input bit reaches every output bit."""
    import numpy as np

    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _mixed_columns(block: NDArray[np.uint32]) -> Hashes:
    """One 64-bit key for each row of ``block``."""
    import numpy as np

    key = np.zeros(len(block), np.uint64)
    for column in block.T:
        key = _mix(key + column + np.uint64(0x9E3779B97F4A7C15))
    return key


def _hash_family() -> tuple[Hashes, Hashes]:
    """Odd multipliers and offsets of the multiply-add hashes, always the same."""
    import numpy as np

    numbers = _mix(np.arange(1, 2 * _HASHES + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    return numbers[:_HASHES] | np.uint64(1), numbers[_HASHES:]
