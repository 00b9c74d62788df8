"""The static encoder against sentence-transformers' StaticEmbedding, and what it does to input."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from similis.encoders import StaticEncoder, load, train_tokenizer
from similis.errors import UserError

TEXTS = [
    "The cat sat on the mat.",
    "A dog, barking at the cat!",
    "",
    "   ",
    "Open a file and read its lines; close the file.",
    "naïve café über straße 日本語",
    "word " * 700,
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(TEXTS * 3, 300)


@pytest.fixture
def encoder(tokenizer: Tokenizer) -> StaticEncoder:
    rows = tokenizer.get_vocab_size()
    weights = np.random.default_rng(0).standard_normal((rows, 24)).astype(np.float32)
    fresh = Tokenizer.from_str(tokenizer.to_str())
    return StaticEncoder(fresh, weights, prompts={"query": "search: "})


def the_library(folder: Path) -> object:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu")


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_saved_model_gives_the_same_vectors_in_sentence_transformers(
    encoder: StaticEncoder, tmp_path: Path, similarity: str
) -> None:
    encoder = StaticEncoder(encoder.tokenizer, encoder.weights, similarity_name=similarity, prompts=encoder.prompts)
    encoder.save(tmp_path / "model")
    other = the_library(tmp_path / "model")
    assert other.similarity_fn_name == similarity
    ours = [encoder.encode(TEXTS), encoder.encode_query(TEXTS), encoder.encode(TEXTS, normalize=True, truncate_dim=8)]
    theirs = [
        other.encode(TEXTS),
        other.encode_query(TEXTS),
        other.encode(TEXTS, normalize_embeddings=True, truncate_dim=8),
    ]
    for mine, reference in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, reference, atol=1e-6)


def test_model_written_by_sentence_transformers_is_loaded_by_the_light_path(
    encoder: StaticEncoder, tmp_path: Path
) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding

    static = StaticEmbedding(encoder.tokenizer, embedding_weights=np.array(encoder.weights))
    other = SentenceTransformer(modules=[static, Normalize()], prompts={"query": "q: "}, device="cpu")
    other.save_pretrained(str(tmp_path / "theirs"))
    ours = load(tmp_path / "theirs")
    assert isinstance(ours, StaticEncoder)
    np.testing.assert_allclose(ours.encode_query(TEXTS), other.encode_query(TEXTS), atol=1e-6)


def test_our_folder_has_the_files_and_module_types_that_sentence_transformers_writes(
    encoder: StaticEncoder, tmp_path: Path
) -> None:
    encoder.save(tmp_path / "ours")
    the_library(tmp_path / "ours").save_pretrained(str(tmp_path / "theirs"))  # type: ignore[attr-defined]
    names = [{str(p.relative_to(each)) for p in each.rglob("*")} for each in (tmp_path / "ours", tmp_path / "theirs")]
    assert names[0] == names[1]
    written = [(tmp_path / each / "modules.json").read_text().split() for each in ("ours", "theirs")]
    assert written[0] == written[1]


def test_vector_is_the_same_bit_for_bit_whatever_batch_order_threads_or_stream(encoder: StaticEncoder) -> None:
    texts = [f"{text} {number}" for number in range(300) for text in TEXTS[:6]]
    expected = np.stack([encoder.encode(text) for text in texts])
    order = np.random.default_rng(1).permutation(len(texts))
    shuffled = encoder.encode([texts[i] for i in order], batch_size=700)
    streamed = np.concatenate(list(encoder.encode_stream(iter(texts), batch_size=7)))
    assert (encoder.encode(texts, batch_size=1) == expected).all()
    assert (shuffled == expected[order]).all()
    assert (encoder.encode(texts, threads=1) == expected).all()
    assert (encoder.encode(texts, threads=3) == expected).all()
    assert (streamed == expected).all()


def test_remembered_words_change_no_vector(encoder: StaticEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{text} w{number % 90} {number}" for number in range(1500) for text in (*TEXTS[:5], "naïve [UNK] w3")]
    expected = np.concatenate([encoder.encode(texts[i : i + 50], threads=9) for i in range(0, len(texts), 50)])
    assert not encoder._memories  # few texts, many threads: the tokenizer itself
    assert (encoder.encode(texts, threads=1) == expected).all()
    assert encoder._memories
    monkeypatch.setattr("similis.encoders.static.encoder._WORDS", 30)  # fewer than there are: remembering begins anew
    for _ in range(2):
        assert (encoder.encode(texts, threads=1) == expected).all()
        assert not encoder._memories
    encoder.tokenizer.enable_truncation(3)
    assert (encoder.encode(texts, threads=1) == encoder.encode(texts, threads=9)).all()
    assert encoder.last_truncation.texts_cut > 0


def test_several_threads_may_encode_at_once(encoder: StaticEncoder) -> None:
    texts = [f"{text} w{number}" for number in range(150) for text in TEXTS[:5]]
    expected = encoder.encode(texts)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: encoder.encode(texts, threads=1), range(12)):
            assert (found == expected).all()


def test_a_stream_is_read_a_few_batches_ahead_only(encoder: StaticEncoder) -> None:
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield "a text"

    first = next(encoder.encode_stream(endless(), batch_size=4))
    assert first.shape == (4, 24)
    assert read <= 4 * 16


def test_empty_text_is_the_zero_vector_and_no_texts_are_no_rows(encoder: StaticEncoder) -> None:
    assert not encoder.encode("").any()
    assert encoder.encode([]).shape == (0, 24)
    assert encoder.encode("cat").shape == (24,)


def test_a_text_longer_than_one_summing_step_is_still_the_mean(encoder: StaticEncoder) -> None:
    text = "cat dog mat " * 20_000
    ids = encoder.tokenizer.encode(text, add_special_tokens=False).ids
    mean = encoder.weights[ids].astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(encoder.encode(text), mean / np.linalg.norm(mean), atol=3e-5)


def test_cut_texts_are_counted_with_the_tokens_they_lost(
    encoder: StaticEncoder, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder.tokenizer.enable_truncation(5)
    encoder.encode(["cat cat cat", "cat " * 20, "cat " * 10])
    found = encoder.last_truncation
    assert (found.texts_cut, found.tokens_cut, found.limit, found.total) == (2, 15 + 5, 5, 3)
    assert "2 of 3 texts were cut at 5 tokens, losing 67% of their tokens" in capsys.readouterr().err
    list(encoder.encode_stream(["cat " * 20] * 40, batch_size=2))
    assert (encoder.last_truncation.texts_cut, encoder.last_truncation.total) == (40, 40)


def test_fingerprint_survives_saving_and_changes_with_one_weight(encoder: StaticEncoder, tmp_path: Path) -> None:
    encoder.save(tmp_path / "model")
    assert load(tmp_path / "model").fingerprint == encoder.fingerprint
    weights = encoder.weights.copy()
    weights[3, 3] += 1
    assert StaticEncoder(encoder.tokenizer, weights, prompts=encoder.prompts).fingerprint != encoder.fingerprint


def test_options_out_of_range_and_unknown_prompts_are_sentences(encoder: StaticEncoder) -> None:
    with pytest.raises(UserError, match=r"'quary'.*did you mean 'query'"):
        encoder.encode("x", prompt_name="quary")
    with pytest.raises(UserError, match="truncate_dim must lie between 1 and 24"):
        encoder.encode("x", truncate_dim=25)
    with pytest.raises(UserError, match="text 2 is a int"):
        encoder.encode(["x", 3])  # type: ignore[list-item]
    with pytest.raises(UserError, match="batch_size"):
        encoder.encode("x", batch_size=0)


def test_saving_never_replaces_a_folder_that_is_no_model(encoder: StaticEncoder, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="no model"):
        encoder.save(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_loading_and_encoding_imports_neither_torch_nor_sentence_transformers(
    encoder: StaticEncoder, tmp_path: Path
) -> None:
    encoder.save(tmp_path / "model")
    program = (
        "import sys, similis.encoders as e; e.load(sys.argv[1]).encode(['cat']);"
        "print([m for m in ('torch', 'sentence_transformers', 'transformers', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "model")], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
