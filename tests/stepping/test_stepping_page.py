"""Every command and the example on the page about stepping run as they stand there."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from stepped import rows
from typer.testing import CliRunner

from similis.cli.app import app
from similis.encoders import load

PAGE = (Path(__file__).parents[2] / "docs" / "stepping.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [line for language, block in BLOCKS if not language for line in block.splitlines()]


@pytest.fixture(scope="module")
def home(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the page speaks of."""
    folder = tmp_path_factory.mktemp("stepping-page")
    shutil.copytree(small, folder / "transformer")
    for name, seed in (("pairs", 0), ("questions", 1)):
        made = [json.dumps({"anchor": a, "positive": b}) for a, b in rows(40, seed)]
        (folder / f"{name}.jsonl").write_text("\n".join(made), encoding="utf-8")
    labels = [json.dumps({"text": a, "label": f"c{i % 3}"}) for i, (a, _) in enumerate(rows(40))]
    (folder / "labels.jsonl").write_text("\n".join(labels), encoding="utf-8")
    return folder


def test_the_commands_of_the_page_run(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    assert len(COMMANDS) == 10
    for command in COMMANDS:
        name, *arguments = shlex.split(command)
        assert (name, arguments[0]) == ("similis", "fit")
        steps = "10" if "--find-lr" in arguments else "2"
        settings = ["--max-steps", steps, "--batch-size", "8"]
        done = CliRunner().invoke(app, [*arguments, *settings], catch_exceptions=False)
        assert done.exit_code == 0, (command, done.output)
        if "-o" in arguments:
            output = home / arguments[arguments.index("-o") + 1]
            assert load(output).dimension > 0
            said = next((a.partition("=")[2] for a in arguments if a.startswith("stepping=")), "one_cycle")
            assert said in (output / "recipe.toml").read_text()


def test_the_example_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = [block for language, block in BLOCKS if language == "python"]
    exec(compile(example, "stepping.md", "exec"), {})
    assert capsys.readouterr().out.startswith("(1, ")
