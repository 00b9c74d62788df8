"""The report counts what a hand count finds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from similis import data


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_duplicates_empties_and_bad_rows_are_counted(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl",
        {"query": "A question", "document": "one"},
        {"query": "a  QUESTION", "document": "One"},
        {"query": "a question", "document": "two"},
        {"query": "Same", "document": "same"},
        {"query": "", "document": "x"},
        "broken",
        {"query": "last"},
    )
    report = data.check(path)
    assert (report.rows, report.supervision, report.columns) == (4, "pairs", ["query", "document"])
    assert report.duplicates == {"rows_repeated": 1, "anchors_repeated": 2, "same_text_on_both_sides": 1}
    assert report.empties == 2
    assert [(bad.file, bad.line) for bad in report.bad] == [(str(path), 5), (str(path), 6), (str(path), 7)]
    assert not report.ok
    assert "3 of 7 rows are bad" in report.problems[0]
    assert [p.name for p in tmp_path.iterdir()] == ["a.jsonl"]
    assert json.loads(json.dumps(report.as_dict()))["bad"][1]["line"] == 6
    text = report.as_text()
    assert f"{path}:6: not valid JSON" in text
    assert "anchors repeated 2" in text


def test_lengths_are_those_of_numpy(tmp_path: Path) -> None:
    texts = ["word " * n + "x" for n in (*range(1, 60), 200)]
    report = data.check(write(tmp_path / "a.jsonl", *({"text": t} for t in texts)))
    for unit, lengths in (("words", [len(t.split()) for t in texts]), ("characters", [len(t) for t in texts])):
        found = report.lengths["text"][unit]
        assert found["median"] == np.median(lengths)
        assert found["p95"] == np.quantile(lengths, 0.95, method="inverted_cdf")
        assert (found["min"], found["max"]) == (min(lengths), max(lengths))


def test_labels_and_scores_are_distributed(tmp_path: Path) -> None:
    labels = data.check(write(tmp_path / "a.jsonl", *({"text": f"t{i}", "label": "xyy"[i % 3]} for i in range(9))))
    assert labels.labels == {"y": 6, "x": 3}
    rows = [{"sentence1": f"a{i}", "sentence2": "b", "score": i / 10} for i in range(11)]
    scores = data.check(write(tmp_path / "b.jsonl", *rows)).scores
    assert (scores["min"], scores["median"], scores["max"]) == (0.0, 0.5, 1.0)
    assert scores["mean"] == pytest.approx(0.5)
    assert sum(scores["histogram"]) == 11


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([{"text": "a", "label": 1}, {"text": "b", "label": 1}], "label is 1 in every row"),
        ([{"text": "a", "label": 1}], "only 1 usable row"),
        ([{"id": 1, "text": "a"}, {"id": 1, "text": "b"}], "with a different text"),
    ],
)
def test_what_would_stop_a_run_is_a_problem(tmp_path: Path, rows: list[dict[str, object]], problem: str) -> None:
    report = data.check(write(tmp_path / "a.jsonl", *rows))
    assert not report.ok
    assert problem in report.as_text()


def test_splits_report_their_exact_overlap(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", *({"query": f"q{i}", "document": f"d{i}"} for i in range(10)))
    shared = [{"query": "Q3", "document": "d3 "}, {"query": "q4", "document": "new"}]
    write(tmp_path / "test.jsonl", *shared, {"query": "own", "document": "alone"})
    report = data.check(tmp_path)
    assert (report.rows, list(report.splits)) == (13, ["train", "test"])
    assert report.overlap == {"train/test": {"rows": 1, "texts": 3}}
    assert report.ok


def test_a_beir_folder_reports_judgements_that_point_nowhere(tmp_path: Path) -> None:
    (tmp_path / "qrels").mkdir()
    write(tmp_path / "corpus.jsonl", *({"_id": f"d{i}", "text": f"text {i}"} for i in range(3)))
    write(tmp_path / "queries.jsonl", *({"_id": f"q{i}", "text": f"query {i}"} for i in range(3)))
    write(tmp_path / "qrels" / "test.tsv", "query-id\tcorpus-id\tscore", "q0\td0\t1", "q1\td9\t2")
    write(tmp_path / "qrels" / "train.tsv", "query-id\tcorpus-id\tscore", "q2\td0\t1", "q1\td1\t2")
    report = data.check(tmp_path)
    assert report.supervision == "retrieval"
    assert report.splits["qrels/test"].labels == {"2": 1, "1": 1}
    assert "1 of 2 judgements point nowhere" in report.splits["qrels/test"].problems[0]
    assert report.overlap["test/train"]["rows"] == 1
    assert not report.ok
