"""Fusion by hand: RRF sums, standardised sums, the fitted weight, and the hybrid that imputes nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from similis.errors import UserError
from similis.search import Hit, Hits, Hybrid, ListedIds, Retriever, fit_weight, rrf, weighted
from similis.search.ranker import Positions, RankerSearch, Scores


def hits(*rankings: dict[str, float]) -> Hits:
    return Hits([Hit(list(ranking), np.array(list(ranking.values()), np.float32)) for ranking in rankings])


class Table(RankerSearch):
    """A ranker whose scores are a matrix ``[queries, n]``; a query's text is its row. Zero means no match."""

    def __init__(self, scores: np.ndarray) -> None:
        self.scores = scores.astype(np.float32)
        self.ids = ListedIds([f"d{i}" for i in range(scores.shape[1])])

    def prepare(self, queries: Sequence[str]) -> list[int]:
        return [int(query) for query in queries]

    def top(self, prepared: Any, k: int) -> list[tuple[Scores, Positions]]:
        ranked = []
        for row in self.scores[prepared]:
            order = np.argsort(-row, kind="stable")[:k]
            order = order[row[order] != 0]
            ranked.append((row[order], order))
        return ranked

    def score(self, prepared: Any, candidates: Sequence[Positions]) -> list[Scores]:
        return [self.scores[row][own] for row, own in zip(prepared, candidates, strict=True)]


def test_rrf_is_the_sum_of_reciprocal_ranks() -> None:
    (fused,) = rrf([hits({"a": 9, "b": 8, "c": 1}), hits({"b": 0.5, "d": 0.4})])
    assert fused.ids == ["b", "a", "d", "c"]
    np.testing.assert_allclose(fused.scores, [1 / 62 + 1 / 61, 1 / 61, 1 / 62, 1 / 63], rtol=1e-6)


def test_rrf_of_three_lists_with_its_own_constant_and_cut() -> None:
    (fused,) = rrf([hits({"a": 3, "b": 2}), hits({"b": 3, "a": 2}), hits({"c": 1})], k=1, top=2)
    assert fused.ids == ["a", "b"]
    np.testing.assert_allclose(fused.scores, [1 / 2 + 1 / 3, 1 / 3 + 1 / 2], rtol=1e-6)


def test_weighted_standardises_over_the_union_with_the_lowest_for_the_missing() -> None:
    (fused,) = weighted([hits({"a": 10.0, "b": 4.0}), hits({"b": 0.9, "c": 0.3})], [0.75, 0.25])
    # Union a, b, c. First: 10, 4, 4: mean 6, deviation √8. Second: 0.3, 0.9, 0.3: mean 0.5, deviation √0.08.
    first = [(x - 6) / math.sqrt(8) for x in (10, 4, 4)]
    second = [(x - 0.5) / math.sqrt(0.08) for x in (0.3, 0.9, 0.3)]
    by_hand = {d: 0.75 * f + 0.25 * s for d, f, s in zip("abc", first, second, strict=True)}
    assert fused.ids == sorted(by_hand, key=lambda d: -by_hand[d])
    np.testing.assert_allclose(fused.scores, sorted(by_hand.values(), reverse=True), rtol=1e-5)


@given(
    st.lists(st.floats(-50, 50, width=32), min_size=2, max_size=30, unique=True),
    st.floats(0.01, 100),
    st.floats(-100, 100),
    st.floats(0, 1),
)
@settings(max_examples=100, deadline=None)
def test_scale_and_shift_of_a_ranking_do_not_change_the_fusion(
    scores: list[float], scale: float, shift: float, weight: float
) -> None:
    if np.std(scores) < 1e-2:
        return
    names = [f"d{i}" for i in range(len(scores))]
    other = hits({name: float(i % 7) for i, name in enumerate(names)})
    plain = weighted([hits(dict(zip(names, scores, strict=True))), other], [weight, 1 - weight])
    moved = {name: score * scale + shift for name, score in zip(names, scores, strict=True)}
    again = Hits([Hit(names, np.array(list(moved.values())))])
    fused = weighted([again, other], [weight, 1 - weight])
    mine, theirs = dict(plain[0]), dict(fused[0])
    for name in names:
        assert mine[name] == pytest.approx(theirs[name], abs=2e-3)


def test_equal_scores_carry_no_preference() -> None:
    (fused,) = weighted([hits({"a": 0.5, "b": 0.5, "c": 0.5}), hits({"c": 3, "b": 2, "a": 1})], [0.9, 0.1])
    assert fused.ids == ["c", "b", "a"]


def test_empty_rankings_are_borne() -> None:
    fused = weighted([hits({}, {"a": 1.0}), hits({}, {})], [0.5, 0.5])
    assert [hit.ids for hit in fused] == [[], ["a"]]
    assert [hit.ids for hit in rrf([hits({}), hits({"x": 1.0})])] == [["x"]]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: weighted([hits({"a": 1})], [0.5, 0.5]), "1 rankings need 1 finite weights"),
        (lambda: weighted([hits({"a": 1})], [float("nan")]), "finite"),
        (lambda: rrf([hits({"a": 1}), hits({"a": 1}, {"b": 1})]), "must answer the same queries"),
        (lambda: rrf([]), "must answer the same queries"),
    ],
)
def test_mistakes_are_said(call: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        call()


def _judged(seed: int, queries: int = 30, n: int = 60) -> tuple[np.ndarray, np.ndarray, dict[str, dict[str, int]]]:
    """Two noisy views of the same relevance, and the judgements."""
    rng = np.random.default_rng(seed)
    grades = (rng.random((queries, n)) < 0.08) * rng.integers(1, 3, (queries, n))
    first = grades + rng.normal(0, 0.6, (queries, n))
    second = 5 * grades + rng.normal(0, 5, (queries, n)) + 40
    qrels = {f"q{q}": {f"d{d}": int(grades[q, d]) for d in range(n)} for q in range(queries)}
    return first, second, qrels


def _ndcg(run: dict[str, dict[str, float]], qrels: dict[str, dict[str, int]]) -> float:
    measured = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10"}).evaluate(run)
    judged = [qid for qid in qrels if max(qrels[qid].values()) > 0]
    return float(np.mean([measured[qid]["ndcg_cut_10"] for qid in judged]))


def test_the_fitted_weight_is_the_best_of_the_grid_by_trec_eval() -> None:
    first, second, qrels = _judged(0)
    a, b = Table(first).search(list(map(str, range(30))), 60), Table(second).search(list(map(str, range(30))), 60)
    names = [f"q{q}" for q in range(30)]
    fitted = fit_weight(a, b, names, qrels)
    truth = {w: _ndcg(weighted([a, b], [w, 1 - w]).run(names), qrels) for w in fitted.tried}
    for weight, value in fitted.tried.items():
        assert value == pytest.approx(truth[weight], abs=1e-6)
    assert truth[fitted.weight] == pytest.approx(max(truth.values()), abs=1e-6)
    assert 0 < fitted.weight < 1


def test_fitting_needs_a_judged_query() -> None:
    with pytest.raises(UserError, match="no query has a relevant document"):
        fit_weight(hits({"a": 1.0}), hits({"a": 1.0}), ["q"], {"q": {"a": 0}})


def test_hybrid_scores_every_candidate_by_both() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.standard_normal((4, 500)), rng.random((4, 500)) * (rng.random((4, 500)) < 0.4)
    hybrid = Hybrid(Table(first), Table(second), weight=0.4)
    assert isinstance(hybrid, Retriever)
    for q, hit in enumerate(hybrid.search(list("0123"), 10)):
        matched = np.flatnonzero(second[q])
        by_second = matched[np.argsort(-second[q][matched], kind="stable")[:100]]
        pool = np.union1d(np.argsort(-first[q], kind="stable")[:100], by_second)
        z = [(column[pool] - column[pool].mean()) / column[pool].std() for column in (first[q], second[q])]
        fused = 0.4 * z[0] + 0.6 * z[1]
        assert hit.ids == [f"d{pool[i]}" for i in np.argsort(-fused, kind="stable")[:10]]
        np.testing.assert_allclose(hit.scores, np.sort(fused)[::-1][:10], atol=1e-5)


def test_hybrid_at_the_ends_of_the_weight_is_one_ranker() -> None:
    rng = np.random.default_rng(5)
    first, second = rng.standard_normal((3, 80)), rng.standard_normal((3, 80))
    a, b = Table(first), Table(second)
    for weight, alone in ((1.0, a), (0.0, b)):
        fused = Hybrid(a, b, weight).search(list("012"), 10)
        assert [h.ids for h in fused] == [h.ids for h in alone.search(list("012"), 10)]


def test_hybrid_fit_reaches_what_its_search_then_gives() -> None:
    first, second, qrels = _judged(1)
    hybrid = Hybrid(Table(first), Table(second))
    names, texts = [f"q{q}" for q in range(30)], [str(q) for q in range(30)]
    fitted = hybrid.fit(names, texts, qrels)
    assert hybrid.weight == fitted.weight
    assert _ndcg(hybrid.search(texts, 10).run(names), qrels) == pytest.approx(fitted.value, abs=1e-6)
    assert fitted.value >= max(fitted.tried[0.0], fitted.tried[1.0])


def test_hybrid_refuses_rankers_over_different_documents_and_bad_weights() -> None:
    with pytest.raises(UserError, match="hold 4 and 5 documents"):
        Hybrid(Table(np.ones((1, 4))), Table(np.ones((1, 5))))
    with pytest.raises(UserError, match=r"must be in 0\.\.1"):
        Hybrid(Table(np.ones((1, 4))), Table(np.ones((1, 4))), weight=1.2)


def test_hits_are_a_list_that_becomes_a_run_and_back() -> None:
    found = hits({"a": 3.0, "b": 1.5}, {"c": 2.0})
    run = found.run(["q1", "q2"])
    assert run == {"q1": {"a": 3.0, "b": 1.5}, "q2": {"c": 2.0}}
    again = Hits.from_run(run, ["q2", "q1", "q3"])
    assert [hit.ids for hit in again] == [["c"], ["a", "b"], []]
    assert found[1:][0].ids == ["c"]
    assert list(found[0]) == [("a", 3.0), ("b", 1.5)]
    assert repr(found) == "Hits(2 queries, 3 documents)"
