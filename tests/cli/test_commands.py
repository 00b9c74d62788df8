"""Commands as a user types them: results on stdout, one sentence and exit code 2 for a mistake."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from similis.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, stdin=subprocess.DEVNULL)


TOPICS = {
    "cat": "purring whiskers kitten fur",
    "boat": "sailing harbour mast anchor",
    "bread": "oven flour yeast crust",
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs, a corpus, a trained model and an index, all made through the command line."""
    folder = tmp_path_factory.mktemp("work")
    words = [(topic, word) for topic, line in TOPICS.items() for word in line.split()]
    pairs = [
        {"query": f"{word} {topic} number {i}", "document": f"the {topic} has {word} and item {i}"}
        for i in range(8)
        for topic, word in words
    ]
    corpus = [{"_id": f"d{i}", "title": "", "text": pair["document"]} for i, pair in enumerate(pairs)]
    write(folder / "pairs.jsonl", pairs)
    write(folder / "corpus.jsonl", corpus)
    done = run("fit", "pairs.jsonl", "-o", "model", "--epochs", "2", "--batch-size", "16", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["data"]["supervision"] == "pairs"
    done = run("index", "model", "corpus.jsonl", "-o", "index", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["documents"] == len(corpus)
    return folder


def write(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_search_gives_the_document_with_the_words(workspace: Path) -> None:
    done = run("search", "index", "sailing boat", "-k", "3", "--json", "--explain", cwd=workspace)
    results = json.loads(done.stdout)["results"]
    assert len(results) == 3
    assert all("boat" in r["text"] and "sailing" in r["text"] for r in results)
    assert results[0]["parts"]
    text = run("search", "index", "sailing boat", "-k", "1", cwd=workspace).stdout
    assert results[0]["id"] in text


def test_search_writes_a_run_that_evaluate_reads(workspace: Path) -> None:
    write(workspace / "queries.jsonl", [{"_id": "q1", "text": "flour bread"}, {"_id": "q2", "text": "kitten cat"}])
    (workspace / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td9\t1\nq2\td2\t1\n", encoding="utf-8")
    done = run("search", "index", "--queries", "queries.jsonl", "--run", "run.txt", "-k", "50", cwd=workspace)
    assert done.returncode == 0, done.stderr
    done = run(
        "evaluate", "--run", "run.txt", "--qrels", "qrels.tsv", "--metrics", "nDCG@10,MAP", "--json", cwd=workspace
    )
    metrics = json.loads(done.stdout)["metrics"]
    assert set(metrics) == {"nDCG@10", "MAP"}
    assert 0 < metrics["nDCG@10"]["mean"] <= 1


def test_evaluate_reads_pairs_as_retrieval(workspace: Path) -> None:
    done = run("evaluate", "model", "pairs.jsonl", "--json", cwd=workspace)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["metrics"]["Recall@100"]["mean"] > 0.9


def test_encode_writes_vectors_and_ids(workspace: Path) -> None:
    import numpy as np

    done = run("encode", "model", "corpus.jsonl", "-o", "vectors.npy", "--json", cwd=workspace)
    facts = json.loads(done.stdout)
    vectors = np.load(workspace / "vectors.npy", allow_pickle=False)
    assert vectors.shape == (facts["count"], facts["dimension"])
    assert (workspace / "vectors.ids.txt").read_text().split()[:2] == ["d0", "d1"]


def test_data_check_reports_supervision(workspace: Path) -> None:
    report = json.loads(run("data", "check", "pairs.jsonl", "--json", cwd=workspace).stdout)
    assert report["supervision"] == "pairs"


def test_methods_lists_and_shows_one() -> None:
    listed = json.loads(run("methods", "--kind", "criterion", "--accepts", "pairs", "--json").stdout)
    assert "infonce" in {m["name"] for m in listed["methods"]}
    assert all(not m["accepts"] or "pairs" in m["accepts"] for m in listed["methods"])
    assert "van den Oord" in run("methods", "infonce").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("fit", "nowhere.jsonl", "-o", "m"), "nowhere.jsonl"),
        (("fit", "pairs.jsonl", "-o", "m", "--objective", "infonc"), "did you mean 'infonce'"),
        (("search", "nowhere", "x"), "nowhere"),
        (("search", "index"), "say what to look for"),
        (("search", "index", "x", "--mode", "hybird"), "did you mean 'hybrid'"),
        (("evaluate", "--run", "run.txt"), "--qrels"),
        (("evaluate", "model", "pairs.jsonl", "--metrics", "nDGC@10"), "nDCG"),
        (("methods", "infonc"), "did you mean 'infonce'"),
        (("methods", "--kind", "criterium"), "did you mean 'criterion'"),
        (("encode", "model", "corpus.jsonl", "-o", "vectors.txt"), "must end in .npy"),
        (("index", "nowhere", "corpus.jsonl", "-o", "i"), "nowhere"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(workspace: Path, arguments: tuple[str, ...], said: str) -> None:
    done = run(*arguments, "--quiet" if arguments[0] != "methods" else "--json", cwd=workspace)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("similis: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_nothing_half_written_is_left_behind(workspace: Path) -> None:
    run("index", "model", "nowhere.jsonl", "-o", "broken", cwd=workspace)
    assert not (workspace / "broken").exists()
    assert not [p for p in workspace.iterdir() if p.name.startswith(".")]
