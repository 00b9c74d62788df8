"""From texts to report: encoders searched exactly, retrievers taken at their word."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from similis.errors import UserError
from similis.evaluation import evaluate_retrieval, evaluate_run
from similis.evaluation.retrieval import _best

RNG = np.random.default_rng(0)
DOCS = {f"d{i}": f"document {i}" for i in RNG.permutation(60)}
QUERIES = {f"q{i}": f"query {i}" for i in range(12)}
VECTORS = {text: RNG.standard_normal(8) for text in [*DOCS.values(), *QUERIES.values()]}
QRELS = {query: {f"d{i}": int(RNG.integers(0, 3)) for i in RNG.permutation(60)[:8]} for query in QUERIES}
METRICS = "nDCG@10,MAP@20,R@5,MRR"


@dataclass
class Lookup:
    """An encoder that knows its texts by heart."""

    similarity_name: str

    def encode(self, texts: list[str]) -> np.ndarray:
        return np.array([VECTORS[text] for text in texts], np.float32)


class Searcher:
    """A retriever over the same vectors, by inner product."""

    def search(self, texts: list[str], k: int) -> list[Any]:
        names, keys = list(DOCS), np.array([VECTORS[text] for text in DOCS.values()])
        hits = []
        for text in texts:
            scores = keys @ VECTORS[text]
            best = np.argsort(-scores)[:k]
            hits.append(SimpleNamespace(ids=[names[i] for i in best], scores=scores[best]))
        return hits


def brute_force(similarity: str) -> dict[str, dict[str, float]]:
    def score(a: np.ndarray, b: np.ndarray) -> float:
        if similarity == "euclidean":
            return -float(np.linalg.norm(a - b))
        return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b) if similarity == "cosine" else 1.0))

    return {
        query: {doc: score(VECTORS[text], VECTORS[passage]) for doc, passage in DOCS.items()}
        for query, text in QUERIES.items()
    }


@pytest.mark.parametrize("similarity", ["cosine", "dot", "euclidean"])
def test_an_encoder_is_searched_exactly_under_its_own_similarity(similarity: str) -> None:
    ours = evaluate_retrieval(Lookup(similarity), QUERIES, DOCS, QRELS, METRICS, resamples=0)
    theirs = evaluate_run(brute_force(similarity), QRELS, METRICS, resamples=0)
    for name in theirs.metrics:
        assert ours[name].per_query == pytest.approx(theirs[name].per_query)


def test_the_best_of_each_row_are_found_by_groups_as_by_sorting() -> None:
    scores = torch.randn(5, 403, generator=torch.Generator().manual_seed(0))
    values, places = _best(scores, 7)
    assert torch.equal(values, scores.sort(dim=1, descending=True).values[:, :7])
    assert torch.equal(scores.gather(1, places), values)


def test_a_retriever_gives_the_same_as_its_encoder() -> None:
    encoder = evaluate_retrieval(Lookup("dot"), QUERIES, DOCS, QRELS, METRICS, depth=20)
    retriever = evaluate_retrieval(Searcher(), (list(QUERIES), list(QUERIES.values())), None, QRELS, METRICS, depth=20)
    assert encoder.as_dict() == retriever.as_dict()


def test_equal_texts_tie_and_are_ordered_by_name_as_trec_eval_orders_them() -> None:
    corpus = {"b": "document 1", "c": "document 1", "a": "document 1"}
    for doc, rank in {"c": 1, "b": 2, "a": 3}.items():
        report = evaluate_retrieval(Lookup("cosine"), {"q": "query 1"}, corpus, {"q": {doc: 1}}, "MRR", resamples=0)
        assert report["MRR"].mean == pytest.approx(1 / rank)


def test_the_query_itself_can_be_left_out_of_its_results() -> None:
    qrels = {doc: {other: 1} for doc, other in zip(DOCS, [*list(DOCS)[1:], "d0"], strict=True) if doc != other}
    for system, corpus in ((Lookup("dot"), DOCS), (Searcher(), None)):
        kept, left_out = (
            evaluate_retrieval(
                system, DOCS, corpus, qrels, "R@60,nDCG", depth=60, resamples=0, ignore_identical_ids=ignore
            )
            for ignore in (False, True)
        )
        assert left_out["R@60"].mean == 1.0
        assert left_out["nDCG"].mean > kept["nDCG"].mean


def test_what_cannot_be_searched_or_found_is_said() -> None:
    qrels = {"q1": {"d1": 1, "elsewhere": 1}, "unknown": {"d1": 1}}
    report = evaluate_retrieval(Lookup("cosine"), QUERIES, DOCS, qrels, "R@60", resamples=0)
    assert report["R@60"].per_query == {"q1": 0.5}
    notes = " ".join(report.notes)
    assert "11 queries without judgements" in notes
    assert "1 judged query without a text" in notes
    assert "1 judged document outside the corpus" in notes


@pytest.mark.parametrize(
    ("system", "queries", "corpus", "message"),
    [
        (object(), QUERIES, DOCS, "neither search nor encode"),
        (Lookup("cosine"), QUERIES, None, "needs a corpus"),
        (Lookup("cosine"), (["q1", "q1"], ["a", "b"]), DOCS, "'q1' twice"),
        (Lookup("cosine"), (["q1"], []), DOCS, "1 ids for 0 texts"),
        (Lookup("cosine"), {"other": "text"}, DOCS, "no query is judged"),
    ],
)
def test_mistakes_in_retrieval_are_one_sentence(system: Any, queries: Any, corpus: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        evaluate_retrieval(system, queries, corpus, QRELS, METRICS)
