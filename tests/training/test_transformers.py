"""Transformers learn by the same loop: any objective and execution, exact resume, several processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from training_rows import labelled, pairs

from similis.training import train
from small_runs import killed_at_checkpoint

SMALL: dict[str, Any] = {"batch_size": 8, "max_steps": 6, "learning_rate": 1e-3, "dev": False}


def weights(output: Path) -> dict[str, torch.Tensor]:
    return dict(load_file(output / "model.safetensors"))


@pytest.mark.parametrize(
    ("objective", "data"),
    [(None, pairs(60)), ("triplet(margin=0.2)", [(a, b, b[::-1]) for a, b in pairs(40)]), ("infonce", labelled(60))],
    ids=["pairs", "triplets", "labels"],
)
def test_a_transformer_learns_and_is_loaded_by_the_library(
    tiny: Path, tmp_path: Path, objective: str | None, data: Any
) -> None:
    fitted = train(data, base=tiny, objective=objective, output=tmp_path / "m", **{**SMALL, "max_steps": 30})
    texts = ["bal bel", "dan din don dus"]
    theirs = SentenceTransformer(str(tmp_path / "m"), device="cpu").encode(texts)
    assert np.allclose(fitted.encoder.encode(texts), theirs, atol=1e-5)
    losses = fitted.outcome.position.history[-1]["loss"]
    untrained = train(data, base=tiny, objective=objective, **{**SMALL, "max_steps": 2, "learning_rate": 1e-9})
    assert losses < untrained.outcome.position.history[-1]["loss"]


@pytest.fixture
def without_dropout(tiny: Path, tmp_path: Path) -> Path:
    """The same model without dropout, whose masks differ with the shape of a chunk."""
    model = SentenceTransformer(str(tiny), device="cpu")
    model[0].auto_model.config.hidden_dropout_prob = 0.0
    model[0].auto_model.config.attention_probs_dropout_prob = 0.0
    model.save_pretrained(str(tmp_path / "base"))
    return tmp_path / "base"


def test_chunked_gradients_are_those_of_the_whole_batch(without_dropout: Path, tmp_path: Path) -> None:
    given = {**SMALL, "max_steps": 1, "lr_scheduler_type": "constant", "warmup_steps": 0.0}
    for name, size in (("whole", None), ("chunked", 3)):
        train(pairs(30), base=without_dropout, output=tmp_path / name, mini_batch_size=size, **given)
    whole, chunked = weights(tmp_path / "whole"), weights(tmp_path / "chunked")
    for name, tensor in whole.items():
        assert torch.allclose(tensor, chunked[name], atol=2e-4), name


def test_a_broken_off_run_resumes_bit_for_bit_with_dropout(tiny: Path, tmp_path: Path) -> None:
    given = {**SMALL, "base": tiny, "save_steps": 2}
    train(pairs(30), output=tmp_path / "whole", **given)
    with killed_at_checkpoint():
        train(pairs(30), output=tmp_path / "resumed", **given)
    torch.manual_seed(99)  # whatever the new process drew before
    train(pairs(30), output=tmp_path / "resumed", **given)
    whole, resumed = weights(tmp_path / "whole"), weights(tmp_path / "resumed")
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())


def test_bfloat16_trains_close_to_float32(tiny: Path) -> None:
    losses = [
        train(pairs(30), base=tiny, bf16=half, **SMALL).outcome.position.history[-1]["loss"] for half in (False, True)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
    assert losses[0] != losses[1]


SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
from training_rows import pairs
from similis.training import train
train(pairs(40), base={base!r}, output={output!r}, batch_size=8, **{given!r})
"""


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(without_dropout: Path, tmp_path: Path) -> None:
    given = {"max_steps": 3, "learning_rate": 1e-3, "dev": False, "lr_scheduler_type": "constant"}
    folder = str(Path(__file__).parent)
    code = SCRIPT.format(folder=folder, base=str(without_dropout), output=str(tmp_path / "of2"), given=given)
    shared = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "WORLD_SIZE": "2"}
    shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env={**shared, "RANK": rank, "LOCAL_RANK": rank},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in ("0", "1")
    ]
    train(pairs(40), base=without_dropout, output=tmp_path / "of1", batch_size=16, **given)
    for rank in ranks:
        _, err = rank.communicate(timeout=110)
        assert rank.returncode == 0, err
    alone, together = weights(tmp_path / "of1"), weights(tmp_path / "of2")
    for name, tensor in alone.items():
        assert torch.allclose(tensor, together[name], atol=2e-4), name


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
