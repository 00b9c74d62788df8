"""Poolings, towers and projections of new dense models, against the formulas written out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from family_models import bert, pairs, texts
from torch import Tensor
from torch.nn import functional

from similis.encoders import create, load
from similis.encoders.modules import LatentAttention, ScalarMix
from similis.errors import UserError
from similis.training import train

ROWS = [*texts(6), "bal " * 40]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``one`` and ``other``: transformers of the same words; ``model``: a sentence-transformers folder."""
    home = tmp_path_factory.mktemp("dense")
    for number, name in enumerate(("one", "other")):
        bert(home / name, seed=number)
    model: Any = create(f"dense(pooling=max, query_prompt='bal '):{home / 'one'}")
    model.save(home / "model")
    return home


def read(path: Path, rows: list[str]) -> tuple[list[Tensor], Tensor]:
    """All layers ``[n, t, d]`` of the plain transformer, and which tokens are text ``[n, t, 1]``."""
    from transformers import AutoModel, AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(path)(rows, padding=True, truncation=True, return_tensors="pt")
    with torch.no_grad():
        layers = AutoModel.from_pretrained(path)(**tokens, output_hidden_states=True).hidden_states
    return list(layers), tokens["attention_mask"].unsqueeze(-1).float()


def mean(tokens: Tensor, mask: Tensor) -> Tensor:
    return (tokens * mask).sum(1) / mask.sum(1)


def test_each_pooling_is_its_formula(folder: Path) -> None:
    layers, mask = read(folder / "one", ROWS)
    last = layers[-1]
    ends = mask.sum(1).long().squeeze(1) - 1
    expected = {
        "mean": mean(last, mask),
        "cls": last[:, 0],
        "max": last.masked_fill(mask == 0, -torch.inf).amax(1),
        "lasttoken": last[torch.arange(len(last)), ends],
        "weighted_layer": mean((layers[1] + layers[2]) / 2, mask),
        "weighted_layer(start=0)": mean((layers[0] + layers[1] + layers[2]) / 3, mask),
        "scalar_mix": mean((layers[1] + layers[2]) / 2, mask),
        "latent_attention(latents=8, heads=4)": mean(last, mask),  # a new one adds nothing
    }
    for text, vectors in expected.items():
        found = create(f"dense(pooling={text}):{folder / 'one'}").encode(ROWS, batch_size=2)
        np.testing.assert_allclose(found, vectors.numpy(), atol=2e-5, err_msg=text)


def test_latent_attention_is_its_formula_head_by_head() -> None:
    step = LatentAttention(6, latents=5, heads=2, head_width=3, seed=1)
    torch.manual_seed(0)
    for weight in step.parameters():
        torch.nn.init.normal_(weight)
    tokens = torch.randn(2, 4, 6)
    norms = [(norm.weight, norm.bias) for norm in (step.token_norm, step.table_norm, step.hidden_norm)]
    with torch.no_grad():
        queries = functional.layer_norm(tokens, (6,), *norms[0]) @ step.query.weight.T
        both = functional.layer_norm(step.table, (6,), *norms[1]) @ step.key_value.weight.T
        heads = []
        for head in (slice(0, 3), slice(3, 6)):
            keys, values = both[:, :6][:, head], both[:, 6:][:, head]
            heads.append(torch.softmax(queries[..., head] @ keys.T / 3**0.5, -1) @ values)
        inner = tokens + torch.cat(heads, -1) @ step.out.weight.T
        wide = functional.layer_norm(inner, (6,), *norms[2]) @ step.widen.weight.T + step.widen.bias
        expected = inner + (wide[..., :24] * functional.gelu(wide[..., 24:])) @ step.narrow.weight.T + step.narrow.bias
        found = step({"token_embeddings": tokens})["token_embeddings"]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_scalar_mix_is_a_softmax_over_layers_times_a_factor() -> None:
    step = ScalarMix(3, layers=2, start=1)
    with torch.no_grad():
        step.scores.copy_(torch.log(torch.tensor([1.0, 3.0])))
        step.gamma.fill_(2.0)
    layers = (torch.full((1, 2, 3), 9.0), torch.ones(1, 2, 3), torch.full((1, 2, 3), 5.0))
    found = step({"all_layer_embeddings": layers})["token_embeddings"]
    torch.testing.assert_close(found, torch.full((1, 2, 3), 2 * (0.25 * 1 + 0.75 * 5)))


@pytest.mark.parametrize("pooling", ["weighted_layer", "scalar_mix", "latent_attention(latents=4, heads=2)"])
def test_what_a_learned_pooling_learns_is_saved(pooling: str, folder: Path, tmp_path: Path) -> None:
    base = f"dense(pooling={pooling}):{folder / 'one'}"
    before: Any = create(base)
    trained: Any = train(
        pairs(30), base=base, output=tmp_path / "m", max_steps=4, batch_size=8, learning_rate=1e-2, dev=False
    ).encoder
    own = before.model[1].state_dict()
    assert any(not torch.equal(weight, trained.model[1].state_dict()[name]) for name, weight in own.items())
    np.testing.assert_allclose(load(tmp_path / "m").encode(ROWS), trained.encode(ROWS), atol=1e-6)


def test_towers_read_each_side_by_their_own_transformer_and_learn_apart(folder: Path, tmp_path: Path) -> None:
    base = f"dense(documents='{folder / 'other'}'):{folder / 'one'}"
    made: Any = create(base)
    for side, name in ((made.encode_query, "one"), (made.encode_document, "other")):
        layers, mask = read(folder / name, ROWS)
        np.testing.assert_allclose(side(ROWS), mean(layers[-1], mask).numpy(), atol=2e-5)
    trained: Any = train(
        pairs(30), base=base, output=tmp_path / "m", max_steps=3, batch_size=8, learning_rate=1e-3, dev=False
    ).encoder
    again = load(tmp_path / "m")
    assert again.asymmetric
    for side in ("encode_query", "encode_document"):
        now = getattr(trained, side)(ROWS)
        assert np.abs(now - getattr(made, side)(ROWS)).max() > 1e-3
        np.testing.assert_allclose(getattr(again, side)(ROWS), now, atol=1e-6)


def test_a_folders_own_pooling_prompts_and_normalisation_are_kept(folder: Path, tmp_path: Path) -> None:
    own, made = load(folder / "model"), create(f"dense:{folder / 'model'}")
    assert made.prompts["query"] == "bal "
    np.testing.assert_allclose(made.encode_query(ROWS), own.encode_query(ROWS), atol=1e-6)
    assert np.abs(own.encode_query(ROWS) - own.encode(ROWS)).max() > 1e-3
    modules = json.loads((folder / "model" / "modules.json").read_text())
    (folder / "model" / "2_Normalize").mkdir(exist_ok=True)
    end = {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}
    (folder / "model" / "modules.json").write_text(json.dumps([*modules, end]))
    for text in ("dense", "dense(pooling=cls)"):
        vectors = create(f"{text}:{folder / 'model'}").encode(ROWS)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    (folder / "model" / "modules.json").write_text(json.dumps(modules))


def test_a_projection_gives_the_dimension_and_joins_towers_of_different_widths(folder: Path) -> None:
    plain = create("dense:" + str(folder / "one"), pooling="cls").encode(ROWS)
    made: Any = create("dense:" + str(folder / "one"), pooling="cls", dimension=8)
    weight = made.model[2].linear.weight.detach().numpy()
    np.testing.assert_allclose(weight @ weight.T, np.eye(8), atol=1e-5)
    np.testing.assert_allclose(made.encode(ROWS), plain @ weight.T, atol=1e-5)
    made.save(folder / "narrow")
    towers: Any = create(f"dense(documents='{folder / 'narrow'}'):{folder / 'one'}")
    assert towers.encode_query(ROWS).shape == towers.encode_document(ROWS).shape == (7, 8)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dense(pooling=clss):@", "did you mean 'cls'"),
        ("dense(pooling=cls(start=2)):@", "pooling cls takes no arguments, not start=2"),
        ("dense(pooling=latent_attention(heads=0)):@", "whole numbers latents and heads, not heads=0"),
        ("dense(pooling=latent_attention(heads=64)):@", "at most 32 heads"),
        ("dense(pooling=weighted_layer(start=3)):@", "from 0 .* to 2, got 3"),
        ("dense(dimension=64):@", "between 1 and 32"),
        ("dense(pool=cls):@", r"dense takes pooling \(str\)"),
        ("dense:@/nowhere", "no such folder"),
        ("dense(documents='@/../towers'):@", "has towers already"),
    ],
)
def test_what_cannot_be_made_is_told_in_words(text: str, said: str, folder: Path) -> None:
    if "towers" in text and not (folder / "towers").exists():
        made: Any = create(f"dense(documents='{folder / 'other'}'):{folder / 'one'}")
        made.save(folder / "towers")
    with pytest.raises(UserError, match=said):
        create(text.replace("@", str(folder / "one")))


def test_options_are_for_new_models_alone(folder: Path) -> None:
    with pytest.raises(UserError, match="pooling can be chosen for a new model"):
        create(str(folder / "model"), pooling="cls")


def test_a_class_of_ours_that_is_no_step_is_not_imported(folder: Path, tmp_path: Path) -> None:
    made: Any = create(f"dense(pooling=scalar_mix):{folder / 'one'}")
    made.save(tmp_path / "m")
    file = tmp_path / "m" / "modules.json"
    file.write_text(file.read_text().replace("modules.ScalarMix", "modules.os"))
    with pytest.raises(UserError, match="not run"):
        load(tmp_path / "m")
