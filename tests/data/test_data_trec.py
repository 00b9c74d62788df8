"""TREC files: what is written is what pytrec_eval reads, and what is wrong is named by line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import pytrec_eval
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from similis.data import trec
from similis.errors import UserError

IDS = st.text(st.characters(codec="utf-8", exclude_categories=("Z", "C")), min_size=1, max_size=8).filter(
    lambda text: text.split() == [text]
)
SCORES = st.floats(allow_nan=False, allow_infinity=False)
QUIET = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@QUIET
@given(run=st.dictionaries(IDS, st.dictionaries(IDS, SCORES, min_size=1, max_size=5), min_size=1, max_size=4))
def test_a_run_reads_back_exactly_and_pytrec_eval_reads_the_same(
    tmp_path: Path, run: dict[str, dict[str, float]]
) -> None:
    path = tmp_path / "a.run"
    trec.write_run(run, path, tag="mine")
    assert trec.read_run(path) == run
    with path.open(encoding="utf-8", newline="\n") as stream:
        assert pytrec_eval.parse_run(stream) == run


@QUIET
@given(
    qrels=st.dictionaries(IDS, st.dictionaries(IDS, st.integers(-2, 9), min_size=1, max_size=5), min_size=1, max_size=4)
)
def test_qrels_read_back_exactly_and_pytrec_eval_reads_the_same(
    tmp_path: Path, qrels: dict[str, dict[str, int]]
) -> None:
    path = tmp_path / "a.qrels"
    trec.write_qrels(qrels, path)
    assert trec.read_qrels(path) == qrels
    with path.open(encoding="utf-8", newline="\n") as stream:
        assert pytrec_eval.parse_qrel(stream) == qrels


def test_a_run_is_written_best_first_with_ties_as_trec_eval_orders_them(tmp_path: Path) -> None:
    trec.write_run({"q": {"a": 1.0, "c": 2.0, "b": 1.0}}, tmp_path / "a.run")
    rows = [line.split() for line in (tmp_path / "a.run").read_text().splitlines()]
    assert [(row[2], row[3]) for row in rows] == [("c", "1"), ("b", "2"), ("a", "3")]


def test_beir_qrels_with_and_without_header_and_gzip(tmp_path: Path) -> None:
    body = "q 1\td 1\t2\nq 1\td2\t0\n"
    (tmp_path / "a.tsv").write_text("query-id\tcorpus-id\tscore\n" + body)
    (tmp_path / "b.tsv.gz").write_bytes(gzip.compress(body.encode()))
    expected = {"q 1": {"d 1": 2, "d2": 0}}
    assert trec.read_qrels(tmp_path / "a.tsv") == expected
    assert trec.read_qrels(tmp_path / "b.tsv.gz") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q Q0 d 1 0.5 t\nq Q0 e 2 nan t\n", "a:2: the score is nan"),
        ("q Q0 d 1 0.5 t\nq Q0 d 2 0.4 t\n", "a:2: document 'd' stands twice for query 'q'"),
        ("q Q0 d 1 0.5\n", "a:1: a run has 6 columns .* here are 5"),
        ("q Q0 d 1 high t\n", "a:1: the score should be a number, not 'high'"),
    ],
)
def test_a_broken_run_is_named_by_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a").write_text(text)
    with pytest.raises(UserError, match=message):
        trec.read_run(tmp_path / "a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q 0 d 1\nq 0 d 2\n", "a:2: document 'd' is judged twice for query 'q'"),
        ("q 0 d 1 x\n", "a:1: qrels have 4 columns"),
        ("q 0 d 0.5\n", "a:1: the grade should be a whole number, not '0.5'"),
        ("query-id\tcorpus-id\tscore\n", "no judgements"),
    ],
)
def test_broken_qrels_are_named_by_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a").write_text(text)
    with pytest.raises(UserError, match=message):
        trec.read_qrels(tmp_path / "a")


def test_what_cannot_be_read_back_is_not_written(tmp_path: Path) -> None:
    for run in ({"q 1": {"d": 1.0}}, {"q": {"": 1.0}}, {"q": {"d": float("nan")}}):
        with pytest.raises(UserError):
            trec.write_run(run, tmp_path / "a.run")
    assert list(tmp_path.iterdir()) == []
