"""A dense transformer run by OpenVINO: the same vectors in float32, near ones in int8 or none at all."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from family_models import bert, texts

from similis.encoders import create, load
from similis.encoders.fast import Fidelity
from similis.encoders.library import openvino as home
from similis.errors import MissingExtraError, UserError

ROWS = texts(60)
INSTALLED = importlib.util.find_spec("openvino") is not None
needs_openvino = pytest.mark.skipif(not INSTALLED, reason="OpenVINO (the extra 'openvino') is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("openvino")
    made: Any = create(f"dense(pooling=max, query_prompt='bal '):{bert(home / 'bert')}")
    made.save(home / "model")
    return home / "model"


@needs_openvino
def test_float32_gives_torchs_vectors_before_and_after_saving(folder: Path, tmp_path: Path) -> None:
    plain, made = load(folder), load(folder, backend="openvino", threads=1)
    made.save(tmp_path / "m")
    again = load(tmp_path / "m", backend="openvino")
    for encoder in (made, again):
        for side in ("encode_query", "encode_document"):
            np.testing.assert_allclose(getattr(encoder, side)(ROWS), getattr(plain, side)(ROWS), atol=1e-4)
    assert again.fingerprint == made.fingerprint != plain.fingerprint
    assert load(tmp_path / "m").fingerprint == plain.fingerprint  # by torch it is the original


@needs_openvino
def test_int8_is_judged_on_texts_it_was_not_calibrated_on_and_kept(folder: Path, tmp_path: Path) -> None:
    plain = load(folder)
    made = home.openvino(plain, "int8", ROWS, least_neighbours=0.0, force=True)
    rows = ROWS[1::2]
    exact, near = (encoder.encode(rows, normalize=True) for encoder in (plain, made))
    assert made.fidelity is not None
    assert made.fidelity.texts == 30
    assert made.fidelity.cosine == pytest.approx(float((exact * near).sum(1).mean()), abs=1e-5)
    assert 0.9 < made.fidelity.cosine < 1
    made.save(tmp_path / "m")
    again = load(tmp_path / "m", backend="openvino", precision="int8")  # no texts: it was judged already
    np.testing.assert_allclose(again.encode(rows), made.encode(rows), atol=1e-6)
    assert again.fidelity == made.fidelity


@needs_openvino
def test_int8_below_the_floor_is_refused_unless_forced(folder: Path) -> None:
    plain = load(folder)
    with pytest.raises(UserError, match=r"too far from float32 .* force=True"):
        home.openvino(plain, "int8", ROWS, least_neighbours=1.01)


def test_the_floor_is_of_the_mean_cosine_and_of_the_neighbours() -> None:
    class Judged:
        precision = "int8"
        fidelity = Fidelity(30, 0.995, 0.98, 0.95)

    judged: Any = Judged()
    home._refuse(judged, 0.9)
    judged.fidelity = Fidelity(30, 0.94, 0.9, 0.95)
    with pytest.raises(UserError, match=r"cosine to float32 0\.94000"):
        home._refuse(judged, 0.9)
    judged.fidelity = Fidelity(30, 0.995, 0.98, 0.85)
    with pytest.raises(UserError, match=r"85\.0% of the ten nearest"):
        home._refuse(judged, 0.9)


def test_what_cannot_be_run_is_told_in_words(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = load(folder)
    with pytest.raises(UserError, match="did you mean 'openvino'"):
        load(folder, backend="openvin")
    with pytest.raises(UserError, match="are backend='openvino''s"):
        load(folder, precision="int8")
    with pytest.raises(UserError, match="float32 or int8, not 'int4'; did you mean 'int8'"):
        home.openvino(plain, "int4")
    with pytest.raises(UserError, match="give at least 24 by texts, got 2"):
        home.openvino(plain, "int8", ["bal", "dol", " "])
    with pytest.raises(UserError, match="of one tower"):
        home.openvino(create(f"sparse:{folder}"))
    with pytest.raises(UserError, match="mixes its layers"):
        home.openvino(create(f"dense(pooling=scalar_mix):{folder}"))
    monkeypatch.setitem(__import__("sys").modules, "optimum.intel.openvino", None)
    with pytest.raises(MissingExtraError, match=r"similis\[openvino\]"):
        home.openvino(plain)
