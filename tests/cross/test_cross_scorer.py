"""A cross-encoder scores pairs as the library does, whatever the batch, and says what it did not read."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from cross_models import WORDS, tiny_dense
from sentence_transformers import CrossEncoder
from tokenizers import Tokenizer

from similis.encoders import create, load
from similis.encoders.scorers.cross import CrossEncoderScorer
from similis.errors import UserError


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dense(tmp_path_factory.mktemp("dense"))


@pytest.fixture(scope="module")
def scorer(dense: Path) -> CrossEncoderScorer:
    return CrossEncoderScorer.new(dense)


def some_pairs(count: int) -> list[tuple[str, str]]:
    generator = random.Random(0)

    def text() -> str:
        return " ".join(generator.choices(WORDS, k=generator.randrange(1, 40)))

    return [(text(), text()) for _ in range(count)]


def test_scores_are_those_of_the_library_after_saving(scorer: CrossEncoderScorer, tmp_path: Path) -> None:
    scorer.save(tmp_path / "saved")
    theirs = CrossEncoder(str(tmp_path / "saved"), device="cpu", local_files_only=True)
    pairs = some_pairs(30)
    assert np.abs(scorer.score(pairs) - theirs.predict(pairs)).max() < 1e-6
    again = CrossEncoderScorer.open(tmp_path / "saved")
    assert again.fingerprint == scorer.fingerprint
    assert again.activation == "sigmoid"
    again.activation = "identity"
    again.save(tmp_path / "raw")
    raw = CrossEncoder(str(tmp_path / "raw"), device="cpu", local_files_only=True).predict(pairs)
    assert np.abs(scorer.score(pairs, raw=True) - raw).max() < 1e-6
    assert again.fingerprint != scorer.fingerprint


def test_the_library_s_own_cross_encoder_is_read(dense: Path, tmp_path: Path) -> None:
    CrossEncoder(str(dense), num_labels=1, device="cpu", local_files_only=True).save_pretrained(
        str(tmp_path / "theirs")
    )
    theirs = CrossEncoder(str(tmp_path / "theirs"), device="cpu", local_files_only=True)
    pairs = some_pairs(10)
    assert np.abs(CrossEncoderScorer.open(tmp_path / "theirs").score(pairs) - theirs.predict(pairs)).max() < 1e-6


def test_a_score_depends_on_neither_batch_nor_neighbours(scorer: CrossEncoderScorer) -> None:
    pairs = some_pairs(40)
    whole = scorer.score(pairs, raw=True)
    assert np.abs(whole - scorer.score(pairs, batch_size=3, raw=True)).max() < 1e-5
    assert np.abs(whole[::-1] - scorer.score(pairs[::-1], batch_size=7, raw=True)).max() < 1e-5
    assert whole.dtype == np.float32
    assert scorer.score([]).shape == (0,)


def test_cut_pairs_are_counted(scorer: CrossEncoderScorer, capsys: pytest.CaptureFixture[str]) -> None:
    assert scorer.max_tokens == 48  # twice what the base reads of one text
    scorer.score([("bal " * 40, "bel " * 40), ("bal", "bel")])
    cut = scorer.last_truncation
    # 40 + 40 words and [CLS], [SEP], [SEP]
    assert (cut.texts_cut, cut.tokens_cut, cut.limit, cut.total) == (1, 83 - 48, 48, 2)
    assert "1 of 2 texts was cut at 48 tokens" in capsys.readouterr().err


def test_rank_orders_documents_by_raw_score(scorer: CrossEncoderScorer) -> None:
    query, documents = "bal dem", [text for text, _ in some_pairs(9)]
    found = scorer.rank(query, documents, top_k=4)
    raw = scorer.score([(query, document) for document in documents], raw=True)
    assert [place for place, _ in found] == np.argsort(-raw)[:4].tolist()


def test_a_new_head_follows_its_seed(dense: Path) -> None:
    first, again, other = (CrossEncoderScorer.new(dense, seed) for seed in (3, 3, 4))
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_what_cannot_be_scored_is_refused(scorer: CrossEncoderScorer, dense: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="pair 2 must be two strings"):
        scorer.score([("a", "b"), ("a", 3)])  # type: ignore[list-item]
    with pytest.raises(UserError, match="no prompt called 'query'"):
        scorer.score([("a", "b")], prompt_name="query")
    with pytest.raises(UserError, match="batch_size"):
        scorer.score([("a", "b")], batch_size=0)
    with pytest.raises(UserError, match="activation must be one of identity, sigmoid"):
        scorer.activation = "sigmod"
    CrossEncoder(str(dense), num_labels=3, device="cpu", local_files_only=True).save_pretrained(str(tmp_path / "nli"))
    with pytest.raises(UserError, match="gives 3 scores a pair"):
        CrossEncoderScorer.open(tmp_path / "nli")
    with pytest.raises(UserError, match=r"is no transformer's folder"):
        CrossEncoderScorer.new(tmp_path)


def test_load_and_create_give_cross_encoders(scorer: CrossEncoderScorer, dense: Path, tmp_path: Path) -> None:
    scorer.save(tmp_path / "saved")
    loaded = load(tmp_path / "saved")
    assert (loaded.family, loaded.fingerprint) == ("cross", scorer.fingerprint)
    assert create(f"cross:{dense}", seed=0).fingerprint == scorer.fingerprint
    with pytest.raises(UserError, match="gives no vectors; re-rank with it"):
        loaded.encode(["a text"])


@pytest.mark.parametrize(
    ("damage", "said"),
    [("cut", "is truncated or damaged"), ("unweighted", "holds no weights"), ("larger", "do not belong together")],
)
def test_damaged_folders_are_named(scorer: CrossEncoderScorer, tmp_path: Path, damage: str, said: str) -> None:
    scorer.save(tmp_path / "m")
    weights, words = tmp_path / "m" / "model.safetensors", tmp_path / "m" / "tokenizer.json"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif damage == "unweighted":
        weights.unlink()
    else:
        tokenizer = Tokenizer.from_file(str(words))
        tokenizer.add_tokens(["onemore"])
        tokenizer.save(str(words))
    with pytest.raises(UserError, match=said):
        load(tmp_path / "m")
