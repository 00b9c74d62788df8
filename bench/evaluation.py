"""Speed of judging: runs against pytrec_eval (C) and ranx, an encoder against sentence-transformers' evaluator.

    python bench/evaluation.py [--quick] [--json]

Every contender gets the same dictionaries of string ids in the same process, in turn; figures are median processor
seconds. A peer that is not installed is reported as absent.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np

import measure
from similis.evaluation import evaluate_ranked, evaluate_retrieval, evaluate_run
from similis.metrics.arrays import Judgements, from_arrays

MEASURES = ["nDCG@10", "nDCG", "MAP", "MAP@100", "MRR", "R@100", "R@1000", "P@5", "P@10", "Rprec"]
TREC = {"ndcg_cut.10", "ndcg", "map", "map_cut.100", "recip_rank", "recall.100,1000", "P.5,10", "Rprec"}
RANX = ["ndcg@10", "ndcg", "map", "map@100", "mrr", "recall@100", "recall@1000", "precision@5", "precision@10"]
RANX += ["r-precision"]
BARS = {"pytrec_eval": 4.0, "ranx": 8.0}
Nested = dict[str, dict[str, float]]
Grades = dict[str, dict[str, int]]


def make(queries: int, depth: int, judged: int = 20) -> tuple[Nested, Grades]:
    """A run over a million documents; of every query's results the first 10 and 10 random ones are judged."""
    rng = np.random.default_rng(0)
    names = np.array([f"doc{i}" for i in range(1_000_000)], dtype=object)
    run: Nested = {}
    qrels: Grades = {}
    for query in range(queries):
        docs = names[rng.choice(len(names), depth, replace=False)].tolist()
        run[f"q{query}"] = dict(zip(docs, np.sort(rng.standard_normal(depth))[::-1].tolist(), strict=True))
        half = judged // 2
        chosen = docs[:half] + [docs[i] for i in rng.integers(half, depth, judged - half)]
        qrels[f"q{query}"] = {doc: int(rng.integers(0, 4)) for doc in chosen} | {docs[0]: 1}
    return run, qrels


def ours(run: Nested, qrels: Grades, resamples: int = 0) -> Nested:
    """Our per-query values, as dictionaries like the peers'."""
    report = evaluate_run(run, qrels, MEASURES, resamples=resamples)
    return {name: score.per_query for name, score in report.metrics.items()}


def pytrec_eval(run: Nested, qrels: Grades) -> Any:
    """Per-query values by trec_eval's C code."""
    return importlib.import_module("pytrec_eval").RelevanceEvaluator(qrels, TREC).evaluate(run)


def ranx(run: Nested, qrels: Grades) -> Any:
    """Per-query values by ranx, dictionaries converted as its users must."""
    module = importlib.import_module("ranx")
    return module.evaluate(module.Qrels(qrels), module.Run(run), RANX, return_mean=False, make_comparable=True)


def runs(queries: int, depth: int) -> list[measure.Line]:
    """Dictionaries in, ten measures with per-query values out; and the same with intervals, and from integers."""
    run, qrels = make(queries, depth)
    gc.collect()
    gc.freeze()  # ten million dictionary entries that no contender should pay for
    peers = {name: peer for name, peer in (("pytrec_eval", pytrec_eval), ("ranx", ranx)) if _installed(name)}
    contenders: dict[str, Callable[[], object]] = {"ours": lambda: ours(run, qrels)}
    for name, peer in peers.items():
        contenders[name] = lambda peer=peer: peer(run, qrels)  # type: ignore[misc]
    seconds = measure.interleaved(contenders)
    rng = np.random.default_rng(1)
    docs = rng.permuted(np.tile(np.arange(depth * 4), (queries, 1)), axis=1)[:, :depth]
    scores = -np.sort(-rng.standard_normal((queries, depth)), axis=1)
    known = Judgements(np.arange(0, queries * 20 + 1, 20), docs[:, :20].ravel(), rng.integers(0, 4, queries * 20) * 1.0)
    others = measure.interleaved(
        {
            "with 10,000 bootstrap resamples": lambda: ours(run, qrels, 10_000),
            "from integer arrays": lambda: evaluate_ranked(from_arrays(docs, scores, known), MEASURES, resamples=0),
        }
    )
    case = f"{queries} queries x {depth}, ten measures"
    lines = [
        measure.compared(
            f"{case}, from dictionaries",
            "s",
            seconds["ours"],
            name,
            seconds.get(name),
            bar=bar,
            note="" if name in seconds else "not installed",
        )
        for name, bar in BARS.items()
    ]
    return lines + [measure.Line(f"{case}, {what}", "s", figure) for what, figure in others.items()]


class Prepared:
    """An encoder whose vectors are ready, so that searching and judging alone are timed."""

    similarity_name = "cosine"
    similarity_fn_name = "cosine"
    model_card_data = None

    def __init__(self, texts: int) -> None:
        vectors = np.random.default_rng(2).standard_normal((texts, 256)).astype(np.float32)
        self.vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def encode(self, texts: list[str], **options: Any) -> Any:
        """Rows named by the texts, which are numbers."""
        rows = self.vectors[[int(text) for text in texts]]
        if options.get("convert_to_tensor"):
            return importlib.import_module("torch").from_numpy(rows)
        return rows


def encoder(queries: int, documents: int) -> list[measure.Line]:
    """Exact search and measures alone, the vectors being ready; then all of it, from texts, with a static encoder."""
    asked = {f"q{i}": str(i) for i in range(queries)}
    corpus = {f"d{i}": str(queries + i) for i in range(documents)}
    ready = Prepared(queries + documents)
    size = f"{queries} queries x {documents} documents"
    lines = [_against_evaluator(f"{size}, vectors ready", ready, ready, asked, corpus)]
    words = np.array([f"word{i}" for i in range(20_000)])
    rng = np.random.default_rng(4)

    def text(length: int) -> str:
        return " ".join(words[rng.zipf(1.3, length) % len(words)])

    asked, corpus = {query: text(8) for query in asked}, {doc: text(60) for doc in corpus}
    encoders = importlib.import_module("similis.encoders")
    with tempfile.TemporaryDirectory() as folder:
        encoders.create("static", corpus_texts=corpus.values(), vocab_size=8000).save(folder)
        mine = encoders.load(folder)
        theirs = importlib.import_module("sentence_transformers").SentenceTransformer(folder, device="cpu")
        note = "both spend most of it in the same tokenizer"
        lines.append(_against_evaluator(f"{size}, from texts, static encoder", mine, theirs, asked, corpus, note))
    return lines


def _against_evaluator(
    case: str, mine: Any, theirs: Any, asked: dict[str, str], corpus: dict[str, str], note: str = ""
) -> measure.Line:
    """Our evaluation of ``mine`` and InformationRetrievalEvaluator's of ``theirs``, with that class's measures."""
    rng = np.random.default_rng(3)
    names = list(corpus)
    qrels = {query: {names[d]: 1 for d in rng.integers(0, len(names), 3)} for query in asked}
    metrics = [f"{name}@{k}" for name in ("Success", "P", "R") for k in (1, 3, 5, 10)]  # the peer's defaults
    metrics += ["MRR@10", "nDCG@10", "MAP@100"]
    module = importlib.import_module("sentence_transformers.evaluation")
    similarity = importlib.import_module("sentence_transformers.util").cos_sim
    peer = module.InformationRetrievalEvaluator(
        asked,
        corpus,
        {query: set(row) for query, row in qrels.items()},
        score_functions={"cosine": similarity},
        write_csv=False,
    )
    if isinstance(theirs, Prepared):
        peer.embed_inputs = lambda model, texts, **_: model.encode(list(texts), convert_to_tensor=True)
    seconds = measure.interleaved(
        {
            "ours": lambda: evaluate_retrieval(mine, asked, corpus, qrels, metrics, resamples=0),
            "theirs": lambda: peer.compute_metrices(theirs),
        }
    )
    name = "InformationRetrievalEvaluator"
    return measure.compared(case, "s", seconds["ours"], name, seconds["theirs"], bar=2.0, note=note)


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def main() -> None:
    """Print every line as it is known."""
    options = measure.arguments(__doc__ or "").parse_args()
    sizes = ((200, 2000), (1000, 200)) if options.quick else ((1000, 18_000), (10_000, 1000))
    for name, case, size in zip(("encoder", "runs"), (encoder, runs), sizes, strict=True):
        if options.only in name:
            for line in case(*size):
                measure.show(line, as_json=options.json)


if __name__ == "__main__":
    main()
