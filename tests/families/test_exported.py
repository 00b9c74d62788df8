"""Dense transformers that another runtime runs: the same vectors in float32, near ones in int8 or none at all.

What all runtimes share is proved with one that adds a known error, so that no optional part has to be installed.
"""

from __future__ import annotations

import copy
import importlib.util
import json
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from family_models import WORDS, bert, texts
from transformers import BertTokenizerFast, DistilBertConfig, DistilBertModel

from similis.api import encode_file
from similis.encoders import create, load
from similis.encoders.library.exported import Backend, exported
from similis.encoders.loading import BACKENDS
from similis.errors import MissingExtraError, UserError

ROWS = texts(60)
PARTS = {"openvino": ("openvino", "optimum"), "onnx": ("onnx", "onnxruntime", "onnxscript")}


def _installed(name: str) -> bool:
    return all(importlib.util.find_spec(part) is not None for part in PARTS[name])


def _needs(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not _installed(name), reason=f"the extra '{name}' is not installed")


RUNTIMES = [pytest.param(name, marks=_needs(name)) for name in PARTS]


def runtime(name: str) -> Backend:
    found: Backend = import_module(BACKENDS[name]).BACKEND
    return found


class Rough(Backend):
    """Torch, with an error of a known size in one coordinate of every token vector; the file holds the size."""

    name, title, main, files = "rough", "Rough", "error.json", "*.json"

    def __init__(self, error: float) -> None:
        self.error = error
        self.given: list[list[str] | None] = []

    def require(self) -> None:
        pass

    def export(self, first: Any, folder: Path, texts: list[str] | None) -> None:
        print("progress")  # as some do, where results belong
        self.given.append(texts)
        (folder / self.name).mkdir()
        (folder / self.name / self.main).write_text(json.dumps(self.error))

    def step(self, first: Any, folder: Path, threads: int | None) -> Any:
        error = json.loads((folder / self.name / self.main).read_text())
        made = copy.deepcopy(first)
        made.register_forward_hook(lambda _step, _given, found: _shifted(found, error))
        return made


def _shifted(found: dict[str, Any], error: float) -> dict[str, Any]:
    return {
        **found,
        "token_embeddings": found["token_embeddings"] + error * torch.eye(found["token_embeddings"].shape[-1])[0],
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("exported")
    made: Any = create(f"dense(pooling=max, query_prompt='bal '):{bert(home / 'bert')}")
    made.save(home / "model")
    return home / "model"


@pytest.fixture
def rough(monkeypatch: pytest.MonkeyPatch) -> Rough:
    """A runtime that load knows as ``rough``."""
    made = Rough(0.0)
    monkeypatch.setitem(sys.modules, "rough_runtime", SimpleNamespace(BACKEND=made))
    monkeypatch.setitem(BACKENDS, "rough", "rough_runtime")
    return made


def test_int8_is_made_with_every_other_text_and_judged_on_the_rest(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, backend = load(folder), Rough(0.1)
    made = exported(plain, backend, "int8", ROWS, least_neighbours=0.0)
    assert backend.given == [ROWS[::2]]
    said = capsys.readouterr()
    assert said.out == ""
    assert f"Rough in int8: {made.fidelity}" in said.err
    exact, near = (encoder.encode(ROWS[1::2], normalize=True) for encoder in (plain, made))
    cosines = (exact * near).sum(1)
    assert made.fidelity is not None
    assert (made.fidelity.texts, made.fidelity.worst) == (30, pytest.approx(float(cosines.min()), abs=1e-6))
    assert made.fidelity.cosine == pytest.approx(float(cosines.mean()), abs=1e-6)
    assert made.fidelity.cosine < 1 - 1e-6


def test_a_file_is_encoded_by_another_runtime_that_is_judged_on_its_texts(
    folder: Path, tmp_path: Path, rough: Rough
) -> None:
    rough.error = 0.01
    (tmp_path / "t.txt").write_text("\n".join(ROWS))
    told = encode_file(folder, tmp_path / "t.txt", tmp_path / "v.npy", backend="rough", precision="int8")
    assert rough.given == [ROWS[::2]]
    near = load(folder, backend="rough", precision="int8", texts=ROWS)
    assert told["fidelity"] == asdict(near.fidelity)
    np.testing.assert_allclose(np.load(tmp_path / "v.npy"), near.encode_document(ROWS), atol=1e-5)
    rough.error = 10.0
    with pytest.raises(UserError, match="int8 by Rough is too far"):
        encode_file(folder, tmp_path / "t.txt", tmp_path / "w.npy", backend="rough", precision="int8")
    assert not (tmp_path / "w.npy").exists()


def test_what_is_saved_is_run_again_for_its_precision_and_weights_alone(
    folder: Path, tmp_path: Path, rough: Rough
) -> None:
    rough.error = 0.1
    made = load(folder, backend="rough", precision="int8", texts=ROWS, force=True)
    made.save(tmp_path / "m")
    rough.error = 0.0
    again = load(tmp_path / "m", backend="rough", precision="int8")  # no texts: it was judged already
    np.testing.assert_array_equal(again.encode(ROWS), made.encode(ROWS))
    assert (again.fidelity, again.fingerprint) == (made.fidelity, made.fingerprint)
    assert len(rough.given) == 1
    load(tmp_path / "m", backend="rough")
    assert rough.given[1:] == [None]  # float32 was not saved, and what lies there is not taken for it
    original = load(tmp_path / "m")
    assert original.fingerprint == load(folder).fingerprint != made.fingerprint
    with torch.no_grad():
        next(iter(original.model.parameters())).add_(1)
    original.save(tmp_path / "other")
    (tmp_path / "other" / "similis_rough.json").write_bytes((tmp_path / "m" / "similis_rough.json").read_bytes())
    with pytest.raises(UserError, match="give at least 24 by texts"):  # it is of other weights: made anew
        load(tmp_path / "other", backend="rough", precision="int8")


@pytest.mark.parametrize(("error", "kept"), [(0.0, True), (2.0, False)])
def test_a_file_that_came_with_the_model_is_run_if_it_is_of_these_weights(
    folder: Path, tmp_path: Path, rough: Rough, error: float, kept: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    load(folder).save(tmp_path / "m")
    (tmp_path / "m" / "rough").mkdir()
    (tmp_path / "m" / "rough" / "error.json").write_text(json.dumps(error))
    made = load(tmp_path / "m", backend="rough")
    assert rough.given == ([] if kept else [None])
    assert ("exported anew" in capsys.readouterr().err) is not kept
    np.testing.assert_allclose(made.encode(ROWS), load(folder).encode(ROWS), atol=1e-6)


def test_float32_has_to_be_the_same_model_unless_forced(folder: Path, tmp_path: Path) -> None:
    plain = load(folder)
    assert str(exported(plain, Rough(0.0)).fidelity).startswith("cosine to float32 1.00000")
    with pytest.raises(UserError, match=r"float32 by Rough is too far .* a cosine of 0\.9999 is asked for: .*by torch"):
        exported(plain, Rough(1.0), texts=ROWS[:1])
    assert exported(plain, Rough(1.0), force=True).fidelity.cosine < 0.9999  # type: ignore[union-attr]


def test_int8_is_refused_by_its_cosine_or_by_its_neighbours(folder: Path) -> None:
    plain = load(folder)
    with pytest.raises(UserError, match=r"int8 by Rough is too far .*0\.99 and 0% .* in float32, or give force=True"):
        exported(plain, Rough(4.0), "int8", ROWS, least_neighbours=0.0)
    with pytest.raises(UserError, match="101% of the nearest"):
        exported(plain, Rough(0.0), "int8", ROWS, least_neighbours=1.01)
    assert exported(plain, Rough(4.0), "int8", ROWS, force=True).fidelity.cosine < 0.99  # type: ignore[union-attr]


def test_the_original_keeps_steps_of_its_own(folder: Path) -> None:
    plain = load(folder)
    made = exported(plain, Rough(0.0))
    assert made.module.model is plain.model
    assert not {id(step) for step in made.model.children()} & {id(step) for step in plain.model.children()}


@pytest.mark.parametrize("name", PARTS)
def test_what_cannot_be_run_is_told_in_words(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    plain, backend = load(folder), runtime(name)
    with pytest.raises(UserError, match=f"did you mean '{name}'"):
        load(folder, backend=name[:-1])
    with pytest.raises(UserError, match="are for backend='openvino' or 'onnx'"):
        load(folder, precision="int8")
    with pytest.raises(UserError, match="float32 or int8, not 'int4'; did you mean 'int8'"):
        exported(plain, backend, "int4")
    with pytest.raises(UserError, match="give at least 24 by texts, got 2"):
        exported(plain, backend, "int8", ["bal", "dol", " "])
    with pytest.raises(UserError, match=f"{backend.title} runs dense transformers of one tower"):
        exported(create(f"sparse:{folder}"), backend)
    with pytest.raises(UserError, match="mixes its layers"):
        exported(create(f"dense(pooling=scalar_mix):{folder}"), backend)
    with pytest.raises(UserError, match="threads must be at least 1, got 0"):
        load(folder, backend=name, threads=0)
    monkeypatch.setitem(sys.modules, {"openvino": "optimum.intel.openvino", "onnx": "onnxruntime"}[name], None)
    with pytest.raises(MissingExtraError, match=rf"similis\[{name}\]"):
        exported(plain, backend)


@pytest.mark.parametrize("name", RUNTIMES)
def test_float32_gives_torchs_vectors_before_and_after_saving(folder: Path, tmp_path: Path, name: str) -> None:
    plain, made = load(folder), load(folder, backend=name, threads=1)
    made.save(tmp_path / "m")
    again = load(tmp_path / "m", backend=name)
    for encoder in (made, again):
        for side in ("encode_query", "encode_document"):
            np.testing.assert_allclose(getattr(encoder, side)(ROWS), getattr(plain, side)(ROWS), atol=1e-4)
        np.testing.assert_allclose(encoder.encode(ROWS[:1]), plain.encode(ROWS[:1]), atol=1e-4)
    assert again.fingerprint == made.fingerprint != plain.fingerprint
    assert load(tmp_path / "m").fingerprint == plain.fingerprint  # by torch it is the original
    (tmp_path / "m" / f"similis_{name}.json").unlink()  # as other programs leave it
    brought = load(tmp_path / "m", backend=name)
    assert brought.fingerprint == made.fingerprint
    np.testing.assert_array_equal(brought.encode(ROWS), again.encode(ROWS))


@pytest.mark.parametrize("name", RUNTIMES)
def test_int8_is_near_and_is_kept(folder: Path, tmp_path: Path, name: str) -> None:
    made = exported(load(folder), runtime(name), "int8", ROWS, force=True)
    assert made.fidelity is not None
    assert 0.9 < made.fidelity.cosine < 1 - 1e-5
    made.save(tmp_path / "m")
    again = load(tmp_path / "m", backend=name, precision="int8")
    np.testing.assert_allclose(again.encode(ROWS), made.encode(ROWS), atol=1e-6)
    assert again.fidelity == made.fidelity


@_needs("onnx")
def test_a_transformer_of_fewer_inputs_is_run_by_onnx(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = DistilBertConfig(vocab_size=100, dim=32, n_layers=2, n_heads=2, hidden_dim=64, max_position_embeddings=24)
    DistilBertModel(config).save_pretrained(tmp_path / "d")
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    names = ["input_ids", "attention_mask"]
    tokenizer = BertTokenizerFast(str(tmp_path / "vocab.txt"), model_max_length=24, model_input_names=names)
    tokenizer.save_pretrained(tmp_path / "d")
    made = load(tmp_path / "d", backend="onnx", threads=1)
    assert made.model[0].auto_model.session.get_session_options().intra_op_num_threads == 1
    np.testing.assert_allclose(made.encode(ROWS), load(tmp_path / "d").encode(ROWS), atol=1e-5)


@_needs("onnx")
def test_a_file_that_gives_no_token_vectors_is_not_run(folder: Path, tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    made = load(folder)
    made.save(tmp_path / "m")
    (tmp_path / "m" / "onnx").mkdir()
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("pixels", "classes")]
    graph = helper.make_graph([helper.make_node("Identity", ["pixels"], ["classes"])], "g", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(tmp_path / "m" / "onnx" / "model.onnx"))
    with pytest.raises(UserError, match="reads pixels and gives classes: no token vectors"):
        runtime("onnx").step(made.model[0], tmp_path / "m", None)
    assert load(tmp_path / "m", backend="onnx").fidelity.cosine > 0.9999
