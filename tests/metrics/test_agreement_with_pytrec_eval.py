"""Ranking measures against trec_eval itself (pytrec_eval), on random runs full of ties, gaps and strangers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import pytrec_eval

from similis.metrics import from_dicts, parse

NAMES = {
    "nDCG": "ndcg",
    "nDCG@10": "ndcg_cut_10",
    "MAP": "map",
    "MAP@5": "map_cut_5",
    "MRR": "recip_rank",
    "P@5": "P_5",
    "Recall@5": "recall_5",
    "Rprec": "Rprec",
    "Bpref": "bpref",
    "infAP": "infAP",
    "Success@5": "success_5",
}
Nested = dict[str, dict[str, float]]


def random_case(seed: int, levels: int) -> tuple[Nested, dict[str, dict[str, int]]]:
    """Six queries of a run, seven of qrels (not the same), 40 documents, few distinct scores."""
    rng = np.random.default_rng(seed)
    docs = [f"d{i}" for i in range(40)]
    run = {
        f"q{i}": {d: float(rng.integers(0, levels)) for d in rng.permutation(docs)[: rng.integers(1, 40)]}
        for i in range(6)
    }
    qrels = {
        f"q{i}": {d: int(rng.integers(0, 4)) for d in rng.permutation(docs)[: rng.integers(1, 30)]} for i in range(1, 8)
    }
    return run, qrels


def reference(run: Nested, qrels: dict[str, dict[str, int]], level: int) -> dict[str, dict[str, float]]:
    wanted = {name.replace("_cut_", "_cut.") for name in NAMES.values()}
    wanted = {name.replace("_5", ".5") if name[0] in "PRs" or name.startswith("recall") else name for name in wanted}
    return dict(pytrec_eval.RelevanceEvaluator(qrels, wanted, relevance_level=level).evaluate(run))


@pytest.mark.parametrize("levels", [3, 6, 1000])
@pytest.mark.parametrize("level", [1, 2])
def test_every_measure_equals_trec_eval_ties_included(levels: int, level: int) -> None:
    compared = 0
    for seed in range(25):
        run, qrels = random_case(seed, levels)
        theirs, ranked = reference(run, qrels, level), from_dicts(run, qrels)
        for ours, trec in NAMES.items():
            name, _, cutoff = ours.partition("@")
            if level > 1 and name == "nDCG":
                continue
            text = f"{name}(rel={level})" + (f"@{cutoff}" if cutoff else "") if level > 1 else ours
            for query, value in zip(ranked.query_ids, parse(text).compute(ranked), strict=True):
                if query in theirs and not math.isnan(value):
                    assert value == pytest.approx(theirs[query][trec], abs=1e-9), (seed, query, text)
                    compared += 1
    assert compared > 500


def test_scores_that_differ_only_beyond_single_precision_are_ties_as_in_trec_eval() -> None:
    run, qrels = {"q": {"a": 1.0 + 1e-12, "b": 1.0}}, {"q": {"a": 1}}
    theirs = pytrec_eval.RelevanceEvaluator(qrels, {"recip_rank"}).evaluate(run)["q"]["recip_rank"]
    assert theirs == 0.5
    assert parse("MRR").compute(from_dicts(run, qrels)) == pytest.approx([theirs])


@pytest.mark.parametrize(("judged", "other"), [("é", "z"), ("\U0001f600", "�"), ("10", "9"), ("a", "A")])
def test_ties_between_unusual_ids_are_broken_as_in_trec_eval(judged: str, other: str) -> None:
    run, qrels = {"q": {judged: 1.0, other: 1.0}}, {"q": {judged: 1}}
    theirs = pytrec_eval.RelevanceEvaluator(qrels, {"recip_rank"}).evaluate(run)["q"]["recip_rank"]
    assert parse("MRR").compute(from_dicts(run, qrels)) == pytest.approx([theirs])


def test_documents_judged_below_zero_neither_gain_nor_count_against() -> None:
    run, qrels = {"q": {"a": 3.0, "b": 2.0, "c": 1.0}}, {"q": {"a": -1, "b": 2, "c": 0}}
    theirs = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg", "bpref", "infAP"}).evaluate(run)["q"]
    ranked = from_dicts(run, qrels)
    for ours, trec in {"nDCG": "ndcg", "Bpref": "bpref", "infAP": "infAP"}.items():
        assert parse(ours).compute(ranked) == pytest.approx([theirs[trec]], abs=1e-9)


def test_large_runs_split_into_blocks_give_the_same_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    run, qrels = random_case(3, 5)
    whole = from_dicts(run, qrels)
    monkeypatch.setattr("similis.metrics.building._BLOCK", 7)
    pieces = from_dicts(run, qrels)
    assert np.array_equal(whole.rank, pieces.rank)
    assert np.array_equal(whole.query, pieces.query)
