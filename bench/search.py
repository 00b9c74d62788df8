"""Search: exact, approximate, BM25 and hybrid, against faiss, hnsw, bm25s and the bare matrix product.

    python bench/search.py [--quick] [--json] [--only exact|approximate|BM25|hybrid]

One thread. The vectors are made up like real ones: means of word vectors over passages drawn from topics, words by
Zipf's law, coordinates of unequal variance. 100,000 x 384; with --quick 10,000 x 128.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from measure import Line, arguments, bounded, compared, interleaved, show

VOCABULARY, TOPICS, K = 20_000, 300, 10
RECALL = 0.99


def passages(n: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """``[n, length]`` word numbers: a fifth from all words, the rest from the passage's own topic, by Zipf's law."""
    ranks = 1 / np.arange(1, VOCABULARY + 1)
    cumulative = np.cumsum(ranks / ranks.sum())
    common = np.searchsorted(cumulative, rng.random((n, length)))
    topics = rng.integers(0, TOPICS, (n, 1))
    # Each topic has its own order of the words: a fixed stride over the vocabulary.
    own = (common * 7919 + topics * 104_729) % VOCABULARY
    return np.where(rng.random((n, length)) < 0.2, common, own).clip(0, VOCABULARY - 1)


def vectors(words: np.ndarray, d: int) -> np.ndarray:
    """``[n, d]`` unit means of the words' vectors, frequent words weighing less, the mean removed."""
    rng = np.random.default_rng(17)
    table = rng.standard_normal((VOCABULARY, d), np.float32) * np.linspace(1.6, 0.4, d, dtype=np.float32)
    rotation = np.linalg.qr(rng.standard_normal((d, d)))[0].astype(np.float32)
    share = np.bincount(words.ravel(), minlength=VOCABULARY) / words.size
    table = (table @ rotation) * (1e-3 / (1e-3 + share)).astype(np.float32)[:, None]
    means = np.concatenate([table[part].mean(1) for part in np.array_split(words, max(1, len(words) // 2000))])
    means -= means.mean(0)
    return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True))


def dense_data(n: int, d: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keys ``[n, d]``, 512 queries to tune with and 500 to measure with, all from the same topics."""
    rng = np.random.default_rng(3)
    made = vectors(np.concatenate([passages(n, 40, rng)]), d)
    keys, rest = made[: n - 1012], made[n - 1012 :]
    return np.ascontiguousarray(keys), rest[:512].copy(), rest[512:].copy()


def exact(keys: np.ndarray, queries: np.ndarray) -> Iterator[Line]:
    """256 queries a call, and one."""
    import faiss

    from similis.indexes import ExactIndex

    index, flat = ExactIndex(keys), faiss.IndexFlatIP(keys.shape[1])
    flat.add(keys)
    batch, single, size = queries[:256], queries[:1], f"{len(keys):,} x {keys.shape[1]}"
    shipped = faiss.cvar.distance_compute_blas_threshold

    def with_threshold(value: int) -> None:
        faiss.cvar.distance_compute_blas_threshold = value
        flat.search(batch, K)
        faiss.cvar.distance_compute_blas_threshold = shipped

    taken = interleaved(
        {
            "ours": lambda: index.search(batch, K),
            "shipped": lambda: with_threshold(shipped),
            "blas": lambda: with_threshold(1),
            "bare": lambda: [batch @ keys[i : i + 16_384].T for i in range(0, len(keys), 16_384)],
        }
    )
    case = f"exact search, 256 queries a call, {size}"
    qps = {name: 256 / seconds for name, seconds in taken.items()}
    higher = {"lower_is_better": False}
    yield compared(case, "queries/s", qps["ours"], "faiss flat as shipped", qps["shipped"], bar=3.0, **higher)
    yield compared(case, "queries/s", qps["ours"], "faiss flat with BLAS", qps["blas"], **higher)
    yield compared(case, "queries/s", qps["ours"], "bare matrix product", qps["bare"], bar=0.8, **higher)
    alone = interleaved({"ours": lambda: index.search(single, K), "theirs": lambda: flat.search(single, K)}, rounds=9)
    case = f"exact search, one query a call, {size}"
    yield compared(case, "ms", 1000 * alone["ours"], "faiss flat as shipped", 1000 * alone["theirs"])


def recall(found: np.ndarray, true: np.ndarray) -> float:
    return float(np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, true, strict=True)]))


def approximate(keys: np.ndarray, tuning: np.ndarray, queries: np.ndarray) -> Iterator[Line]:
    """4-bit codes with rescoring against HNSW, each at the cheapest setting with recall 0.99 on the tuning queries."""
    import faiss

    from similis.indexes import ApproximateIndex, ExactIndex
    from similis.indexes.reduction import reduction

    start = time.process_time()
    coded = ApproximateIndex.build(keys, tuning, reduction("cosine"))
    build = time.process_time() - start
    start = time.process_time()
    graph = faiss.IndexHNSWFlat(keys.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = 128
    graph.add(keys)
    their_build = time.process_time() - start
    plain = ExactIndex(keys)
    wanted, gold = plain.search(tuning, K)[1], plain.search(queries, K)[1]
    for ef in (32, 64, 96, 128, 192, 256, 384, 512, 768, 1024):
        graph.hnsw.efSearch = ef
        if recall(graph.search(tuning, K)[1], wanted) >= RECALL:
            break
    reached = recall(coded.search(queries, K)[1], gold), recall(graph.search(queries, K)[1], gold)
    taken = interleaved({"ours": lambda: coded.search(queries, K), "hnsw": lambda: graph.search(queries, K)})
    case = f"approximate search at recall {RECALL}, {len(keys):,} x {keys.shape[1]}"
    note = f"recall {reached[0]:.4f} and {reached[1]:.4f}; {coded.settings}; efSearch {graph.hnsw.efSearch}"
    ours, theirs = (len(queries) / taken[name] for name in ("ours", "hnsw"))
    peer = "faiss HNSW (M 16, efConstruction 128)"
    yield compared(case, "queries/s", ours, peer, theirs, bar=1.3, lower_is_better=False, note=note)
    yield compared(f"{case}: build", "s", build, peer, their_build)
    exact_seconds = interleaved({"exact": lambda: plain.search(queries, K)})["exact"]
    rate = len(queries) / exact_seconds
    yield compared(case, "queries/s", ours, "our exact search", rate, lower_is_better=False)


def lexical(n: int) -> Iterator[Line]:
    """BM25: the same bits as bm25s, and how fast."""
    from similis.indexes import LexicalRetriever

    rng = np.random.default_rng(5)
    names = np.array([f"word{i}" for i in range(VOCABULARY)])
    texts = [" ".join(row) for row in names[passages(n, 60, rng)].tolist()]
    queries = [" ".join(row) for row in names[passages(300, 8, rng)].tolist()]
    ours = LexicalRetriever.build(list(map(str, range(n))), texts, language="english")
    case = f"BM25, {n:,} texts of 60 words"
    if importlib.util.find_spec("bm25s") is None:
        yield Line(case, "queries/s", None, "bm25s (not installed)")
        return
    import bm25s

    scratch = tempfile.TemporaryDirectory()
    ours.postings.save(folder := Path(scratch.name))
    tokens = bm25s.tokenize(queries, return_ids=False, show_progress=False, stemmer=_stemmer())
    for backend in ("numpy", "numba"):
        if importlib.util.find_spec(backend) is None:
            yield Line(case, "queries/s", None, f"bm25s, {backend} (not installed)")
            continue
        theirs = bm25s.BM25.load(folder, backend=backend)
        taken = interleaved(
            {
                "ours": lambda: ours.top(ours.prepare(queries), K),
                "theirs": lambda model=theirs: model.retrieve(tokens, k=K, show_progress=False),
            }
        )
        scores = theirs.retrieve(tokens, k=K, show_progress=False).scores
        tops = ours.top(ours.prepare(queries), K)
        same = all((mine == row[: len(mine)]).all() for (mine, _), row in zip(tops, scores, strict=True))
        note = f"scores {'identical to the bit' if same else 'DIFFER'}; ours tokenises too"
        rates = 300 / taken["ours"], 300 / taken["theirs"]
        bar = 1.0 if backend == "numpy" else None
        peer = f"bm25s, {backend}"
        yield compared(case, "queries/s", rates[0], peer, rates[1], bar=bar, lower_is_better=False, note=note)


def _stemmer() -> Any:
    import Stemmer

    return Stemmer.Stemmer("english")


def hybrid(n: int) -> Iterator[Line]:
    """An index of a static encoder: warm hybrid queries one a call, and a cold process."""
    from similis.encoders import create
    from similis.indexes import Index

    rng = np.random.default_rng(6)
    names = np.array([f"word{i}" for i in range(VOCABULARY)])
    texts = [" ".join(row) for row in names[passages(n, 60, rng)].tolist()]
    queries = [" ".join(row) for row in names[passages(100, 8, rng)].tolist()]
    with tempfile.TemporaryDirectory() as folder:
        encoder = create("static", dimension=256, corpus_texts=texts[:5000], seed=0)
        index = Index.build(encoder, (list(map(str, range(n))), texts), Path(folder) / "index", language="english")
        index.search(queries[0])
        waits = []
        for query in queries:
            start = time.perf_counter()
            index.search(query)
            waits.append(1000 * (time.perf_counter() - start))
        yield bounded(f"warm hybrid query, one a call, {n:,} documents", "ms", float(np.median(waits)), 10.0)
        code = (
            "import sys\nfrom similis.indexes import Index\nindex = Index.open(sys.argv[1])\n"
            "hit = index.search(sys.argv[2])[0]\nindex.documents(hit.ids)"
        )
        cold = []
        for query in queries[:5]:
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code, f"{folder}/index", query], check=True)
            cold.append(time.perf_counter() - start)
        yield bounded(f"cold process: open, search, read; {n:,} documents", "s", float(np.median(cold)), 1.0)


def sections(quick: bool) -> dict[str, Callable[[], Iterator[Line]]]:
    """What can be measured, by the first word of its cases."""
    n, d = (10_000, 128) if quick else (100_000, 384)
    documents = 2_000 if quick else 20_000
    data = cache(lambda: dense_data(n, d))
    return {
        "exact": lambda: exact(data()[0], data()[2]),
        "approximate": lambda: approximate(*data()),
        "BM25": lambda: lexical(documents),
        "hybrid": lambda: hybrid(documents),
    }


def main() -> None:
    import faiss

    faiss.omp_set_num_threads(1)
    options = arguments(__doc__ or "").parse_args()
    for name, section in sections(options.quick).items():
        if options.only in name:
            for line in section():
                show(line, as_json=options.json)


def on_one_thread() -> None:
    """Start again with one thread for every library; NumPy reads the setting when it is first imported."""
    variables = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    if any(os.environ.get(variable) != "1" for variable in variables):
        os.environ.update(dict.fromkeys(variables, "1"))
        os.execv(sys.executable, [sys.executable, *sys.argv])


if __name__ == "__main__":
    on_one_thread()
    main()
