"""Every command and every example on the page about dense models runs as it stands there, in its order."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from family_models import bert, pairs, texts
from typer.testing import CliRunner

from similis.cli.app import app
from similis.encoders import create

PAGE = (Path(__file__).parents[2] / "docs" / "dense.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", PAGE, re.DOTALL)


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    bert(tmp_path / "transformer", head=False)
    bert(tmp_path / "other", seed=2)
    rows = [json.dumps({"anchor": a, "positive": b}) + "\n" for a, b in pairs(40)]
    (tmp_path / "pairs.jsonl").write_text("".join(rows))
    documents = [json.dumps({"_id": str(n), "text": b}) + "\n" for n, (_, b) in enumerate(pairs(40))]
    (tmp_path / "corpus.jsonl").write_text("".join(documents))
    (tmp_path / "texts.txt").write_text("\n".join(texts(12)))
    monkeypatch.chdir(tmp_path)
    commands = [line for language, block in BLOCKS if not language for line in block.splitlines()]
    assert len(commands) == 7
    for command in commands:
        name, *arguments = shlex.split(command)
        assert name == "similis"
        short = ["--max-steps", "2"] if arguments[0] == "fit" else []
        done = CliRunner().invoke(app, [*arguments, *short], catch_exceptions=False)
        assert done.exit_code == 0, (command, done.output)
    examples = [block for language, block in BLOCKS if language == "python"]
    assert len(examples) == 2
    for example in examples:
        capsys.readouterr()
        exec(compile(example, "dense.md", "exec"), {})
        assert capsys.readouterr().out.strip()
    assert (tmp_path / "towers-for-long-texts" / "modules.json").exists()


def test_every_option_in_the_table_is_taken(tmp_path: Path) -> None:
    bert(tmp_path / "one")
    bert(tmp_path / "OTHER", seed=2)
    cells = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `")]
    told = 0
    for cell in cells:
        first, *others = re.findall(r"`([^`]+)`", cell)
        name = first.partition("=")[0]
        for option in (first, *(each if "=" in each.partition("(")[0] else f"{name}={each}" for each in others)):
            text = option.replace("OTHER", str(tmp_path / "OTHER")).replace("=128", "=16").replace("'...'", "'bal '")
            assert create(f"dense({text}):{tmp_path / 'one'}").encode(["bal dol"]).shape[0] == 1, option
            told += 1
    assert told == 19
