"""Reports of runs: means, intervals, notes on what was left out, and refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from similis.errors import UserError
from similis.evaluation import evaluate_arrays, evaluate_run
from similis.evaluation.bootstrap import bca_interval, leave_one_out_means, mean_samples, percentile_interval
from similis.metrics import parse
from similis.metrics.arrays import Judgements, from_arrays


def example(queries: int = 60, seed: int = 0) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, int]]]:
    rng = np.random.default_rng(seed)
    run = {f"q{q}": {f"d{i}": float(rng.integers(0, 8)) for i in rng.permutation(30)[:20]} for q in range(queries)}
    qrels = {f"q{q}": {f"d{i}": int(rng.integers(0, 3)) for i in rng.permutation(30)[:12]} for q in range(queries)}
    return run, qrels


def test_the_mean_is_over_queries_and_lies_within_the_interval() -> None:
    report = evaluate_run(*example(), "nDCG@10,R@5,MRR")
    for score in report.metrics.values():
        assert score.mean == pytest.approx(np.mean(list(score.per_query.values())))
        assert score.interval is not None
        assert score.interval[0] < score.mean < score.interval[1]
    assert report["ndcg@10"] is report.metrics["nDCG@10"]
    assert json.loads(json.dumps(report.as_dict(per_query=True)))["metrics"]["MRR"]["n"] == 60
    assert "Recall@5" in report.as_text()


def test_the_same_seed_gives_the_same_interval() -> None:
    first, second = (evaluate_run(*example(), ["MAP"], seed=7)["MAP"].interval for _ in range(2))
    assert first == second
    assert first != evaluate_run(*example(), ["MAP"], seed=8)["MAP"].interval


def test_what_is_left_out_or_missing_is_said() -> None:
    run = {"a": {"x": 1.0}, "b": {"x": 1.0}, "stranger": {"x": 1.0}}
    qrels = {"a": {"x": 1}, "b": {"x": 0}, "lost": {"x": 1}}
    report = evaluate_run(run, qrels, ["MRR"])
    assert report["MRR"].per_query == {"a": 1.0, "lost": 0.0}
    assert report.excluded == ("b",)
    notes = " ".join(report.notes)
    for name in ("stranger", "lost", "'b'"):
        assert name in notes


def test_a_measure_with_a_higher_level_leaves_out_queries_that_lack_it() -> None:
    report = evaluate_run({"a": {"x": 1.0}, "b": {"x": 1.0}}, {"a": {"x": 1}, "b": {"x": 2}}, ["P(rel=2)@1", "P@1"])
    assert (report["P(rel=2)@1"].n, report["P(rel=2)@1"].excluded) == (1, 1)
    assert report["P(rel=2)@1"].interval is None
    assert report["P@1"].n == 2


@pytest.mark.parametrize(
    ("run", "qrels", "metrics", "message"),
    [
        ({}, {"a": {"x": 1}}, "MAP", "the run is empty"),
        ({"a": {"x": 1.0}}, {}, "MAP", "judgements are empty"),
        ({"1": {"x": 1.0}}, {"q1": {"x": 1}}, "MAP", "no query of the run is judged"),
        ({"a": {"x": 1.0}}, {"a": {"x": 0}}, "MAP", "no query has a relevant document"),
        ({"a": {"x": 1.0}}, {"a": {"x": 1}}, "P(rel=3)@5", "undefined for every query"),
        ({"a": {"x": 1.0}}, {"a": {"x": 1}}, "", "no measure was asked for"),
        ({"a": {"x": float("nan")}}, {"a": {"x": 1}}, "MAP", "document 'x' for query 'a'"),
    ],
)
def test_mistakes_are_one_sentence(run: dict, qrels: dict, metrics: str, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(UserError, match=message.replace("(", r"\(")):
        evaluate_run(run, qrels, metrics)


@pytest.mark.parametrize("few", [0, 4000])
def test_arrays_and_dictionaries_give_the_same_values(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("similis.metrics.arrays._FEW", few)  # either way of finding ranks
    rng = np.random.default_rng(5)
    docs = np.stack([rng.permutation(50)[:20] for _ in range(8)])
    docs[3, 15:] = -1
    scores = rng.integers(0, 5, docs.shape).astype(np.float64)
    qrels = {f"q{q}": {f"{d:03d}": int(rng.integers(0, 3)) for d in rng.permutation(50)[:10]} for q in range(8)}
    run = {f"q{q}": {f"{d:03d}": s for d, s in zip(docs[q], scores[q], strict=True) if d >= 0} for q in range(8)}
    known = Judgements(
        np.arange(0, 81, 10),
        np.array([int(d) for row in qrels.values() for d in row]),
        np.array([g for row in qrels.values() for g in row.values()], float),
    )
    metrics = "nDCG@10,MAP,MRR,R@5,P@5,Rprec,Bpref,Judged@10"
    arrays = evaluate_arrays(docs, scores, known, metrics, query_ids=list(qrels))
    dictionaries = evaluate_run(run, qrels, metrics)
    for name in dictionaries.metrics:
        assert arrays[name].per_query == pytest.approx(dictionaries[name].per_query)


def test_a_ranking_without_scores_is_taken_as_it_stands() -> None:
    known = Judgements(np.array([0, 1]), np.array([4]), np.array([1.0]))
    ranked = from_arrays(np.array([[7, 4, 2]]), None, known)
    assert parse("MRR").compute(ranked) == pytest.approx([0.5])


def test_arrays_refuse_repeated_documents_and_nan() -> None:
    known = Judgements(np.array([0, 1]), np.array([4]), np.array([1.0]))
    with pytest.raises(UserError, match="document 4 is listed twice"):
        from_arrays(np.array([[4, 4, 2]]), None, known)
    with pytest.raises(UserError, match="NaN"):
        from_arrays(np.array([[4, 3]]), np.array([[1.0, np.nan]]), known)
    with pytest.raises(UserError, match=r"shape \[1, k\]"):
        from_arrays(np.array([[4, 3], [1, 2]]), None, known)


def test_bca_and_percentile_intervals_agree_with_scipy() -> None:
    values = np.random.default_rng(0).exponential(size=80)
    samples = mean_samples(values[:, None], 20_000, seed=1)[:, 0]
    for method, ours in {
        "percentile": percentile_interval(samples),
        "BCa": bca_interval(samples, values.mean(), leave_one_out_means(values)),
    }.items():
        theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method=method, rng=2).confidence_interval
        assert ours == pytest.approx(tuple(theirs), abs=0.02)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """Skewed per-query values of 60 queries, as reciprocal ranks are: 95% +- 2% in 1,000 experiments."""
    rng = np.random.default_rng(3)
    ranks = rng.geometric(0.35, size=(1000, 60))
    truth = float(np.sum(0.35 * 0.65 ** np.arange(200) / np.arange(1, 201)))
    samples = mean_samples((1.0 / ranks).T, 2000, seed=4)
    covered = 0
    for values, drawn in zip(1.0 / ranks, samples.T, strict=True):
        low, high = bca_interval(drawn, values.mean(), leave_one_out_means(values))
        covered += low <= truth <= high
    assert 930 <= covered <= 970


def test_values_missing_for_some_queries_are_left_out_of_the_resampled_means() -> None:
    values = np.array([[0.0, np.nan], [1.0, 5.0], [0.5, 5.0]])
    samples = mean_samples(values, 500)
    drawn = samples[:, 1][~np.isnan(samples[:, 1])]
    assert np.allclose(drawn, 5.0)
