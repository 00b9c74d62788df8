"""A user's mistake in data gives one sentence with file and line; bad rows are set aside, never lost."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from similis import data
from similis.errors import UserError

GOOD = {"query": "a question", "document": "an answer"}


def lines(path: Path, *rows: Any) -> Path:
    parts = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"\n".join(parts) + b"\n")
    return path


def many(count: int = 200) -> list[dict[str, str]]:
    return [{"query": f"question {i}", "document": f"answer {i}"} for i in range(count)]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b'{"query": "cut off', "not valid JSON"),
        (b"[1, 2]", "not a JSON object"),
        ({"query": "only one side"}, "column 'document' is missing"),
        ({"query": "   ", "document": "x"}, "column 'query' is empty"),
        ({"query": None, "document": "x"}, "column 'query' is empty"),
        ({"query": 5, "document": "x"}, "column 'query' holds a number, not text"),
        (b'{"query": "caf\xe9", "document": "x"}', "not UTF-8 text"),
        (b'{"query": "\\ud800", "document": "x"}', "not valid Unicode"),
        ({"query": "x", "document": []}, "no text in column 'document'"),
        ({"query": "x", "document": ["fine", 3]}, "holds a number, not text"),
        (b"[" * 100_000, "not usable JSON"),
    ],
)
def test_a_bad_row_is_set_aside_with_its_line_and_reason(tmp_path: Path, bad: Any, reason: str) -> None:
    path = lines(tmp_path / "a.jsonl", *many(100), bad, *many(100))
    found = data.read(path)
    assert (len(found), found.rejected.count) == (200, 1)
    assert found.rejected.path == tmp_path / "a.jsonl.rejected.jsonl"
    entry = json.loads(found.rejected.path.read_text())
    assert entry["line"] == 101
    assert reason in entry["reason"]
    assert entry["row"] is not None


@pytest.mark.parametrize("value", ["NaN", "Infinity", "true", '"high"', "null", "[0.5]"])
def test_a_score_that_is_no_finite_number_is_set_aside(tmp_path: Path, value: str) -> None:
    rows = [{"sentence1": f"a {i}", "sentence2": "b", "score": i / 200} for i in range(200)]
    bad = f'{{"sentence1": "a", "sentence2": "b", "score": {value}}}'.encode()
    found = data.read(lines(tmp_path / "a.jsonl", *rows, bad))
    assert (len(found), found.rejected.count) == (200, 1)


def test_bad_csv_rows_name_the_line_they_start_on(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = ['"two\nlines",x'] + [f"q{i},d{i}" for i in range(200)]
    path.write_bytes(b"query,document\n" + "\n".join(rows).encode() + b"\nlone\ncaf\xe9,x\n")
    found = data.read(path)
    reasons = [json.loads(line) for line in found.rejected.path.read_text().splitlines()]  # type: ignore[union-attr]
    assert [(r["line"], r["reason"]) for r in reasons] == [
        (204, "1 columns where the header has 2"),
        (205, "not UTF-8 text"),
    ]


def test_no_rejected_file_without_bad_rows(tmp_path: Path) -> None:
    data.read(lines(tmp_path / "a.jsonl", *many(3)))
    assert [p.name for p in tmp_path.iterdir()] == ["a.jsonl"]


def test_too_many_bad_rows_stop_the_run_and_the_share_is_settable(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", *many(97), {"query": ""}, GOOD, {"query": ""}, {"query": ""})
    with pytest.raises(UserError, match=r"a\.jsonl:98: column 'query' is empty \(3 of 101 rows are bad"):
        data.read(path)
    assert data.read(path, max_bad=0.03).rejected.count == 3
    with pytest.raises(UserError, match="3 of 101 rows"):
        list(data.stream(path))


def test_rejected_rows_go_where_they_are_sent(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", *many(), {"query": ""})
    found = data.read(path, rejected=tmp_path / "elsewhere" / "bad.jsonl")
    assert found.rejected.path == tmp_path / "elsewhere" / "bad.jsonl"
    assert not (tmp_path / "a.jsonl.rejected.jsonl").exists()


def test_rejected_rows_go_to_the_temporary_folder_where_the_data_may_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from similis.data import rejects

    path = lines(tmp_path / "a.jsonl", *many(), {"query": ""})
    real = rejects.writing

    def refusing(target: Path) -> Any:
        if target.parent == tmp_path:
            raise PermissionError(13, "Permission denied")
        return real(target)

    monkeypatch.setattr(rejects, "writing", refusing)
    found = data.read(path)
    assert found.rejected.path is not None
    assert found.rejected.path.parent != tmp_path
    assert json.loads(found.rejected.path.read_text())["line"] == 201


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"", "is empty"),
        ("a.jsonl", b"\n \n", "is empty"),
        ("a.csv", b"query,document\n", "no rows"),
        ("a.jsonl", b"\x00\x01\x02\x03", "binary"),
        ("a.csv", "query,document\na,b\n".encode("utf-16"), "UTF-16 text; save it as UTF-8"),
        ("a.csv", b"quer\xff,document\na,b\n", r"a\.csv:1: the header cannot be read"),
        ("a.csv", b"query,query\na,b\n", "names column 'query' twice"),
        ("a.csv", b"this is a long first line of data not names,x\na,b\n", "not a header"),
        ("a.jsonl.gz", gzip.compress(json.dumps(GOOD).encode() * 500)[:-20], "truncated gzip"),
        ("a.json", b'[{"query": "a",\n "document": ', r"a\.json:2: not valid JSON"),
        ("a.parquet", b"PAR1 and no more", "not a whole Parquet file"),
        ("a.parquet", b"", "is empty"),
        ("a.docx", b"text", "format is not known"),
        ("a.jsonl", b"no json\nat all\n", r"a\.jsonl:1: not valid JSON"),
        ("a.csv", b"anchr,positve\na,b\n", "'anchr' is not known; did you mean 'anchor'"),
        ("a.csv", b"query,documnt\na,b\n", "did you mean 'document'"),
        ("a.csv", b"x,y\n1,2\n3,4\n", r"no supervision is recognised in its columns \('x', 'y'\)"),
        ("a.csv", b"text,label\na,x\nb,x\n", "label is 'x' in every row; one class"),
        ("a.csv", b"query,document\na,b\n", "only one usable row"),
        ("a.csv", b"id,text\n1,a\n2,b\n1,c\n", r"a\.csv:4: id '1' stands at .*a\.csv:2 with a different text"),
    ],
)
def test_a_mistake_of_the_whole_file_is_one_sentence(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        data.read(tmp_path / name)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_truncated_gzip_is_noticed_while_streaming(tmp_path: Path) -> None:
    rows = b"".join(
        json.dumps({"query": f"q {i * 7919 % 10007}", "document": "d"}).encode() + b"\n" for i in range(9999)
    )
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(rows)[:-30])
    with pytest.raises(UserError, match="truncated gzip"):
        list(data.stream(tmp_path / "a.jsonl.gz"))


def test_a_missing_file_names_the_one_that_is_there(tmp_path: Path) -> None:
    lines(tmp_path / "pairs.jsonl", GOOD, GOOD)
    with pytest.raises(UserError, match=r"does not exist; did you mean .*pairs\.jsonl"):
        data.read(tmp_path / "pair.jsonl")


def test_chosen_columns_that_are_not_there_are_suggested(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", GOOD, GOOD)
    with pytest.raises(UserError, match="no column 'documnt'; did you mean 'document'"):
        data.read(path, columns={"positive": "documnt"})
    with pytest.raises(UserError, match="'positiv' is no column that can be chosen; did you mean 'positive'"):
        data.read(path, columns={"positiv": "document"})


def test_the_same_id_and_text_twice_is_read_once(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", *({"_id": i, "text": f"text {i}"} for i in (1, 2, 1, 3)))
    assert data.read(path).column("id") == ["1", "2", "3"]


def test_a_folder_without_data_says_what_it_should_hold(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="train/dev/test"):
        data.read(tmp_path)


def test_a_misspelt_extra_column_is_named_in_why(tmp_path: Path) -> None:
    row = {"sentence1": "a", "sentence2": "b", "scor": 0.5}
    assert "did you mean 'score'" in data.read(lines(tmp_path / "a.jsonl", row, row)).why
