"""Encoders of arrays: what they read, and what a folder gives back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from similis.encoders import load
from similis.encoders.arrays import ArrayEncoder, built_in
from similis.errors import UserError

ROWS = np.random.default_rng(0).normal(size=(23, 3, 8, 8)).astype(np.float32) * 5 + 2

MODULES = [
    "linear(dimension=5)",
    "mlp(hidden=[9, 7], dimension=5, dropout=0.5)",
    "mlp(hidden=[], dimension=5, standardize=false)",
    "conv(channels=[4, 6], dimension=5)",
    "mlp(hidden=[9], head=gaussian(dimension=5))",
    "linear(head=poincare(dimension=5, curvature=2.0))",
]


class Net(nn.Module):
    """A module of a user's own."""

    def __init__(self, width: int = 4, further: bool = False) -> None:
        super().__init__()
        self.layer = nn.Linear(6, width)
        self.norm = nn.BatchNorm1d(width)
        if further:
            self.last = nn.Linear(width, width)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.norm(self.layer(rows))
        return found


def encoder(text: str) -> ArrayEncoder:
    module = built_in(text, ROWS, seed=1)
    return ArrayEncoder(module, ROWS.shape[1:], module.head.similarity if module.head else "cosine")


@pytest.mark.parametrize("text", MODULES)
def test_a_row_has_the_same_vector_in_every_batch_and_after_saving_and_loading(text: str, tmp_path: Path) -> None:
    made = encoder(text)
    whole = made.encode(ROWS)
    assert whole.shape == (23, 10 if "gaussian" in text else 5)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(made.encode(ROWS, batch_size=4), whole, atol=1e-5)
    np.testing.assert_allclose(made.encode(ROWS[7]), whole[7], atol=1e-5)
    made.save(tmp_path / "model")
    again = load(tmp_path / "model")
    np.testing.assert_array_equal(again.encode(ROWS), whole)
    assert (again.fingerprint, again.similarity_name) == (made.fingerprint, made.similarity_name)


def test_a_model_gives_the_same_vectors_in_another_process(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", ROWS)
    made = encoder(MODULES[3])
    made.save(tmp_path / "model")
    code = "import sys, similis; print(similis.load(sys.argv[1]).encode(sys.argv[2]).tolist())"
    command = [sys.executable, "-c", code, str(tmp_path / "model"), str(tmp_path / "rows.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    np.testing.assert_allclose(np.array(json.loads(done.stdout)), made.encode(ROWS), atol=1e-6)


def test_a_text_names_the_network_it_says() -> None:
    made = built_in("mlp(hidden=[9], dimension=5)", ROWS)
    first, last = made.body[2], made.body[4]
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Linear)
    flat = ROWS.reshape(23, -1).astype(np.float64)
    inputs = torch.from_numpy((flat - flat.mean(0)) / flat.std(0)).float()
    expected = last(torch.relu(first(inputs)))
    torch.testing.assert_close(made(torch.from_numpy(ROWS)), expected, rtol=1e-4, atol=1e-4)


def test_images_are_standardised_channel_by_channel_and_constant_inputs_keep_their_scale() -> None:
    rows = ROWS.copy()
    rows[:, 1] = 3.0
    seen = built_in("conv(channels=[2])", rows).body[0](torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(seen.mean((0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(seen.std((0, 2, 3)), [1, 0, 1], atol=1e-4)


@pytest.mark.parametrize("kind", ["float64", "int16", "tensor", "list", "file"])
def test_rows_are_read_whatever_holds_them(kind: str, tmp_path: Path) -> None:
    made, rows = encoder(MODULES[0]), np.round(ROWS)
    np.save(tmp_path / "rows.npy", rows)
    given: dict[str, Any] = {
        "float64": rows.astype(np.float64),
        "int16": rows.astype(np.int16),
        "tensor": torch.from_numpy(rows),
        "list": rows.tolist(),
        "file": tmp_path / "rows.npy",
    }
    np.testing.assert_array_equal(made.encode(given[kind]), made.encode(rows))


def test_normalize_and_truncate_dim_do_what_they_say() -> None:
    made = encoder(MODULES[0])
    plain, found = made.encode(ROWS), made.encode(ROWS, truncate_dim=3, normalize=True)
    np.testing.assert_allclose(found, plain[:, :3] / np.linalg.norm(plain[:, :3], axis=1, keepdims=True), atol=1e-6)


def test_a_module_of_ones_own_is_loaded_into_an_instance_and_never_by_its_name(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, rows = Net(), np.random.default_rng(1).normal(size=(9, 6)).astype(np.float32)
    net(torch.from_numpy(rows))  # running means of its norm
    made = ArrayEncoder(net, (6,))
    made.save(tmp_path / "model")
    with pytest.raises(UserError, match=r"Net, which is code of your own and not in the folder: give an instance"):
        load(tmp_path / "model")
    again = ArrayEncoder.load(tmp_path / "model", module=Net())
    np.testing.assert_array_equal(again.encode(rows), made.encode(rows))
    for wrong, said in [
        (Net(5), r"it has layer.bias \[5\] for \[4\], layer.weight"),
        (Net(further=True), "it also has last.bias, last.weight"),
        (nn.Linear(6, 4), "it lacks layer.bias, layer.weight, norm.bias and 4 more, and also has bias, weight"),
    ]:
        with pytest.raises(UserError, match=said):
            load(tmp_path / "model", module=wrong)


def test_damaged_folders_are_refused(tmp_path: Path) -> None:
    encoder(MODULES[0]).save(tmp_path / "model")
    weights, settings = tmp_path / "model" / "model.safetensors", tmp_path / "model" / "array_encoder.json"
    whole, said = weights.read_bytes(), json.loads(settings.read_text())
    weights.write_bytes(whole[:-4])
    with pytest.raises(UserError, match="truncated or damaged"):
        load(tmp_path / "model")
    weights.write_bytes(whole[:-4] + b"\0\0\1\0")
    with pytest.raises(UserError, match="checksum differs"):
        load(tmp_path / "model")
    weights.unlink()
    with pytest.raises(UserError, match=r"model.safetensors is missing"):
        load(tmp_path / "model")
    weights.write_bytes(whole)
    with pytest.raises(UserError, match="leave module out"):
        load(tmp_path / "model", module=Net())
    for name, value, message in [
        ("shape", [3, 0], "whole numbers above 0"),
        ("format", 9, "has the format 9"),
        ("similarity", "nearness", "'nearness'"),
    ]:
        settings.write_text(json.dumps({**said, name: value}))
        with pytest.raises(UserError, match=message):
            load(tmp_path / "model")
    settings.write_text(json.dumps({"format": 1}))
    with pytest.raises(UserError, match="lacks 'module'"):
        load(tmp_path / "model")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (np.zeros((4, 7)), r"reads rows of shape \[3, 8, 8\], not \[7\]"),
        (np.zeros(5), r"rows are \[n, ...\]"),
        (np.array([["a", "b"]]), "rows are numbers"),
        ([[1, 2], [3]], "differ in length"),
        (np.where(np.arange(23)[:, None, None, None] == 21, np.nan, ROWS), "row 21 of the array is not finite"),
        ("nothing.npy", r"nothing.npy cannot be read"),
    ],
)
def test_rows_that_cannot_be_read_are_refused(rows: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        encoder(MODULES[0]).encode(rows, batch_size=5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mpl(hidden=[3])", "did you mean 'mlp'"),
        ("mlp(hiden=[3])", "did you mean 'hidden'"),
        ("mlp(hidden=[0])", "whole numbers above 0"),
        ("mlp(dropout=1.0)", r"dropout must lie in \[0, 1\)"),
        ("mlp(dimension=2, head=gaussian)", "leave the other one out"),
        ("mlp(head=gausian)", "did you mean 'gaussian'"),
    ],
)
def test_mistakes_in_the_text_of_a_module_are_one_sentence(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        built_in(text, ROWS)


def test_a_module_that_gives_no_vectors_is_refused() -> None:
    with pytest.raises(UserError, match=r"must give one vector a row, a tensor \[2, d\]"):
        ArrayEncoder(nn.Conv2d(3, 4, 3), (3, 8, 8))
    with pytest.raises(UserError, match=r"cannot read rows of shape \[5\]"):
        ArrayEncoder(Net(), (5,))
    with pytest.raises(UserError, match="conv reads images"):
        built_in("conv", np.zeros((3, 5)))
