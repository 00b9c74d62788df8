"""BM25 scores of every (document, term) pair, computed once and stored as one column a term, in bm25s' own files."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from similis.errors import UserError
from similis.indexes.analyzer import Analyzer

DATA, INDICES, INDPTR = "data.csc.index.npy", "indices.csc.index.npy", "indptr.csc.index.npy"
VOCABULARY, PARAMETERS, ANALYZER = "vocab.index.json", "params.index.json", "analyzer.json"

#: The version of bm25s whose file layout is written.
_LAYOUT = "0.3.16"


@dataclass(frozen=True)
class Postings:
    """Columns of BM25 scores.

    Attributes:
        data: float32 ``[z]``, a document's score for a term.
        indices: int32 ``[z]``, the document, rising within a term.
        indptr: int64 ``[v + 1]``, where each term's column starts.
        vocabulary: term → column.
        documents: number of documents.
        analyzer: how queries are split into terms.
        parameters: k1 and b.
    """

    data: NDArray[np.float32]
    indices: NDArray[np.int32]
    indptr: NDArray[np.int64]
    vocabulary: dict[str, int]
    documents: int
    analyzer: Analyzer
    parameters: dict[str, float]

    def save(self, folder: Path) -> None:
        """Write the files that ``bm25s.BM25.load`` reads, and ``analyzer.json`` beside them."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, array in ((DATA, self.data), (INDICES, self.indices), (INDPTR, self.indptr)):
            np.save(folder / name, array, allow_pickle=False)
        _write(folder / VOCABULARY, self.vocabulary)
        parameters = {
            **self.parameters,
            "delta": 0.5,
            "method": "lucene",
            "idf_method": "lucene",
            "dtype": "float32",
            "int_dtype": "int32",
            "num_docs": self.documents,
            "version": _LAYOUT,
            "backend": "numpy",
        }
        _write(folder / PARAMETERS, parameters)
        analyzer = {"language": self.analyzer.language, "stop_words": sorted(self.analyzer.stop_words)}
        _write(folder / ANALYZER, analyzer)

    @classmethod
    def load(cls, folder: Path) -> Postings:
        """Open what :meth:`save` wrote; the arrays are memory-mapped."""
        parameters, analyzer = _read(folder / PARAMETERS), _read(folder / ANALYZER)
        data, indices, indptr = (
            np.load(folder / name, mmap_mode="r", allow_pickle=False) for name in (DATA, INDICES, INDPTR)
        )
        return cls(
            data,
            indices,
            indptr,
            vocabulary=_read(folder / VOCABULARY),
            documents=int(parameters["num_docs"]),
            analyzer=Analyzer(analyzer["language"], frozenset(analyzer["stop_words"])),
            parameters={"k1": parameters["k1"], "b": parameters["b"]},
        )


class PostingsBuilder:
    """Counts terms chunk by chunk; keeps (document, term, count) triples, 12 bytes each, and the vocabulary.

    Args:
        analyzer: how texts are split into terms.
        k1, b: BM25's parameters: saturation of repeated terms, and how much long documents are discounted.
    """

    def __init__(self, analyzer: Analyzer, k1: float = 1.2, b: float = 0.75) -> None:
        if k1 < 0 or not 0 <= b <= 1:
            raise UserError(f"BM25 has k1={k1}, b={b}; k1 must be at least 0 and b in 0..1")
        self.analyzer, self.k1, self.b = analyzer, k1, b
        self._columns: dict[str, int] = {}
        #: word → column, -1 for a stop word: a word is stemmed once, not at every occurrence.
        self._words: dict[str, int] = dict.fromkeys(analyzer.stop_words, -1)
        self._lengths: list[int] = []
        self._triples: list[tuple[NDArray[np.int32], ...]] = []

    def add(self, texts: Sequence[str]) -> None:
        """Count the terms of the next documents."""
        known, flat, lengths = self._words, [], []
        for text in texts:
            words = self.analyzer.words(text)
            self._learn([word for word in words if word not in known])
            columns = [column for word in words if (column := known[word]) >= 0]
            flat.extend(columns)
            lengths.append(len(columns))
        documents = np.repeat(np.arange(len(lengths), dtype=np.int64) + len(self._lengths), lengths)
        pairs, counts = np.unique(documents << 32 | np.array(flat, np.int64), return_counts=True)
        halves = ((pairs >> 32), (pairs & 0xFFFFFFFF), counts)
        self._triples.append(tuple(half.astype(np.int32) for half in halves))
        self._lengths.extend(lengths)

    def finish(self) -> Postings:
        """The postings of all documents added."""
        documents, terms, counts = _joined(self._triples)
        order = np.argsort(terms, kind="stable")
        documents, terms, counts = documents[order], terms[order], counts[order]
        indptr = np.zeros(len(self._columns) + 1, np.int64)
        np.cumsum(np.bincount(terms, minlength=len(self._columns)), out=indptr[1:])
        scores = self._scores(documents, terms, counts, np.diff(indptr))
        return Postings(
            scores,
            documents,
            indptr,
            self._columns,
            len(self._lengths),
            self.analyzer,
            {"k1": self.k1, "b": self.b},
        )

    def _learn(self, words: list[str]) -> None:
        for word, stem in zip(words, self.analyzer.stems(words), strict=True):
            self._words[word] = self._columns.setdefault(stem, len(self._columns))

    def _scores(
        self,
        documents: NDArray[np.int32],
        terms: NDArray[np.int32],
        counts: NDArray[np.int32],
        frequencies: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        """``[z]`` scores idf · tf / (k1·(1 - b + b·length/mean length) + tf), idf = ln(1 + (N - df + ½)/(df + ½)).

        This is Lucene's form (Which BM25 Do You Mean? A Large-Scale Reproducibility Study of Scoring Variants,
        Kamphuis, de Vries, Boytsov and Lin, 2020). Order of operations and rounding are those of bm25s
        (``method="lucene"``), so the scores are the same bits.
        """
        lengths = np.array(self._lengths, np.float64)
        n, mean = len(lengths), lengths.mean() if len(lengths) else 0.0
        idf = np.array([math.log(1 + (n - df + 0.5) / (df + 0.5)) for df in frequencies.tolist()], np.float32)
        norms = self.k1 * ((1 - self.b) + self.b * lengths / mean) if mean else lengths
        return (idf[terms] * (counts / (norms[documents] + counts))).astype(np.float32)


def _joined(triples: list[tuple[NDArray[np.int32], ...]]) -> tuple[NDArray[np.int32], ...]:
    if not triples:
        return (np.empty(0, np.int32),) * 3
    return tuple(np.concatenate(parts) for parts in zip(*triples, strict=True))


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
