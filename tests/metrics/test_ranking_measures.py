"""Measures that trec_eval lacks, against their formula written as a plain loop."""

from __future__ import annotations

import numpy as np
import pytest

from similis.errors import UserError
from similis.metrics import from_dicts, parse


def ranking(seed: int) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, int]], list[list[int | None]]]:
    """Run, qrels and, for each query, the grade at each rank (None: not judged)."""
    rng = np.random.default_rng(seed)
    run, qrels, rows = {}, {}, []
    for q in range(5):
        length = int(rng.integers(3, 20))
        grades = [None if rng.random() < 0.4 else int(rng.integers(0, 4)) for _ in range(length)]
        grades[int(rng.integers(0, length))] = 2
        run[f"q{q}"] = {f"d{i}": float(length - i) for i in range(length)}
        qrels[f"q{q}"] = {f"d{i}": g for i, g in enumerate(grades) if g is not None}
        rows.append(grades)
    return run, qrels, rows


@pytest.mark.parametrize("cutoff", [None, 1, 5])
def test_rbp_equals_its_sum(cutoff: int | None) -> None:
    run, qrels, rows = ranking(1)
    expected = [sum(0.3 * 0.7**i for i, g in enumerate(row[:cutoff]) if g and g >= 1) for row in rows]
    text = "RBP(p=0.7)" + (f"@{cutoff}" if cutoff else "")
    assert parse(text).compute(from_dicts(run, qrels)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("cutoff", [None, 2, 20])
def test_err_equals_the_cascade(cutoff: int | None) -> None:
    run, qrels, rows = ranking(2)
    expected = []
    for row in rows:
        reading, total = 1.0, 0.0
        for i, grade in enumerate(row[:cutoff]):
            stop = (2 ** (grade or 0) - 1) / 2**4
            total += reading * stop / (i + 1)
            reading *= 1 - stop
        expected.append(total)
    text = "ERR(top=4)" + (f"@{cutoff}" if cutoff else "")
    assert parse(text).compute(from_dicts(run, qrels)) == pytest.approx(expected, abs=1e-12)


def test_ndcg_with_exponential_gains_equals_its_sum() -> None:
    run, qrels, rows = ranking(3)
    expected = []
    for row in rows:
        dcg = [
            sum((2 ** (g or 0) - 1) / np.log2(i + 2) for i, g in enumerate(order[:5]))
            for order in (row, sorted((g or 0 for g in row), reverse=True))
        ]
        expected.append(dcg[0] / dcg[1])
    assert parse("nDCG(gains=exp)@5").compute(from_dicts(run, qrels)) == pytest.approx(expected, abs=1e-12)


def test_judged_counts_what_was_judged_of_what_was_retrieved() -> None:
    run, qrels, rows = ranking(4)
    expected = [sum(g is not None for g in row[:10]) / min(10, len(row)) for row in rows]
    assert parse("Judged@10").compute(from_dicts(run, qrels)) == pytest.approx(expected)


def test_map_at_r_looks_at_the_first_r_documents_only() -> None:
    run = {"q": {"a": 5.0, "x": 4.0, "b": 3.0, "c": 2.0}}
    ranked = from_dicts(run, {"q": {"a": 1, "b": 1, "c": 1}})
    assert parse("MAP@R").compute(ranked) == pytest.approx([(1 + 2 / 3) / 3])
    assert parse("P@R").compute(ranked) == pytest.approx(parse("Rprec").compute(ranked))


def test_a_query_without_relevant_documents_is_undefined_not_zero() -> None:
    ranked = from_dicts({"q": {"a": 1.0}}, {"q": {"a": 0}})
    for text in ("nDCG@10", "MAP", "MRR", "Recall@5", "P@5", "Rprec", "Success@5", "Bpref", "RBP", "ERR", "infAP"):
        assert np.isnan(parse(text).compute(ranked)).all(), text


@pytest.mark.parametrize("bad", [None, "high", float("nan")])
def test_a_score_that_is_no_number_is_named(bad: object) -> None:
    with pytest.raises(UserError, match="document 'b' for query 'q2'"):
        from_dicts({"q1": {"a": 1.0}, "q2": {"a": 1.0, "b": bad}}, {"q1": {"a": 1}, "q2": {"a": 1}})  # type: ignore[dict-item]


def test_a_grade_that_is_no_number_is_named() -> None:
    with pytest.raises(UserError, match="grade of document 'b' for query 'q'"):
        from_dicts({"q": {"a": 1.0}}, {"q": {"a": 1, "b": "relevant"}})  # type: ignore[dict-item]


def test_an_impossible_persistence_is_refused() -> None:
    with pytest.raises(UserError, match="between 0 and 1"):
        parse("RBP(p=1.5)").compute(from_dicts({"q": {"a": 1.0}}, {"q": {"a": 1}}))
