"""Full disks, failing devices and processes that die end a run in one sentence, and the same command goes on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from training_rows import pairs

from similis.errors import UserError
from similis.files import building, writing
from similis.training import train
from similis.training.running import checkpoints
from similis.training.running.steps import Steps

SETTINGS: dict[str, Any] = {"dimension": 16, "epochs": 2, "batch_size": 16, "save_steps": 2, "dev": False}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full to write to")
def test_a_full_disk_is_told_and_what_stood_there_stays(tmp_path: Path) -> None:
    file, folder = tmp_path / "kept.txt", tmp_path / "kept"
    file.write_text("before")
    folder.mkdir()
    for target, opened in ((file, writing), (folder, building)):
        with pytest.raises(UserError, match=f"no space is left to write {target}"), opened(target):
            Path("/dev/full").write_text("more")
    assert file.read_text() == "before"
    assert not list(folder.iterdir())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["kept", "kept.txt"]


def test_a_disk_that_fills_while_training_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, output = tmp_path / "whole", tmp_path / "model"
    train(pairs(80), output=whole, **SETTINGS)
    save = checkpoints.save_file

    def full(tensors: Any, path: Path, **named: Any) -> None:
        if "step-000000004" in str(path):
            raise OSError(28, "No space left on device")
        save(tensors, path, **named)

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(UserError, match="no space is left"):
        train(pairs(80), output=output, **SETTINGS)
    monkeypatch.undo()
    assert [p.name for p in (tmp_path / "model.checkpoints").glob("step-*")] == ["step-000000002"]
    train(pairs(80), output=output, **SETTINGS)
    assert (output / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
            "memory of the device is full at step 4",
        ),
        (RuntimeError("CUDA error: unspecified launch failure\nmore"), "device failed at step 4 .CUDA error: unspec"),
    ],
)
def test_a_device_that_fails_is_told_with_what_to_go_on_from(
    error: Exception, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, real = tmp_path / "model", Steps.gradients

    def failing(self: Steps, group: Any) -> float:
        if self.position.step == 3:
            raise error
        return real(self, group)

    monkeypatch.setattr(Steps, "gradients", failing)
    with pytest.raises(UserError, match=f"{said}.*the same command continues from .*step-000000002"):
        train(pairs(80), output=output, **SETTINGS)
    monkeypatch.undo()
    assert train(pairs(80), output=output, **SETTINGS).outcome.position.step == 10


def test_an_error_of_the_code_is_no_failing_device(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(self: Steps, group: Any) -> float:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(Steps, "gradients", failing)
    with pytest.raises(RuntimeError, match="mat1"):
        train(pairs(40), **SETTINGS)


RANK = """
import sys, time
sys.path.insert(0, {folder!r})
from training_rows import pairs
from similis.errors import UserError
from similis.training import train
from similis.training.running.steps import Steps
take = Steps.take
def slowly(self, group):
    value = take(self, group)
    print(self.position.step, flush=True)
    time.sleep(0.05)
    return value
Steps.take = slowly
try:
    train(pairs(80), base={base!r}, output={output!r}, batch_size=8, max_steps=400, save_steps=2, dev=False)
except UserError as error:
    print(error, flush=True)
"""


@pytest.mark.slow
def test_when_one_process_is_killed_the_other_says_how_to_go_on(tiny: Path, tmp_path: Path) -> None:
    code = RANK.format(folder=str(Path(__file__).parent), base=str(tiny), output=str(tmp_path / "model"))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    shared = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "WORLD_SIZE": "2"}
    shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    first, second = (
        subprocess.Popen(
            [sys.executable, "-c", code],
            env={**shared, "RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in ("0", "1")
    )
    assert first.stdout is not None
    while int(first.stdout.readline()) < 4:
        time.sleep(0.01)
    second.send_signal(signal.SIGKILL)
    said, _ = first.communicate(timeout=100)
    second.communicate()
    assert "another of the 2 processes ended at step" in said
    assert "the same command continues from" in said
