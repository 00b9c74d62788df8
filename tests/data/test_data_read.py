"""Every format and naming the ecosystem uses is read to the same canonical rows."""

from __future__ import annotations

import csv
import gzip
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from similis import data
from similis.errors import UserError

PAIRS = [{"query": f'question {i}, "quoted"', "document": f"answer\n{i} über\tall"} for i in range(5)]


def jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows by a library that is not ours."""
    name = path.name.removesuffix(".gz")
    if name.endswith(".json"):
        content = json.dumps(rows, indent=1).encode()
    elif name.endswith(".jsonl"):
        content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    elif name.endswith(".parquet"):
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
        return path
    else:
        with open(path.with_name("plain"), "w", newline="", encoding="utf-8") as out:
            writer = csv.DictWriter(out, list(rows[0]), delimiter="\t" if ".tsv" in name else ",")
            writer.writeheader()
            writer.writerows(rows)
        content = path.with_name("plain").read_bytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize(
    "name", ["a.jsonl", "a.json", "a.csv", "a.tsv", "a.parquet", "a.jsonl.gz", "a.json.gz", "a.csv.gz", "a.tsv.gz"]
)
def test_every_format_gives_the_same_rows_and_fingerprint(tmp_path: Path, name: str) -> None:
    found = data.read(write(tmp_path / name, PAIRS))
    assert found.supervision == "pairs"
    assert found.column("anchor") == [row["query"] for row in PAIRS]
    assert found.column("positive") == [row["document"] for row in PAIRS]
    assert found.fingerprint == data.read(jsonl(tmp_path / "same.jsonl", PAIRS)).fingerprint
    assert "'query' as anchor" in found.why
    assert list(data.stream(tmp_path / name)) == [{"anchor": r["query"], "positive": r["document"]} for r in PAIRS]


def test_fingerprint_changes_with_one_character(tmp_path: Path) -> None:
    one = data.read(jsonl(tmp_path / "a.jsonl", PAIRS)).fingerprint
    changed = [*PAIRS[:-1], PAIRS[-1] | {"document": "answer\n4 über\tall."}]
    assert data.read(jsonl(tmp_path / "b.jsonl", changed)).fingerprint != one


def test_saved_datasets_folders_are_read(tmp_path: Path) -> None:
    import datasets

    datasets.disable_progress_bars()
    whole = datasets.Dataset.from_list(PAIRS)
    whole.save_to_disk(str(tmp_path / "one"), num_shards=2)
    datasets.DatasetDict(train=whole, validation=whole.select([3, 1])).save_to_disk(str(tmp_path / "many"))
    assert data.read(tmp_path / "one").column("anchor") == whole["query"][:]
    found = data.read(tmp_path / "many")
    assert (found.split, found.splits, len(found)) == ("train", ("train", "dev"), 5)
    assert data.read(tmp_path / "many", split="validation").column("anchor") == [PAIRS[3]["query"], PAIRS[1]["query"]]


@pytest.mark.parametrize(
    ("row", "supervision", "canonical"),
    [
        ({"anchor": "a", "positive": "p"}, "pairs", {"anchor": "a", "positive": "p"}),
        ({"question": "a", "answer": "p", "id": 3}, "pairs", {"anchor": "a", "positive": "p"}),
        ({"Query": "a", "Passage": "p"}, "pairs", {"anchor": "a", "positive": "p"}),
        ({"query": "a", "text": "p"}, "pairs", {"anchor": "a", "positive": "p"}),
        ({"sentence1": "a", "sentence2": "p"}, "pairs", {"anchor": "a", "positive": "p"}),
        (
            {"anchor": "a", "positive": "p", "negative": "n"},
            "triplets",
            {"anchor": "a", "positive": "p", "negatives": ["n"]},
        ),
        (
            {"anchor": "a", "positive": "p", "negative_1": "n", "negative_2": None, "negative_3": "m"},
            "triplets",
            {"anchor": "a", "positive": "p", "negatives": ["n", "m"]},
        ),
        (
            {"query": "a", "pos": ["p"], "neg": ["n", "m"], "pos_scores": [1.0], "neg_scores": [0.1, 0.2]},
            "triplets",
            {"anchor": "a", "positive": "p", "negatives": ["n", "m"]},
        ),
        (
            {
                "query_id": "1",
                "query": "a",
                "positive_passages": [{"docid": "d", "title": "T", "text": "p"}],
                "negative_passages": [{"docid": "e", "title": "", "text": "n"}],
            },
            "triplets",
            {"anchor": "a", "positive": "T p", "negatives": ["n"]},
        ),
        (
            {"sentence1": "a", "sentence2": "b", "score": 0.5},
            "scored_pairs",
            {"sentence1": "a", "sentence2": "b", "score": 0.5},
        ),
        (
            {"text_a": "a", "text_b": "b", "label": 0.25},
            "scored_pairs",
            {"sentence1": "a", "sentence2": "b", "score": 0.25},
        ),
        (
            {"premise": "a", "hypothesis": "b", "label": "neutral"},
            "labeled_pairs",
            {"sentence1": "a", "sentence2": "b", "label": "neutral"},
        ),
        (
            {"question1": "a", "question2": "b", "is_duplicate": 1},
            "labeled_pairs",
            {"sentence1": "a", "sentence2": "b", "label": 1},
        ),
        ({"text": "a", "label": "x"}, "labels", {"text": "a", "label": "x"}),
        ({"sentence": "a", "intent": 3}, "labels", {"text": "a", "label": 3}),
        ({"_id": 7, "title": "T", "text": "a", "metadata": {}}, "texts", {"text": "a", "title": "T", "id": "7"}),
        ({"text": "a"}, "texts", {"text": "a"}),
    ],
)
def test_columns_follow_the_ecosystem(
    tmp_path: Path, row: dict[str, Any], supervision: str, canonical: dict[str, Any]
) -> None:
    found = data.read(jsonl(tmp_path / "a.jsonl", [row]), limit=1)
    assert found.supervision == supervision
    assert {name: values[0] for name, values in found.rows.items()} == canonical


def test_each_of_several_positives_becomes_a_row(tmp_path: Path) -> None:
    rows = [{"query": "a", "pos": ["p", "q"], "neg": ["n"]}, {"query": "b", "pos": ["r"], "neg": ["m", "k"]}]
    found = data.read(jsonl(tmp_path / "a.jsonl", rows))
    assert found.column("anchor") == ["a", "a", "b"]
    assert found.column("positive") == ["p", "q", "r"]
    assert found.column("negatives") == [["n"], ["n"], ["m", "k"]]


def test_empty_lists_of_negatives_are_kept_and_a_file_of_them_is_pairs(tmp_path: Path) -> None:
    none = [{"query": f"a{i}", "pos": ["p"], "neg": []} for i in range(3)]
    assert data.read(jsonl(tmp_path / "a.jsonl", none)).supervision == "pairs"
    some = [*none, {"query": "b", "pos": ["p"], "neg": ["n"]}]
    assert data.read(jsonl(tmp_path / "b.jsonl", some)).column("negatives") == [[], [], [], ["n"]]


def test_positives_named_by_id_are_looked_up_in_the_corpus_beside(tmp_path: Path) -> None:
    rows = [
        {"query_id": 1, "query_text": "a", "positive_document_ids": ["x"], "negative_document_ids": ["y", "z"]},
        {"query_id": 2, "query_text": "b", "positive_document_ids": ["z"], "negative_document_ids": ["x"]},
    ]
    train = jsonl(tmp_path / "train.jsonl", rows)
    with pytest.raises(UserError, match=r"corpus\.jsonl"):
        data.read(train)
    jsonl(tmp_path / "corpus.jsonl", [{"docid": d, "document_text": f"text {d}"} for d in "xyz"])
    found = data.read(train)
    assert found.column("positive") == ["text x", "text z"]
    assert found.column("negatives") == [["text y", "text z"], ["text x"]]


def test_unknown_names_are_read_by_order_and_it_is_said(tmp_path: Path) -> None:
    rows = [{"uno": f"a{i}", "due": f"b{i}", "tre": f"c{i}"} for i in range(3)]
    found = data.read(jsonl(tmp_path / "a.jsonl", rows))
    assert (found.supervision, "by order" in found.why) == ("triplets", True)
    assert found.column("negatives") == [["c0"], ["c1"], ["c2"]]
    scored = [{"uno": f"a{i}", "due": f"b{i}", "how": i / 3} for i in range(3)]
    assert data.read(jsonl(tmp_path / "b.jsonl", scored)).supervision == "scored_pairs"


def test_columns_override_recognition(tmp_path: Path) -> None:
    rows = [{"title": f"t{i}", "body": f"b{i}"} for i in range(3)]
    path = jsonl(tmp_path / "a.jsonl", rows)
    assert data.read(path).supervision == "texts"
    found = data.read(path, columns={"anchor": "title", "positive": "body"})
    assert (found.supervision, found.column("anchor")) == ("pairs", ["t0", "t1", "t2"])


def test_labels_and_scores_of_csv_are_numbers(tmp_path: Path) -> None:
    rows = [{"text": "one", "label": 1}, {"text": "two", "label": 2}]
    assert data.read(write(tmp_path / "a.csv", rows)).column("label") == [1, 2]
    rows = [{"text": "one", "label": "1"}, {"text": "two", "label": "b"}]
    assert data.read(write(tmp_path / "b.csv", rows)).column("label") == ["1", "b"]
    scored = [{"sentence1": "a", "sentence2": "b", "score": s} for s in (1, 0.5)]
    assert data.read(write(tmp_path / "c.csv", scored)).column("score") == [1.0, 0.5]


def test_stray_quotes_in_tab_separated_text_do_not_swallow_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text('query\tdocument\n"half quoted\tone\nplain\ttwo "x" y\n"""Whole"" one"\tthree\n')
    assert data.read(path).column("anchor") == ['"half quoted', "plain", '"Whole" one']


def test_semicolons_and_a_byte_order_mark_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbfquery;document\na, b;c\nd;e\n")
    assert data.read(path).column("anchor") == ["a, b", "d"]


def test_splits_of_a_folder(tmp_path: Path) -> None:
    for split, rows in (("train", PAIRS), ("dev", PAIRS[:2]), ("test", PAIRS[2:])):
        jsonl(tmp_path / f"{split}.jsonl.gz", rows)
    found = data.read(tmp_path)
    assert (found.split, found.splits, len(found)) == ("train", ("train", "dev", "test"), 5)
    assert len(data.read(tmp_path, split="test")) == 3
    with pytest.raises(UserError, match="no split 'tset'; did you mean 'test'"):
        data.read(tmp_path, split="tset")


def test_limit_and_batches(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", PAIRS)
    assert len(data.read(path, limit=3)) == 3
    sizes = [len(batch["anchor"]) for batch in data.batches(path, 2)]
    assert sizes == [2, 2, 1]
    assert [t for b in data.batches(path, 2) for t in b["positive"]] == [row["document"] for row in PAIRS]


def test_streaming_holds_a_small_part_of_a_large_file(tmp_path: Path) -> None:
    path = tmp_path / "large.jsonl.gz"
    row = json.dumps({"query": "word " * 40, "document": "text " * 400}) + "\n"
    with gzip.open(path, "wt", compresslevel=1) as out:
        for _ in range(12_000):
            out.write(row)
    tracemalloc.start()
    count = sum(1 for _ in data.stream(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 12_000
    assert peak < 12_000 * len(row) / 4
