"""Corpora and BEIR folders."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from similis import data
from similis.errors import UserError


def jsonl(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    jsonl(
        folder / "corpus.jsonl",
        {"_id": "d1", "title": "One", "text": "first"},
        {"_id": "d2", "title": "", "text": "second"},
        {"_id": "d3", "title": "", "text": ""},
    )
    queries = "".join(json.dumps({"_id": f"q{i}", "text": f"query {i}", "metadata": {}}) + "\n" for i in range(4))
    (folder / "queries.jsonl.gz").write_bytes(gzip.compress(queries.encode()))
    (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq0\td1\t1\nq0\td2\t0\nq1\td2\t2\n")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq2\td3\t1\nq3\td1\t1\n")
    return folder


def test_a_beir_folder_joins_title_and_text_and_keeps_the_split_s_queries(beir: Path) -> None:
    found = data.retrieval(beir)
    assert (found.split, found.splits) == ("test", ("test", "train"))
    assert found.corpus.ids == ["d1", "d2", "d3"]
    assert found.corpus.texts == ["One first", "second", ""]
    assert found.queries.ids == ["q2", "q3"]
    assert found.qrels == {"q2": {"d3": 1}, "q3": {"d1": 1}}
    assert data.retrieval(beir, "train").queries.texts == ["query 0", "query 1"]


def test_a_beir_folder_is_read_as_relevant_pairs_for_training(beir: Path) -> None:
    found = data.read(beir)
    assert (found.supervision, found.split) == ("retrieval", "train")
    assert found.column("anchor") == ["query 0", "query 1"]
    assert found.column("positive") == ["One first", "second"]
    assert found.column("score") == [1.0, 2.0]
    assert [row["id"] for row in data.stream(beir)] == ["d1", "d2"]


def test_judgements_pointing_nowhere_stop_the_run_or_are_dropped(beir: Path) -> None:
    with (beir / "qrels" / "test.tsv").open("a") as out:
        out.write("q3\tgone\t1\nlost\td1\t1\n")
    with pytest.raises(UserError, match=r"test\.tsv: 2 of 4 judgements point nowhere; .*no document 'gone'"):
        data.retrieval(beir)
    assert data.retrieval(beir, max_bad=0.5).qrels == {"q2": {"d3": 1}, "q3": {"d1": 1}}


@pytest.mark.parametrize(
    ("columns", "titled"),
    [
        (("_id", "text"), False),
        (("docid", "document_text"), False),
        (("doc_id", "title", "body"), True),
        (("id", "contents"), False),
    ],
)
def test_corpora_under_the_names_of_the_ecosystem(tmp_path: Path, columns: tuple[str, ...], titled: bool) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [dict(zip(columns, (f"x{i}", f"t{i}", f"b{i}"), strict=False)) for i in range(3)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "c.parquet")
    (tmp_path / "c.csv").write_text("\n".join([",".join(columns), *(",".join(row.values()) for row in rows)]) + "\n")
    jsonl(tmp_path / "c.jsonl", *rows)
    expected = [f"t{i} b{i}" for i in range(3)] if titled else [f"t{i}" for i in range(3)]
    for name in ("c.parquet", "c.csv", "c.jsonl"):
        found = data.read_corpus(tmp_path / name)
        assert (found.ids, found.texts) == (["x0", "x1", "x2"], expected)


def test_rows_without_ids_are_numbered_and_metadata_is_no_supervision(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "c.jsonl", *({"text": t, "query": "other", "source": "web"} for t in "abc"))
    assert data.read_corpus(path).ids == ["1", "2", "3"]
    assert data.read_corpus(path, limit=2).texts == ["a", "b"]


def test_one_id_with_two_texts_names_both_lines(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "c.jsonl", {"id": 1, "text": "a"}, {"id": 2, "text": "b"}, {"id": 1, "text": "c"})
    with pytest.raises(UserError, match=r"c\.jsonl:3: id '1' stands at .*c\.jsonl:1 with a different text"):
        data.read_corpus(path)


def test_empty_documents_are_set_aside_from_a_corpus(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "c.jsonl", *({"_id": i, "text": f"t{i}"} for i in range(150)), {"_id": 9999, "text": ""})
    found = data.read_corpus(path)
    assert (len(found), found.rejected.count) == (150, 1)


def test_a_corpus_without_text_says_what_it_has(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "c.jsonl", {"query": "a", "answer": "b"}, {"query": "a", "answer": "b"})
    with pytest.raises(UserError, match=r"needs a column text .* it has 'query', 'answer'"):
        data.read_corpus(path)


def test_a_folder_that_is_no_beir_folder(tmp_path: Path) -> None:
    jsonl(tmp_path / "train.jsonl", {"query": "a", "answer": "b"})
    with pytest.raises(UserError, match="is no BEIR folder"):
        data.retrieval(tmp_path)
