"""Every command and the example on the page about documents alone run as they stand there, in their order."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from training_rows import labelled, pairs
from typer.testing import CliRunner

from similis.cli.app import app
from similis.indexes import UNLABELED_WEIGHT, Index
from similis.training import Recipe

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "labelfree.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", PAGE, re.DOTALL)


def test_the_page_runs(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [f"{query}. {document} {document}" for query, document in pairs(60)]
    for name, rows in (("corpus", texts), ("short", labelled(60)["text"])):
        lines = [json.dumps({"_id": str(number), "text": text}) + "\n" for number, text in enumerate(rows)]
        (tmp_path / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    (tmp_path / "transformer").symlink_to(tiny)
    monkeypatch.chdir(tmp_path)
    commands = [line for language, block in BLOCKS if not language for line in block.splitlines()]
    for command in commands:
        name, *arguments = shlex.split(command)
        assert name == "similis"
        short = ["--max-steps", "3"] if arguments[0] in ("fit", "pretrain") else []
        done = CliRunner().invoke(app, [*arguments, *short], catch_exceptions=False)
        assert done.exit_code == 0, (command, done.output)
    assert len(commands) == 11
    made = {name: Recipe.read(tmp_path / name / "recipe.toml").pairs for name in ("model", "from-copies", "simcse")}
    assert made == {"model": "leading", "from-copies": "views(delete_words)", "simcse": "same"}
    # a model of texts alone gets a smaller share of the score than one that learnt from queries
    assert Index.open("index").weight == UNLABELED_WEIGHT
    (example,) = [block for language, block in BLOCKS if language == "python"]
    capsys.readouterr()
    exec(compile(example, "labelfree.md", "exec"), {})
    assert capsys.readouterr().out.strip() == "(1, 16)"


def test_a_model_that_learnt_from_pairs_gets_half_of_the_score(tmp_path: Path) -> None:
    from similis.training import train

    train(pairs(30), output=tmp_path / "model", dimension=8, max_steps=2, dev=False)
    texts = [document for _, document in pairs(30)]
    made = Index.build(tmp_path / "model", ([str(n) for n in range(30)], texts), tmp_path / "index")
    assert made.weight == 0.5
    (tmp_path / "model" / "similis.json").write_text('{"data": null}', encoding="utf-8")
    again = Index.build(tmp_path / "model", ([str(n) for n in range(30)], texts), tmp_path / "index")
    assert again.weight == 0.5


def test_the_benchmark_says_how_far_the_fusion_is_above_bm25(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        rows = pairs(40, seed=len(name))
        folder = tmp_path / name
        (folder / "qrels").mkdir(parents=True)
        corpus = [json.dumps({"_id": f"d{n}", "title": "", "text": f"{d}. {d} {d}"}) for n, (_, d) in enumerate(rows)]
        queries = [json.dumps({"_id": f"q{n}", "text": q}) for n, (q, _) in enumerate(rows)]
        (folder / "corpus.jsonl").write_text("\n".join(corpus))
        (folder / "queries.jsonl").write_text("\n".join(queries))
        judged = "".join(f"q{n}\td{n}\t1\n" for n in range(20))
        (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    command = [sys.executable, str(ROOT / "bench" / "labelfree.py"), "--json", "--quick", "--data", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    *sets, total = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["case"] for line in sets] == ["one", "three", "two"]
    for line in sets:
        assert line["difference"] == pytest.approx(line["ours"] - line["theirs"], abs=1e-9)
        assert line["interval"][0] <= line["difference"] <= line["interval"][1]
        assert line["p"] <= line["p_holm"] <= 1
        assert line["holds"] == (line["p"] < 0.05 and line["difference"] > 0)
    assert total["ours"] == sum(line["holds"] for line in sets)
    assert total["holds"] == (total["ours"] >= 2)
