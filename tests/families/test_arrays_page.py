"""Every command and every example on the page about arrays runs as it stands there, and shows what the page says."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from family_models import bert, pairs
from typer.testing import CliRunner

from similis.cli.app import app
from similis.encoders import load

PAGE = (Path(__file__).parents[2] / "docs" / "arrays.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", PAGE, re.DOTALL)
EXAMPLES = [block for language, block in BLOCKS if language == "python"]


def test_the_commands_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bert(tmp_path / "transformer", head=False)
    rows = [json.dumps({"anchor": a, "positive": b}) + "\n" for a, b in pairs(40)]
    (tmp_path / "pairs.jsonl").write_text("".join(rows))
    monkeypatch.chdir(tmp_path)
    commands = [line for language, block in BLOCKS if not language for line in block.splitlines()]
    assert len(commands) == 5
    numbers = [json.dumps({"vector": [i % 4, i % 7, i], "label": f"kind {i % 4}"}) + "\n" for i in range(60)]
    (tmp_path / "rows.jsonl").write_text("".join(numbers))
    for command in commands[:2]:
        done = CliRunner().invoke(app, shlex.split(command)[1:], catch_exceptions=False)
        assert done.exit_code == 0, (command, done.output)
    assert "MAP@R" in done.output
    for command in commands[2:]:
        _, *arguments = shlex.split(command)
        done = CliRunner().invoke(app, [*arguments, "--max-steps", "2"], catch_exceptions=False)
        assert done.exit_code == 0, (command, done.output)
        head = arguments[arguments.index("--base") + 1].partition("(")[0]
        wanted = {"gaussian": "expected_distance"}.get(head, head)
        assert load(arguments[arguments.index("-o") + 1]).similarity_name.startswith(wanted)
        done = CliRunner().invoke(app, ["evaluate", arguments[-1], "pairs.jsonl"], catch_exceptions=False)
        assert done.exit_code == 0, done.output


def test_digits_never_seen_are_ordered_better_than_by_their_pixels(capsys: pytest.CaptureFixture[str]) -> None:
    found: dict[str, Any] = {}
    exec(compile(EXAMPLES[0], "arrays.md", "exec"), found)
    raw = found["raw"]["MAP@R"].mean
    shown = [float(line.split()[-1]) for line in capsys.readouterr().out.splitlines()]
    assert len(shown) == 4
    assert shown[0] == pytest.approx(raw, abs=1e-3)
    assert min(shown[1:]) > raw + 0.02


def test_the_example_of_a_module_of_ones_own_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile("import numpy as np\n" + EXAMPLES[1], "arrays.md", "exec"), {"__name__": "page"})
    assert capsys.readouterr().out == "(5, 8)\n"
