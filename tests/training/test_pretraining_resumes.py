"""Pre-training that is killed or interrupted goes on to the same weights bit for bit, and says how far it is."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from training_rows import labelled

from similis.errors import UserError
from similis.training import Interrupted, pretrain
from similis.training.pretraining import Settings, pretrained
from similis.training.pretraining.bottleneck import _Writing
from similis.training.running.watch import Watch
from small_runs import killed_at_checkpoint

TEXTS = labelled(20)["text"]
#: Three batches an epoch, so that a run is resumed within one.
GIVEN: dict[str, Any] = {"max_steps": 7, "batch_size": 8, "learning_rate": 1e-3}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


@pytest.mark.parametrize("how", ["tsdae", "dupmae", "simlm", "diffcse"])
def test_a_killed_run_goes_on_to_the_same_weights_and_the_same_story(
    tiny: Path, tmp_path: Path, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(how, **GIVEN)
    with killed_at_checkpoint(2):
        pretrained(tiny, TEXTS, settings, output=tmp_path / "killed", save_steps=2)
    assert not (tmp_path / "killed").exists()
    again = pretrained(tiny, TEXTS, settings, output=tmp_path / "killed", save_steps=3)
    assert "continuing from step 4 of 7" in capsys.readouterr().err
    whole = pretrained(tiny, TEXTS, settings, output=tmp_path / "whole")
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole") != weights(tiny)
    assert again.history == whole.history
    assert [part["step"] for part in whole.history] == [1, 2, 3, 4, 5, 6, 7]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed", "whole"]


def test_ctrl_c_saves_says_how_to_go_on_and_resumes_to_the_same_weights(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step = Watch.step

    def ask_to_stop(self: Watch, number: int, loss: float) -> None:
        step(self, number, loss)
        if number == 5:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Watch, "step", ask_to_stop)
    with pytest.raises(Interrupted, match=r"stopped at step 5 of 7.*the same command continues it"):
        pretrain(tiny, TEXTS, output=tmp_path / "stopped", **GIVEN)
    with pytest.raises(Interrupted, match="nothing was saved: no output"):
        pretrain(tiny, TEXTS, **GIVEN)
    monkeypatch.undo()
    pretrain(tiny, TEXTS, output=tmp_path / "stopped", **GIVEN)
    assert "continuing from step 5" in capsys.readouterr().err
    pretrain(tiny, TEXTS, output=tmp_path / "whole", **GIVEN)
    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole")


def test_only_the_same_run_is_continued(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "model"
    with killed_at_checkpoint(2):
        pretrain(tiny, TEXTS, output=output, save_steps=2, **GIVEN)
    for texts, change in ((TEXTS, {"seed": 1}), (TEXTS, {"how": "tsdae"}), (TEXTS[1:], {})):
        name = next(iter(change), "texts")
        with pytest.raises(UserError, match=f"unfinished run with other settings .*{name} was"):
            pretrain(tiny, texts, output=output, **{**GIVEN, **change})
    pretrain(tiny, TEXTS, output=output, resume=False, seed=1, **GIVEN)
    assert "continuing" not in capsys.readouterr().err
    assert not output.with_name("model.checkpoints").exists()


def test_a_run_says_how_far_it_is_and_how_long_it_will_take(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Watch, "every", 0.0)
    pretrain(tiny, TEXTS, **GIVEN)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("step ")]
    assert len(lines) == 7
    assert lines[2].startswith("step 3 of 7, loss ")
    assert lines[2].endswith("s left")
    assert lines[-1].endswith(", 0 s left")


def test_a_run_stops_before_weights_that_are_not_finite(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = _Writing.loss

    def broken(self: Any, texts: list[str], seed: str) -> torch.Tensor:
        found = real(self, texts, seed)
        return found * float("nan") if seed == "0 4" else found

    monkeypatch.setattr(_Writing, "loss", broken)
    with pytest.raises(
        UserError, match=r"the loss became nan at step 5; .*the last good checkpoint is .*step-000000004"
    ):
        pretrain(tiny, TEXTS, how="tsdae", output=tmp_path / "model", save_steps=2, **GIVEN)

    def steep(self: Any, texts: list[str], seed: str) -> torch.Tensor:
        found = real(self, texts, seed)
        return found + (found - found.detach()).abs().sqrt() * 0.0  # a finite loss of a gradient that is not

    monkeypatch.setattr(_Writing, "loss", steep)
    with pytest.raises(UserError, match="a gradient became nan at step 1"):
        pretrain(tiny, TEXTS, how="tsdae", output=tmp_path / "other", **GIVEN)
    assert not (tmp_path / "other").exists()
