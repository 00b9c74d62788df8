"""Pairs whose second column names classes are read as they stand, and one note says what they look like."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from similis.data import check, read
from similis.training.rows.columns import dataset_of

ROWS = [(f"text number {number} of the set", f"class_{'abc'[number % 3]}") for number in range(60)]


def told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if "class" in line]


def written(path: Path, *rows: tuple[str, ...]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return path


def test_tuples_of_text_and_class_name_get_one_note_that_says_what_to_write(capsys: pytest.CaptureFixture[str]) -> None:
    assert dataset_of(ROWS).supervision == "pairs"
    (note,) = told(capsys)
    assert "the second column has 3 different short texts in 60 rows" in note
    assert '{"text": [...], "label": [...]}' in note
    columns = {"text": [text for text, _ in ROWS], "label": [name for _, name in ROWS]}
    assert dataset_of(columns).supervision == "labels"
    assert not told(capsys)


def test_a_file_whose_header_does_not_say_label_gets_the_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert read(written(tmp_path / "a.csv", ("utt", "kind"), *ROWS)).supervision == "pairs"
    (note,) = told(capsys)
    assert f"{tmp_path / 'a.csv'}: column 'kind' has 3 different" in note
    assert "column 'kind' has 3 different short texts in 60 rows" in check(tmp_path / "a.csv").as_text()
    assert read(written(tmp_path / "b.csv", ("utt", "label"), *ROWS)).supervision == "labels"
    assert not told(capsys)


def test_the_splits_of_a_folder_get_one_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split in ("train", "dev", "test"):
        written(tmp_path / f"{split}.csv", ("anchor", "positive"), *ROWS)
    for split in ("train", "dev", "test"):
        read(tmp_path, split=split)
    assert len(told(capsys)) == 1


@pytest.mark.parametrize(
    "rows",
    [
        ROWS[:49],  # too few to tell
        [(text, f"class_{number % 6}") for number, (text, _) in enumerate(ROWS)],  # a tenth of the rows are different
        [(text, f"{name}: an answer that is long enough to be a text of its own") for text, name in ROWS],
        [(text, f"class {text}") for text, _ in ROWS],
    ],
)
def test_other_pairs_get_none(rows: list[tuple[str, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dataset_of(rows).supervision == "pairs"
    assert not told(capsys)
    assert "as classes have" not in check(written(tmp_path / "a.csv", ("anchor", "positive"), *rows)).why


def test_every_value_is_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    dataset_of([*ROWS, ("the last", "class " + "x" * 50)])
    assert not told(capsys)


@pytest.mark.parametrize("names", ["abc", "012"])
def test_a_column_of_labels_beside_texts_of_any_name_is_read_as_labels(tmp_path: Path, names: str) -> None:
    made = [(text, names[number % 3]) for number, (text, _) in enumerate(ROWS)]
    data = read(written(tmp_path / "a.csv", ("utt", "label"), *made))
    assert (data.supervision, data.column("text")[1]) == ("labels", ROWS[1][0])
    assert [str(name) for name in data.column("label")] == [name for _, name in made]
    assert read(written(tmp_path / "b.csv", ("source", "target"), *ROWS)).supervision == "pairs"
