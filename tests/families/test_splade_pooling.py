"""A max over tokens without the matrix of their words: the library's weights and gradients, where it can be had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from family_models import bert, texts
from sentence_transformers import SparseEncoder

from similis.encoders import SparseLibraryEncoder, create, load
from similis.encoders.library.encoder import LibraryEncoder
from similis.encoders.library.splade import pooled, pools_apart
from similis.training.trainees.transformer import drop_no_attention

TEXTS = [*texts(6), "bal " * 40, "bal"]


@pytest.fixture
def encoder(tmp_path: Path) -> Any:
    """A new sparse model in training, whose passes draw nothing."""
    bert(tmp_path / "head")
    made: Any = create(f"sparse:{tmp_path / 'head'}", corpus_texts=TEXTS)
    for part in made.model.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    drop_no_attention(made.model)
    made.model.train()
    return made


def gradients(model: torch.nn.Module, weights: torch.Tensor) -> dict[str, torch.Tensor]:
    """Of a sum in which each weight counts otherwise."""
    model.zero_grad()
    (weights * torch.linspace(-1, 1, weights.numel()).view_as(weights)).sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("activation", ["relu", "log1p_relu"])
@pytest.mark.parametrize("padding", ["right", "left"])
def test_weights_and_gradients_are_the_librarys(activation: str, padding: str, encoder: Any) -> None:
    first, pooling = encoder.model
    pooling.activation_function = activation
    first.tokenizer.padding_side = padding
    features = encoder.preprocess(TEXTS)
    assert bool((features["attention_mask"] == 0).any())
    found = encoder.forward_features(features)
    expected = LibraryEncoder.run(encoder, features)["sentence_embedding"]
    assert "token_embeddings" not in encoder.run(features)  # no matrix of words
    torch.testing.assert_close(found, expected)
    assert 0 < int((found > 0).sum()) < found.numel()
    own, theirs = gradients(encoder.model, found), gradients(encoder.model, expected)
    assert own.keys() == theirs.keys()
    largest = max(float(value.abs().max()) for value in theirs.values())
    for name, value in theirs.items():
        assert float((own[name] - value).abs().max()) <= 1e-5 * largest, name


def test_a_text_of_no_tokens_has_no_words_and_leaves_gradients_finite(encoder: Any) -> None:
    features = encoder.preprocess(TEXTS)
    features["attention_mask"][1] = 0
    found = encoder.forward_features(features)
    assert not found[1].any()
    assert found[0].any()
    assert all(bool(torch.isfinite(value).all()) for value in gradients(encoder.model, found).values())


def test_in_bfloat16_words_are_weighed_as_the_library_does(encoder: Any) -> None:
    features = encoder.preprocess(TEXTS)
    with torch.autocast("cpu", torch.bfloat16):
        found = encoder.forward_features(features)
        expected = LibraryEncoder.run(encoder, features)["sentence_embedding"].float()
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=0.03, rtol=0.03)
    own, theirs = gradients(encoder.model, found), gradients(encoder.model, expected)
    decoder = next(name for name in theirs if name.endswith("word_embeddings.weight"))
    assert torch.nn.functional.cosine_similarity(own[decoder].flatten(), theirs[decoder].flatten(), dim=0) > 0.98


def test_the_head_is_whole_again_afterwards(encoder: Any, tmp_path: Path) -> None:
    encoder.forward_features(encoder.preprocess(TEXTS))
    logits = encoder.model[0](encoder.preprocess(TEXTS))["token_embeddings"]
    assert logits.shape[-1] == encoder.dimension
    encoder.save(tmp_path / "m")
    again = load(tmp_path / "m")
    assert isinstance(again, SparseLibraryEncoder)
    assert again.fingerprint == encoder.fingerprint
    theirs = SparseEncoder(str(tmp_path / "m"), device="cpu").encode(TEXTS).to_dense()
    torch.testing.assert_close(torch.from_numpy(again.encode(TEXTS).toarray()), theirs, atol=1e-5, rtol=1e-5)


def test_what_cannot_be_taken_apart_is_left_to_the_library(encoder: Any) -> None:
    steps = list(encoder.model)
    assert pools_apart(steps)
    assert pooled(steps, encoder.preprocess(TEXTS))["sentence_embedding"].shape == (len(TEXTS), encoder.dimension)
    assert not pools_apart(steps[:1])
    steps[1].pooling_strategy = "sum"
    assert not pools_apart(steps)
    steps[1].pooling_strategy = "max"
    # a head that goes on after its decoder
    handle = steps[0].auto_model.cls.register_forward_hook(lambda _module, _inputs, logits: torch.tanh(logits))
    assert not pools_apart(steps)
    handle.remove()
    assert all(module.training for module in steps[0].modules())
