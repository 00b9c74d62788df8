"""Sparse and multi-vector models: what they give is the library's, both ways, and broken folders are told in words."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from family_models import LIMIT, WORDS, bert, texts
from sentence_transformers import MultiVectorEncoder, SparseEncoder
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sparse_encoder.modules import SparseAutoEncoder, SpladePooling

from similis.encoders import MultiVectorLibraryEncoder, SparseLibraryEncoder, create, load
from similis.encoders.library.creating import idf
from similis.errors import UserError

TEXTS = [*texts(20), "", "bal " * 40]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``head``, ``headless`` and ``other`` (fewer words): plain transformers."""
    home = tmp_path_factory.mktemp("families")
    bert(home / "head")
    bert(home / "headless", head=False)
    bert(home / "small", seed=3)
    bert(home / "other", words=80)
    return home


def base(text: str, folder: Path) -> str:
    return text.replace("@", f"{folder}/")


SPARSE = [
    "sparse:@head",
    "sparse(pooling=sum):@headless",
    "sparse(queries=idf):@head",
    "sparse(queries='@small'):@head",
    "sparse(queries=words, expansion=False):@headless",
]


@pytest.mark.parametrize("text", SPARSE)
def test_sparse_vectors_are_the_librarys_before_and_after_saving(text: str, folder: Path, tmp_path: Path) -> None:
    encoder: Any = create(base(text, folder), corpus_texts=TEXTS)
    encoder.save(tmp_path / "m")
    again, theirs = load(tmp_path / "m"), SparseEncoder(str(tmp_path / "m"), device="cpu")
    assert isinstance(again, SparseLibraryEncoder)
    assert again.fingerprint == encoder.fingerprint
    assert again.similarity_name == "dot"
    for side in ("encode_query", "encode_document"):
        expected = getattr(theirs, side)(TEXTS).to_dense().numpy()
        for own in (encoder, again):
            found = getattr(own, side)(TEXTS, batch_size=3)
            assert found.dtype == np.float32
            assert found.format == "csr"
            np.testing.assert_allclose(found.toarray(), expected, atol=1e-5)
            assert found.nnz == np.count_nonzero(expected)
    assert encoder.encode("bal").shape == (1, encoder.dimension)
    assert encoder.encode([]).shape == (0, encoder.dimension)


@pytest.mark.parametrize("text", ["multi_vector(dimension=16):@head", "multi_vector:@headless"])
@pytest.mark.parametrize("factor", [1, 2])
def test_token_vectors_are_the_librarys_before_and_after_saving(
    text: str, factor: int, folder: Path, tmp_path: Path
) -> None:
    encoder: Any = create(base(text, folder))
    encoder = encoder.pooled(factor) if factor > 1 else encoder
    encoder.save(tmp_path / "m")
    again, theirs = load(tmp_path / "m"), MultiVectorEncoder(str(tmp_path / "m"), device="cpu")
    assert isinstance(again, MultiVectorLibraryEncoder)
    assert again.fingerprint == encoder.fingerprint
    if factor == 1:
        assert create(base(text, folder)).fingerprint == encoder.fingerprint
    for side in ("encode_query", "encode_document"):
        expected = [tokens.numpy() for tokens in getattr(theirs, side)(TEXTS)]
        for own in (encoder, again):
            found = getattr(own, side)(TEXTS, batch_size=3)
            assert [tokens.shape for tokens in found] == [tokens.shape for tokens in expected]
            assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(found, expected, strict=True))
    short = encoder.encode(TEXTS[:3], truncate_dim=4)
    assert all(np.allclose(np.linalg.norm(tokens, axis=1), 1, atol=1e-5) for tokens in short)
    streamed = [tokens for part in encoder.encode_stream(TEXTS, 4, task="query") for tokens in part]
    assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(streamed, encoder.encode_query(TEXTS), strict=True))


def test_models_made_by_the_library_are_read_with_their_settings(folder: Path, tmp_path: Path) -> None:
    first = Transformer(str(folder / "head"), transformer_task="fill-mask")
    given: dict[str, Any] = {"similarity_fn_name": "cosine", "max_active_dims": 5, "prompts": {"query": "bal "}}
    theirs = SparseEncoder(modules=[first, SpladePooling("max")], device="cpu", **given)
    theirs.save_pretrained(str(tmp_path / "sparse"))
    ours = load(tmp_path / "sparse")
    assert ours.similarity_name == "cosine"
    assert ours.dimension == len(WORDS) + 5  # the library itself does not know before it has encoded something
    np.testing.assert_allclose(ours.encode_query(TEXTS).toarray(), theirs.encode_query(TEXTS).to_dense(), atol=1e-5)
    assert ours.encode(TEXTS).nnz == 5 * len(TEXTS)
    late = MultiVectorEncoder(str(folder / "headless"), similarity_fn_name="meanmaxsim", device="cpu")
    late[0].query_expansion = {"strategy": "fixed", "attend": False, "length": 12}
    late[0].document_length = 8
    late.save_pretrained(str(tmp_path / "late"))
    read = load(tmp_path / "late")
    assert read.similarity_name == "maxsim(mean=True)"
    for own, expected in zip(read.encode_query(TEXTS), late.encode_query(TEXTS), strict=True):
        np.testing.assert_allclose(own, expected.numpy(), atol=1e-5)
    read.encode_document(TEXTS)
    # [CLS] and [SEP] are tokens too
    assert read.last_truncation.texts_cut == sum(len(text.split()) + 2 > 8 for text in TEXTS)
    assert read.last_truncation.limit == 8


def test_a_sparse_autoencoder_over_dense_vectors_is_a_sparse_model(folder: Path, tmp_path: Path) -> None:
    from sentence_transformers.sentence_transformer.modules import Pooling

    torch.manual_seed(0)
    body = Transformer(str(folder / "headless"))
    modules = [body, Pooling(32), SparseAutoEncoder(32, hidden_dim=64, k=6, k_aux=8)]
    theirs = SparseEncoder(modules=modules, device="cpu")
    theirs.save_pretrained(str(tmp_path / "m"))
    ours = load(tmp_path / "m")
    assert (ours.family, ours.dimension) == ("sparse", 64)
    np.testing.assert_allclose(ours.encode(TEXTS).toarray(), theirs.encode(TEXTS).to_dense(), atol=1e-5)


def test_a_text_cut_is_counted_by_the_side_that_reads_it(folder: Path) -> None:
    encoder: Any = create(base("sparse(queries=idf):@head", folder), corpus_texts=TEXTS)
    encoder.encode_query(["bal " * 30])
    assert (encoder.last_truncation.tokens_cut, encoder.last_truncation.limit) == (30 - LIMIT, LIMIT)
    encoder.encode_document(["bal " * 30])  # with [CLS] and [SEP]
    assert encoder.last_truncation.tokens_cut == 32 - LIMIT


def test_query_weights_are_the_rarity_of_words(folder: Path) -> None:
    rows = ["bal bal ben", "ben", "bal ben bin", "ben unknownword"]
    encoder: Any = create(base("sparse(queries=idf):@head", folder), corpus_texts=rows)
    vocabulary = encoder._first("query").tokenizer.get_vocab()
    found = encoder.encode_query("bal ben ben bin")
    expected = {word: np.log(1 + (4 - n + 0.5) / (n + 0.5)) for word, n in (("bal", 2), ("ben", 4), ("bin", 1))}
    for word, weight in expected.items():
        assert found[0, vocabulary[word]] == pytest.approx(weight, rel=1e-5)
    assert found.nnz == 3
    tokenizer = encoder._first("query").tokenizer
    assert idf(tokenizer, rows, 100)[vocabulary["bal"]] == pytest.approx(expected["bal"], rel=1e-5)


def test_without_expansion_a_text_has_weights_for_its_own_words_alone(folder: Path) -> None:
    full: Any = create(base("sparse:@head", folder))
    own: Any = create(base("sparse(queries=words, expansion=False):@head", folder))
    row, text = own.encode_document(["bal ben bin ben"])[0], "bal ben bin ben"
    vocabulary = full.model.tokenizer.get_vocab()
    assert {word for word, _ in own.words(row)[0]} <= {"bal", "ben", "bin"}
    for word in ("bal", "ben", "bin"):
        assert row[0, vocabulary[word]] == pytest.approx(full.encode([text])[0, vocabulary[word]], abs=1e-6)
    assert sorted(own.words(own.encode_query([text]))[0]) == [("bal", 1.0), ("ben", 1.0), ("bin", 1.0)]


def test_a_batch_too_large_for_memory_is_read_in_parts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from similis.encoders.library import sparse

    encoder: Any = create(base("sparse:@head", folder))
    whole, seen = encoder.encode(TEXTS).toarray(), []
    forward = encoder.forward_features
    monkeypatch.setattr(sparse, "_TOKENS", 50)
    monkeypatch.setattr(encoder, "forward_features", lambda f: seen.append(f["input_ids"].numel()) or forward(f))
    np.testing.assert_allclose(encoder.encode(TEXTS).toarray(), whole, atol=1e-5)
    assert max(seen) <= 50


def test_a_new_head_is_tied_to_the_input_vectors_and_starts_sparse(folder: Path) -> None:
    encoder: Any = create(base("sparse:@headless", folder), corpus_texts=TEXTS)
    model = encoder.model[0].auto_model
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert torch.equal(model.cls.predictions.transform.dense.weight, torch.eye(32))
    full: Any = create(base("sparse:@headless", folder))
    assert encoder.encode(TEXTS).nnz / len(TEXTS) < 0.06 * encoder.dimension < full.encode(TEXTS).nnz / len(TEXTS)
    with_head: Any = create(base("sparse:@head", folder))
    assert not torch.equal(with_head.model[0].auto_model.cls.predictions.transform.dense.weight, torch.eye(32))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sparse(pooling=mean):@head", "pooling must be max or sum"),
        ("sparse(queries=idf):@head", "give corpus_texts"),
        ("sparse(queries='@other'):@head", "different vocabularies"),
        (
            "sparse(pool=max):@head",
            r"sparse takes pooling \(str\), queries \(str\), expansion \(bool\), not pool='max'",
        ),
        ("sparse:@nowhere", "no transformer's folder"),
        ("multi_vector(dimension=64):@head", "between 1 and 32"),
        ("multi_vector(dimension='16'):@head", "not dimension='16'"),
    ],
)
def test_a_model_that_cannot_be_made_is_told_in_words(text: str, said: str, folder: Path) -> None:
    with pytest.raises(UserError, match=said):
        create(base(text, folder))


@pytest.fixture
def routed(folder: Path, tmp_path: Path) -> Path:
    create(base("sparse(queries=idf):@head", folder), corpus_texts=TEXTS).save(tmp_path / "m")
    return tmp_path / "m"


def change(file: Path, edit: Any) -> None:
    settings = json.loads(file.read_text())
    edit(settings)
    file.write_text(json.dumps(settings))


def test_an_incomplete_or_damaged_route_is_named(routed: Path) -> None:
    weights = next(routed.glob("*document*/model.safetensors"))
    kept = weights.read_bytes()
    weights.write_bytes(kept[:-30])
    with pytest.raises(UserError, match=r"document.*truncated or damaged"):
        load(routed)
    weights.unlink()
    with pytest.raises(UserError, match=r"document.*holds no weights"):
        load(routed)
    weights.with_name("pytorch_model.bin").write_bytes(kept)
    with pytest.raises(UserError, match="is a pickle"):
        load(routed)
    shutil.rmtree(weights.parent)
    with pytest.raises(UserError, match="is missing"):
        load(routed)
    (routed / "router_config.json").unlink()
    with pytest.raises(UserError, match="has no router_config"):
        load(routed)


def test_routes_outside_the_folder_and_foreign_code_are_refused(routed: Path) -> None:
    file = routed / "router_config.json"
    kept = file.read_text()
    change(file, lambda settings: settings["types"].update({"../x": "sentence_transformers.models.Transformer"}))
    with pytest.raises(UserError, match="outside the model's folder"):
        load(routed)
    file.write_text(kept)
    change(file, lambda settings: settings["types"].update({"x": "theirs.Code"}))
    with pytest.raises(UserError, match="not run"):
        load(routed)
    file.write_text(kept)
    change(next(routed.glob("query*/config.json")), lambda settings: settings.update(path="../../secret.json"))
    with pytest.raises(UserError, match=r"secret\.json', outside the model's folder"):
        load(routed)


def test_a_tokenizer_of_more_words_than_weights_is_refused(folder: Path, tmp_path: Path) -> None:
    for number, text in enumerate(("sparse:@other", "multi_vector(dimension=16):@other")):
        made = tmp_path / str(number)
        create(base(text, folder)).save(made)
        shutil.copy(folder / "head" / "tokenizer.json", made / "tokenizer.json")
        with pytest.raises(UserError, match="has 100 tokens and the weights have rows for 85"):
            load(made)


def test_a_model_of_one_family_is_not_read_as_another(folder: Path, tmp_path: Path) -> None:
    create(base("sparse:@head", folder)).save(tmp_path / "m")
    settings = tmp_path / "m" / "config_sentence_transformers.json"
    change(settings, lambda found: found.update(similarity_fn_name="manhattan"))
    with pytest.raises(UserError, match="dot or cosine, not 'manhattan'"):
        load(tmp_path / "m")
    create(base("multi_vector(dimension=16):@head", folder)).save(tmp_path / "l")
    settings = tmp_path / "l" / "config_sentence_transformers.json"
    change(settings, lambda found: found.update(similis_similarity="cosine"))
    with pytest.raises(UserError, match="token by token"):
        load(tmp_path / "l")
    with pytest.raises(UserError, match="truncate_dim cuts dense vectors"):
        create(base("sparse:@head", folder)).encode(TEXTS, truncate_dim=4)
    with pytest.raises(UserError, match="own normalisation"):
        load_late(folder).encode(TEXTS, normalize=False)


def load_late(folder: Path) -> Any:
    return create(base("multi_vector(dimension=16):@head", folder))
