"""Every command and every example on the page about hard batches runs as it stands there, in its order."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from continual_rows import asked, halves
from typer.testing import CliRunner

from similis.cli.app import app
from similis.encoders import load

PAGE = (Path(__file__).parents[2] / "docs" / "hard-batches.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [line for language, block in BLOCKS if not language for line in block.splitlines()]


def test_the_page_runs(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(tiny, tmp_path / "transformer")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for name, rows in (("pairs", halves(40)), ("newer", asked(40))):
        lines = [json.dumps({"anchor": a, "positive": b}) + "\n" for a, b in rows]
        (tmp_path / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    labels = [json.dumps({"text": b, "label": f"c{n % 4}"}) + "\n" for n, (_, b) in enumerate(asked(40))]
    (tmp_path / "labels.jsonl").write_text("".join(labels), encoding="utf-8")
    assert len(COMMANDS) == 6
    for command in COMMANDS:
        name, *arguments = shlex.split(command)
        assert (name, arguments[0]) == ("similis", "fit")
        done = CliRunner().invoke(app, [*arguments, "--max-steps", "3"], catch_exceptions=False)
        assert done.exit_code == 0, (command, done.output)
    documents = [b for _, b in asked(8)]
    before, after = (load(tmp_path / folder).encode_document(documents) for folder in ("transformer", "queries-only"))
    assert np.array_equal(before, after)
    examples = [block for language, block in BLOCKS if language == "python"]
    assert len(examples) == 2
    for example in examples:
        capsys.readouterr()
        exec(compile(example, "hard-batches.md", "exec"), {})
        assert capsys.readouterr().out.strip()
