"""A sharper attention by the weights of its queries is the softmax at that temperature."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from family_models import bert, texts

from similis.encoders import create, load
from similis.encoders.library.attention import length_collapse, tempered
from similis.errors import UserError

ROWS = [*texts(6), "bal " * 20]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bert(tmp_path_factory.mktemp("tempered") / "bert")


@pytest.mark.parametrize("temperature", [0.5, 0.9, 2.0])
def test_it_is_the_softmax_of_logits_over_the_temperature(
    folder: Path, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain: Any = create(f"dense:{folder}")
    found = tempered(plain, temperature).encode(ROWS)
    original = torch.nn.functional.scaled_dot_product_attention

    def warmer(query: Any, key: Any, value: Any, *rest: Any, scale: float | None = None, **kwargs: Any) -> Any:
        scale = (scale or query.shape[-1] ** -0.5) / temperature
        return original(query, key, value, *rest, scale=scale, **kwargs)

    before = plain.encode(ROWS)
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", warmer)
    expected = plain.encode(ROWS)
    assert np.abs(expected - before).max() > 1e-3
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_relative_positions_are_divided_too() -> None:
    from transformers import MPNetConfig, MPNetModel

    from similis.encoders.library.attention import _divide

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(0)
    model = MPNetModel(MPNetConfig(vocab_size=50, initializer_range=0.5, **sizes)).eval()
    ids = torch.arange(3, 12).unsqueeze(0)
    softmax = torch.nn.functional.softmax
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.functional, "softmax", lambda logits, dim: softmax(logits / 0.5, dim=dim))
        expected = model(ids).last_hidden_state
        patch.undo()
        plain = model(ids).last_hidden_state
        _divide(model, 0.5)
        found = model(ids).last_hidden_state
    assert float((plain - expected).abs().max()) > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_it_is_saved_in_the_weights_and_leaves_the_model_it_came_from(folder: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    plain: Any = create(f"dense:{folder}")
    before = plain.fingerprint
    made = create(f"dense(temperature=0.7):{folder}")
    assert plain.fingerprint == before
    made.save(tmp_path / "m")
    np.testing.assert_allclose(load(tmp_path / "m").encode(ROWS), made.encode(ROWS), atol=1e-6)
    theirs = SentenceTransformer(str(tmp_path / "m"), device="cpu").encode(ROWS)
    np.testing.assert_allclose(theirs, made.encode(ROWS), atol=2e-5)


def test_collapse_is_told_by_length_with_cosines_of_all_pairs(folder: Path) -> None:
    plain: Any = create(f"dense:{folder}")
    rows = texts(12, seed=4)
    told = length_collapse(plain, rows, groups=3)
    order = np.argsort(plain.lengths(rows), kind="stable")
    for group, own in zip(told, np.array_split(order, 3), strict=True):
        vectors = plain.encode([rows[row] for row in own], normalize=True)
        cosines = vectors @ vectors.T
        pairs = [cosines[i, j] for i in range(len(own)) for j in range(i)]
        assert group.cosine == pytest.approx(np.mean(pairs), abs=1e-5)
        assert group.texts == 4
        assert group.shortest <= group.longest
    shares = [group.high_frequency for group in told]
    assert all(0 < share < 1 for share in shares)
    flat = length_collapse(tempered(plain, 1e6), rows, groups=3)  # an attention that only averages
    assert all(a.high_frequency < b.high_frequency for a, b in zip(flat[1:], told[1:], strict=True))


def test_what_has_no_temperature_is_told_in_words(folder: Path) -> None:
    plain: Any = create(f"dense:{folder}")
    with pytest.raises(UserError, match="above 0, got 0"):
        tempered(plain, 0.0)
    with pytest.raises(UserError, match="at least 8 texts, got 7"):
        length_collapse(plain, ROWS)
