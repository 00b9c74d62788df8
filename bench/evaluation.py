"""Speed of judging runs: ours against pytrec_eval (C) and ranx, ten measures with per-query values.

    python bench/evaluation.py [--quick] [--json]

Each peer reads the same dictionaries of string ids in the same process, one after the other, three rounds; figures
are medians in seconds. A peer that is not installed is reported as absent.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from similis.evaluation import evaluate_run
from similis.evaluation.runs import evaluate_ranked
from similis.metrics.arrays import Judgements, from_arrays

MEASURES = ["nDCG@10", "nDCG", "MAP", "MAP@100", "MRR", "R@100", "R@1000", "P@5", "P@10", "Rprec"]
TREC = {"ndcg_cut.10", "ndcg", "map", "map_cut.100", "recip_rank", "recall.100,1000", "P.5,10", "Rprec"}
RANX = ["ndcg@10", "ndcg", "map", "map@100", "mrr", "recall@100", "recall@1000", "precision@5", "precision@10"]
RANX += ["r-precision"]
Nested = dict[str, dict[str, float]]


def make(queries: int, depth: int, judged: int = 20) -> tuple[Nested, dict[str, dict[str, int]]]:
    """A run with distinct document ids from a million, every query's best 10 and 10 random documents judged."""
    rng = np.random.default_rng(0)
    names = np.array([f"doc{i}" for i in range(1_000_000)], dtype=object)
    run: Nested = {}
    qrels: dict[str, dict[str, int]] = {}
    for query in range(queries):
        docs = names[rng.choice(len(names), depth, replace=False)].tolist()
        run[f"q{query}"] = dict(zip(docs, np.sort(rng.standard_normal(depth))[::-1].tolist(), strict=True))
        half = judged // 2
        chosen = docs[:half] + [docs[i] for i in rng.integers(half, depth, judged - half)]
        qrels[f"q{query}"] = {doc: int(rng.integers(0, 4)) for doc in chosen} | {docs[0]: 1}
    return run, qrels


def ours(run: Nested, qrels: dict[str, dict[str, int]], resamples: int = 0) -> dict[str, dict[str, float]]:
    """Our per-query values, as dictionaries like the peers'."""
    report = evaluate_run(run, qrels, MEASURES, resamples=resamples)
    return {name: score.per_query for name, score in report.metrics.items()}


def pytrec_eval(run: Nested, qrels: dict[str, dict[str, int]]) -> Any:
    """Per-query values by trec_eval's C code."""
    return importlib.import_module("pytrec_eval").RelevanceEvaluator(qrels, TREC).evaluate(run)


def ranx(run: Nested, qrels: dict[str, dict[str, int]]) -> Any:
    """Per-query values by ranx, dictionaries converted as its users must."""
    module = importlib.import_module("ranx")
    return module.evaluate(module.Qrels(qrels), module.Run(run), RANX, return_mean=False, make_comparable=True)


def seconds(action: Callable[[], Any]) -> float:
    """Processor seconds of one call, garbage collector quiet."""
    gc.collect()
    start = time.process_time()
    action()
    return time.process_time() - start


def report(
    case: str, our: list[float], peer: str | None, their: list[float] | None, bar: float | None
) -> dict[str, Any]:
    """One line of the benchmark; without ``their`` figures the peer is absent."""
    mine = statistics.median(our)
    theirs = statistics.median(their) if their else None
    ratio = theirs / mine if theirs is not None else None
    holds = None if ratio is None or bar is None else ratio >= bar
    return {
        "case": case,
        "unit": "s",
        "ours": round(mine, 4),
        "peer": peer if their or peer is None else f"{peer} (not installed)",
        "theirs": None if theirs is None else round(theirs, 4),
        "ratio": None if ratio is None else round(ratio, 2),
        "bar": bar,
        "holds": holds,
    }


def from_dictionaries(queries: int, depth: int, rounds: int) -> list[dict[str, Any]]:
    """The main case: dictionaries in, ten measures with per-query values out."""
    run, qrels = make(queries, depth)
    gc.freeze()
    peers: dict[str, tuple[Callable[..., Any], float]] = {"pytrec_eval": (pytrec_eval, 4.0), "ranx": (ranx, 8.0)}
    peers = {name: peer for name, peer in peers.items() if _present(name)}
    small = {query: run[query] for query in list(run)[:20]}
    for peer, _ in peers.values():  # compile and load before the clock runs
        peer(small, {query: qrels[query] for query in small})
    mine: list[float] = []
    theirs: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(rounds):
        mine.append(seconds(lambda: ours(run, qrels)))
        for name, (peer, _) in peers.items():
            theirs[name].append(seconds(lambda peer=peer: peer(run, qrels)))  # type: ignore[misc]
    size = f"{queries} queries x {depth}, ten measures per query"
    lines = [
        report(f"{size}, from dictionaries", mine, name, theirs.get(name), bar)
        for name, bar in (("pytrec_eval", 4.0), ("ranx", 8.0))
    ]
    intervals = [seconds(lambda: ours(run, qrels, 10_000)) for _ in range(rounds)]
    lines.append(report(f"{size}, with 10,000 bootstrap resamples", intervals, None, None, None))
    return lines


def from_integers(queries: int, depth: int, rounds: int) -> dict[str, Any]:
    """The array entry: document numbers and scores already in order."""
    rng = np.random.default_rng(1)
    docs = rng.permuted(np.tile(np.arange(depth * 4), (queries, 1)), axis=1)[:, :depth]
    scores = -np.sort(-rng.standard_normal((queries, depth)), axis=1)
    known = Judgements(np.arange(0, queries * 20 + 1, 20), docs[:, :20].ravel(), rng.integers(0, 4, queries * 20) * 1.0)
    times = [
        seconds(lambda: evaluate_ranked(from_arrays(docs, scores, known), MEASURES, resamples=0)) for _ in range(rounds)
    ]
    return report(f"{queries} queries x {depth}, ten measures per query, from integer arrays", times, None, None, None)


def _present(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


def main() -> None:
    """Print the table or, with ``--json``, one object a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1,000 queries x 200 results: a smoke run")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    options = parser.parse_args()
    queries, depth = (1000, 200) if options.quick else (10_000, 1000)
    lines = [*from_dictionaries(queries, depth, 3), from_integers(queries, depth, 3)]
    for line in lines:
        print(json.dumps(line) if options.json else _row(line))
    sys.exit(0 if all(line["holds"] is not False for line in lines) or options.quick else 1)


def _row(line: dict[str, Any]) -> str:
    text = f"{line['case']:<75} {line['ours']:>9.3f} {line['unit']}"
    if line["peer"] is None:
        return text
    if line["theirs"] is None:
        return f"{text}  {line['peer']}"
    verdict = f"bar {line['bar']}x: {'holds' if line['holds'] else 'MISSED'}"
    return f"{text}  {line['peer']} {line['theirs']:.3f} {line['unit']}, {line['ratio']}x ({verdict})"


if __name__ == "__main__":
    main()
