"""``similis pretrain`` as a user types it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from sentence_transformers import SentenceTransformer
from training_rows import labelled
from typer.testing import CliRunner

from similis.cli import main
from similis.cli.app import app


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    file = tmp_path / "corpus.jsonl"
    rows = [{"_id": str(number), "text": text} for number, text in enumerate(labelled(20)["text"])]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


@pytest.mark.parametrize("task", ["retromae", "dupmae", "tsdae(delete=0.5)", "simlm", "diffcse"])
def test_every_task_writes_a_model_and_tells_its_story(tiny: Path, tmp_path: Path, corpus: Path, task: str) -> None:
    output = tmp_path / "model"
    arguments = ["pretrain", str(corpus), "--base", str(tiny), "--task", task, "-o", str(output), "--json"]
    done = CliRunner().invoke(app, [*arguments, "--max-steps", "3", "--batch-size", "4"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    story = json.loads(done.stdout)
    assert story["output"] == str(output)
    assert (story["how"], story["texts"], story["dimension"], story["max_steps"]) == (task, 20, 16, 3)
    assert [part["step"] for part in story["history"]] == [1, 2, 3]
    assert all(part["loss"] > 0 for part in story["history"])
    assert SentenceTransformer(str(output), device="cpu").encode("a text").shape == (16,)


def test_without_json_it_says_in_words_what_to_do_next(tiny: Path, tmp_path: Path, corpus: Path) -> None:
    arguments = ["pretrain", str(corpus), "--base", str(tiny), "-o", str(tmp_path / "model"), "--max-steps", "2"]
    said = CliRunner().invoke(app, arguments, catch_exceptions=False).stdout
    assert said.startswith("retromae on 20 texts, 2 steps")
    assert f"similis fit --base {tmp_path / 'model'}" in said


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"corpus": "nowhere.jsonl"}, "nowhere.jsonl"),
        ({"--base": "./nowhere"}, "nowhere"),
        ({"--task": "retromea"}, "did you mean 'retromae'"),
        ({"--task": "simlm(layer=1)"}, "layers"),
        ({"--task": "diffcse(generator='./nowhere')"}, "nowhere"),
        ({"--lr": "0"}, "learning_rate above 0"),
        ({"-o": "corpus.jsonl"}, "is a file; give the folder"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    tiny: Path,
    corpus: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    changed: dict[str, str],
    said: str,
) -> None:
    monkeypatch.chdir(corpus.parent)
    options = {"--base": str(tiny), "-o": "model", **changed}
    file = options.pop("corpus", corpus.name)
    typed = [part for option in options.items() for part in option]
    monkeypatch.setattr(sys, "argv", ["similis", "pretrain", file, "--max-steps", "2", "--quiet", *typed])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    (line,) = [line for line in err.splitlines() if line and "Loading weights" not in line]
    assert line.startswith("similis: ")
    assert said in line
    assert out == ""
    assert [path.name for path in corpus.parent.iterdir()] == ["corpus.jsonl"]
