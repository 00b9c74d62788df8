"""A run that is killed or interrupted goes on where it was, to the same weights bit for bit."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits
from training_rows import SCRIPT, pairs

from similis.errors import UserError
from similis.training import train
from small_runs import killed_at_checkpoint


def start(output: Path, *, save: int = 2, pause: float = 0.0) -> subprocess.Popen[str]:
    folder = str(Path(__file__).parent)
    script = SCRIPT.format(folder=folder, output=str(output), save=save, pause=pause)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def after_saves(process: subprocess.Popen[str], count: int) -> None:
    """Wait until ``count`` checkpoints were written."""
    assert process.stdout is not None
    for _ in range(count):
        assert process.stdout.readline() == "saved\n"


SETTINGS = {"dimension": 16, "epochs": 8, "batch_size": 16, "save_steps": 2}


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """The subprocesses have one thread; sums in another order would differ in the last bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> bytes:
    output = tmp_path_factory.mktemp("whole") / "model"
    train(pairs(200), output=output, **SETTINGS)
    return weights(output)


def test_a_killed_run_resumes_to_the_same_weights(
    tmp_path: Path, uninterrupted: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "model"
    process = start(output, pause=0.05)
    after_saves(process, random.randrange(1, 15))
    process.kill()
    process.wait()
    assert process.returncode == -signal.SIGKILL
    assert not output.exists()
    # what a kill in the middle of a write leaves behind
    (tmp_path / "model.checkpoints" / ".step-000000099.half").mkdir()
    train(pairs(200), output=output, **SETTINGS)
    assert "continuing from step" in capsys.readouterr().err
    assert weights(output) == uninterrupted
    assert not (tmp_path / "model.checkpoints").exists()


def test_ctrl_c_saves_says_how_to_go_on_and_resumes_to_the_same_weights(
    tmp_path: Path, uninterrupted: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "model"
    process = start(output, save=3, pause=0.2)
    after_saves(process, 1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=100)
    assert process.returncode != 0
    assert "Interrupted: stopped at step" in err
    assert "the same command continues it" in err
    assert not output.exists()
    train(pairs(200), output=output, **{**SETTINGS, "save_steps": 5})
    assert "continuing from step" in capsys.readouterr().err
    assert weights(output) == uninterrupted


@pytest.fixture
def unfinished(tmp_path: Path) -> Path:
    """A model's path, beside it the checkpoint of a run that an exception ended."""
    output = tmp_path / "model"
    with killed_at_checkpoint():
        train(pairs(200), output=output, **SETTINGS)
    return output


def test_a_run_of_other_settings_is_not_continued(unfinished: Path) -> None:
    with pytest.raises(UserError, match=r"learning_rate was 0\.1 and is 0\.01"):
        train(pairs(200), output=unfinished, **SETTINGS, learning_rate=0.01)
    with pytest.raises(UserError, match="data was"):
        train(pairs(199), output=unfinished, **SETTINGS)
    train(pairs(200), output=unfinished, **{**SETTINGS, "epochs": 1}, learning_rate=0.01, resume=False)
    assert json.loads((unfinished / "similis.json").read_text())["recipe"]["learning_rate"] == 0.01


def test_a_damaged_checkpoint_is_named(unfinished: Path) -> None:
    file = unfinished.with_name("model.checkpoints") / "step-000000002" / "optimizer.safetensors"
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"optimizer.safetensors is missing or damaged"):
        train(pairs(200), output=unfinished, **SETTINGS)


def test_the_best_weights_by_dev_are_the_ones_kept() -> None:
    steady = {"learning_rate": 0.003, "lr_scheduler_type": "constant", "warmup_steps": 0.0}
    given: dict[str, Any] = {"dimension": 16, "batch_size": 32, "early_stopping_patience": 0, **steady}
    fitted = train(pairs(600), epochs=6, **given)
    position = fitted.outcome.position
    assert position.best == max(record["dev"] for record in position.history)
    assert 0 < position.best_step < position.step
    until_best = train(pairs(600), max_steps=position.best_step, **given)
    assert np.array_equal(fitted.encoder.weights, until_best.encoder.weights)  # type: ignore[attr-defined]
