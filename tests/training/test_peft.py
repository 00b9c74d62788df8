"""Few parameters trained: which they are, what is saved, and that the library loads it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from training_rows import pairs

from similis import load
from similis.errors import UserError
from similis.registry import entries
from similis.training import train
from similis.training.trainees.peft import adapt
from small_runs import cut_before

SMALL: dict[str, Any] = {"batch_size": 8, "max_steps": 5, "dev": False}
TEXTS = ["bal bel", "dan din don dus"]


@pytest.mark.parametrize("name", [entry.name for entry in entries("peft")])
def test_only_what_is_named_moves(tiny: Path, name: str) -> None:
    before = dict(SentenceTransformer(str(tiny), device="cpu").named_parameters())
    model = train(pairs(40), base=tiny, peft="last_layers(count=1)" if name == "last_layers" else name, **SMALL).encoder
    moved = [
        key.replace(".base_layer", "")
        for key, value in model.model.named_parameters()
        if (old := before.get(key.replace(".base_layer", ""))) is not None and not old.equal(value)
    ]
    added = [key for key, _ in model.model.named_parameters() if key.replace(".base_layer", "") not in before]
    if name in ("lora", "ia3"):
        assert not moved
        assert added
    elif name == "bitfit":
        assert moved
        assert all(key.endswith("bias") for key in moved)
    else:
        assert moved
        assert all(".layer.1." in key or "pooler" in key for key in moved)


def test_adapters_are_saved_as_adapters_and_loaded_elsewhere(tiny: Path, tmp_path: Path) -> None:
    fitted = train(pairs(40), base=tiny, peft="lora(rank=4)", lr=0.05, output=tmp_path / "m", **SMALL)
    saved = load_file(tmp_path / "m" / "adapter_model.safetensors")
    assert saved
    assert all("lora" in name for name in saved)
    assert not (tmp_path / "m" / "model.safetensors").exists()
    code = (
        "import sys, json; from sentence_transformers import SentenceTransformer as S;"
        f"print(json.dumps(S(sys.argv[1], device='cpu').encode({TEXTS!r}).tolist()))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "m")], capture_output=True, text=True, check=True)
    theirs = np.array(json.loads(done.stdout.splitlines()[-1]))
    assert np.allclose(fitted.encoder.encode(TEXTS), theirs, atol=1e-5)
    assert np.allclose(load(tmp_path / "m").encode(TEXTS), theirs, atol=1e-5)
    assert not np.allclose(load(tiny).encode(TEXTS), theirs, atol=1e-3)


def test_a_run_with_adapters_resumes_exactly(tiny: Path, tmp_path: Path) -> None:
    settings = {**SMALL, "peft": "lora", "save_steps": 1}
    whole = train(pairs(40), base=tiny, output=tmp_path / "whole", **settings).encoder.encode(TEXTS)
    with cut_before(3):
        train(pairs(40), base=tiny, output=tmp_path / "cut", **settings)
    resumed = train(pairs(40), base=tiny, output=tmp_path / "cut", **settings).encoder.encode(TEXTS)
    assert np.array_equal(whole, resumed)


def test_a_static_model_has_no_transformer_to_adapt() -> None:
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models

    words = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    model = SentenceTransformer(modules=[StaticEmbedding(words, embedding_dim=4)], device="cpu")
    with pytest.raises(UserError, match="this model has none"):
        adapt(model, "lora")
    with pytest.raises(UserError, match="static"):
        train(pairs(40), peft="lora", **SMALL)
    with pytest.raises(UserError, match="rank"):
        adapt(model, "lora(rank=0)")
