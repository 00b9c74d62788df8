"""Texts longer than a transformer reads: windows and what they give, positions beyond those learned."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from family_models import LIMIT, WORDS, bert, pairs, texts

from similis.encoders import create, load
from similis.encoders.fast import fast
from similis.encoders.library.long_texts import extended, windowed
from similis.encoders.modules import WindowAggregation
from similis.encoders.modules.splitting import pieces
from similis.errors import UserError
from similis.training import train

RNG = random.Random(0)
LONG = [" ".join(RNG.choice(WORDS) for _ in range(count)) for count in (60, 23, 47, 5)]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Any:
    home = tmp_path_factory.mktemp("long")
    return create(f"dense:{bert(home / 'bert')}")


def slices(text: str, room: int, step: int) -> list[str]:
    """Windows of whole words: every word of the tiny models is one token."""
    words = text.split()
    last = max(0, -(-(len(words) - room) // step))
    return [" ".join(words[start * step : start * step + room]) for start in range(last + 1)]


@pytest.mark.parametrize(("size", "step"), [(12, 5), (12, 10), (LIMIT, None), (3, 1)])
def test_a_long_text_is_the_mean_or_maximum_of_its_windows(plain: Any, size: int, step: int | None) -> None:
    room = size - 2
    for how in ("mean", "max"):
        found = windowed(plain, how, size=size, step=step).encode(LONG, batch_size=3)
        for text, vector in zip(LONG, found, strict=True):
            parts = plain.encode(slices(text, room, step or room // 2))
            expected = parts.mean(0) if how == "mean" else parts.max(0)
            np.testing.assert_allclose(vector, expected, atol=2e-5)


def test_a_prompt_stands_before_each_window(plain: Any) -> None:
    made = windowed(plain, size=12, step=4)
    made.prompts["document"] = made.model.prompts["document"] = "bal dol "
    for text, vector in zip(LONG, made.encode_document(LONG), strict=True):
        parts = plain.encode(["bal dol " + each for each in slices(text, 8, 4)])
        np.testing.assert_allclose(vector, parts.mean(0), atol=2e-5)


def test_short_texts_keep_their_vectors_and_nothing_is_cut(plain: Any) -> None:
    rows = texts(8)
    for how in ("mean", "max", "attention", "attention_mean"):
        made = windowed(plain, how)
        np.testing.assert_allclose(made.encode(rows), plain.encode(rows), atol=2e-5)
        made.encode(LONG)
        assert made.last_truncation.texts_cut == 0
    two = windowed(plain, size=12, step=5, most=2)
    two.encode(LONG)
    assert two.last_truncation.texts_cut == 3
    assert two.last_truncation.tokens_cut == (62 - 17) + (25 - 17) + (49 - 17)


def test_attention_over_windows_is_a_softmax_of_their_scores() -> None:
    torch.manual_seed(0)
    rows, counts = torch.randn(5, 3), torch.tensor([2, 3])
    for how in ("attention", "attention_mean"):
        step = WindowAggregation(3, how)
        torch.nn.init.normal_(step.scores.weight)
        found = step({"sentence_embedding": rows, "windows": counts})["sentence_embedding"]
        for vector, own in zip(found, (rows[:2], rows[2:]), strict=True):
            scores = (own @ step.scores.weight[0]).exp()
            attended = (scores / scores.sum()) @ own
            expected = attended if how == "attention" else (attended + own.mean(0)) / 2
            torch.testing.assert_close(vector, expected)


def test_windows_learn_and_are_saved_on_both_towers(tmp_path: Path) -> None:
    one, other = bert(tmp_path / "one"), bert(tmp_path / "other", seed=2)
    rows = [(a, " ".join([b] * 6)) for a, b in pairs(30)]
    base = f"dense(windows=attention(size=10), documents='{other}'):{one}"
    trained: Any = train(
        rows, base=base, output=tmp_path / "m", max_steps=4, batch_size=8, learning_rate=1e-2, dev=False
    ).encoder
    again = load(tmp_path / "m")
    assert again.fingerprint == trained.fingerprint
    assert float(again.model[1].scores.weight.detach().abs().max()) > 1e-3
    for side in ("encode_query", "encode_document"):
        np.testing.assert_allclose(getattr(again, side)(LONG), getattr(trained, side)(LONG), atol=1e-6)


CODE = """import bal

@dol
def fas(bel):
    gat = bel
    if gat:
        return fol

    return [
        kin,
    ]
"""


def test_python_is_cut_where_statements_begin_and_other_texts_at_blank_lines() -> None:
    found = pieces(CODE, "python")
    begins = ["import", "@dol\ndef", "    gat", "    if", "        return fol", "    return ["]
    assert [part.startswith(begin) for part, begin in zip(found, begins, strict=True)] == [True] * 6
    assert "".join(found) == CODE
    no_code = "bal dol\n\nfas is (\nfol\n \n\n\nkin"
    for how in ("python", "paragraphs"):
        parts = pieces(no_code, how)
        assert [part.strip() for part in parts] == ["bal dol", "fas is (\nfol", "kin"]
        assert "".join(parts) == no_code
    assert pieces("bal = 'a\x0cb'\r\ndol", "python") == ["bal = 'a\x0cb'\r\n", "dol"]


def test_whole_paragraphs_fill_a_window_and_a_longer_one_is_read_by_itself(plain: Any, tmp_path: Path) -> None:
    words = LONG[0].split()
    sizes = [3, 4, 5, 26, 2, 2]  # with room for 10: 3 + 4, 5, then 26 in windows, then 2 + 2
    starts = np.cumsum([0, *sizes])
    parts = [" ".join(words[a:b]) for a, b in pairwise(starts)]
    made = windowed(plain, size=12, step=5, split="paragraphs")
    blocks = [f"{parts[0]} {parts[1]}", parts[2], *slices(parts[3], 10, 5), f"{parts[4]} {parts[5]}"]
    text = "\n\n".join(parts)
    np.testing.assert_allclose(made.encode([LONG[1], text])[1], plain.encode(blocks).mean(0), atol=2e-5)
    made.save(tmp_path / "m")
    np.testing.assert_allclose(load(tmp_path / "m").encode(text), made.encode(text), atol=1e-6)


@pytest.mark.parametrize("pooling", ["weighted_layer", "latent_attention(latents=4, heads=2)"])
def test_windows_go_with_any_pooling(pooling: str, tmp_path: Path) -> None:
    base = f"dense(pooling={pooling}@):{bert(tmp_path / 'bert')}"
    made, plain = create(base.replace("@", ", windows=mean(size=12, step=5)")), create(base.replace("@", ""))
    expected = [plain.encode(slices(text, 10, 5)).mean(0) for text in LONG]
    np.testing.assert_allclose(made.encode(LONG), expected, atol=2e-5)


@pytest.mark.parametrize(
    "options", ["windows=mean(size=12)", "positions=interpolate", "pooling=scalar_mix", "pooling=weighted_layer"]
)
def test_models_with_parts_of_ours_are_read_in_bfloat16_too(options: str, tmp_path: Path) -> None:
    encoder: Any = create(f"dense({options}):{bert(tmp_path / 'bert')}")
    found = fast(encoder, "bfloat16").compare([*texts(12), *LONG])
    assert 0.99 < found.cosine < 1 - 1e-8


def test_interpolated_positions_lie_between_the_learned_and_short_texts_keep_theirs(plain: Any, tmp_path: Path) -> None:
    made: Any = extended(plain, 3)
    old = plain.model[0].auto_model.embeddings.position_embeddings.weight.detach()
    new = made.model[0].auto_model.embeddings.position_embeddings.weight.detach()
    assert made.max_tokens == 3 * LIMIT == len(new)
    torch.testing.assert_close(new[::3], old)
    torch.testing.assert_close(new[4], old[1] * 2 / 3 + old[2] / 3)
    # short and long texts in one batch: each has its own positions
    rows = [*texts(4), *LONG]
    found = made.encode(rows)
    np.testing.assert_allclose(found[:4], plain.encode(rows[:4]), atol=2e-5)
    np.testing.assert_allclose(found[4], made.encode(LONG[0]), atol=2e-5)
    assert made.last_truncation.texts_cut == 0
    made.save(tmp_path / "m")
    again = load(tmp_path / "m")
    assert again.max_tokens == 3 * LIMIT
    np.testing.assert_allclose(again.encode(rows), found, atol=1e-6)


def test_recurrent_positions_begin_anew(plain: Any, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    made: Any = extended(plain, 3, "recurrent")
    table = made.model[0].auto_model.embeddings.position_embeddings.weight
    torch.testing.assert_close(table[LIMIT : 2 * LIMIT], table[:LIMIT])
    np.testing.assert_allclose(made.encode(texts(4)), plain.encode(texts(4)), atol=2e-5)
    assert np.abs(made.encode(LONG)[0] - plain.encode(LONG)[0]).max() > 1e-3
    made.save(tmp_path / "m")
    theirs = SentenceTransformer(str(tmp_path / "m"), device="cpu")  # no step of ours is in it
    np.testing.assert_allclose(theirs.encode(LONG), made.encode(LONG), atol=2e-5)


def test_positions_of_a_model_that_counts_from_padding_are_stretched_behind_it(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from transformers import BertTokenizerFast, RobertaConfig, RobertaModel

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = RobertaConfig(
        vocab_size=len(words), max_position_embeddings=21, pad_token_id=0, initializer_range=0.3, **sizes
    )
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    RobertaModel(config).save_pretrained(tmp_path)
    BertTokenizerFast(str(tmp_path / "vocab.txt"), model_max_length=20).save_pretrained(tmp_path)
    model = SentenceTransformer(modules=[Transformer(str(tmp_path)), Pooling(16)], device="cpu")
    model.save_pretrained(str(tmp_path / "model"))
    plain = load(tmp_path / "model")
    made: Any = extended(plain, 2)
    assert made.max_tokens == 40
    np.testing.assert_allclose(made.encode(texts(4)), plain.encode(texts(4)), atol=2e-5)
    made.encode(LONG)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dense(windows=mean(split=words)):@", "tokens, paragraphs, python, not at 'words'"),
        ("dense(windows=meen):@", "did you mean 'mean'"),
        ("dense(windows=mean(size=2)):@", "from 3 to 24 tokens"),
        ("dense(windows=mean(size=10, step=9)):@", "between 1 and 8, got 9"),
        ("dense(windows=mean(length=10)):@", "size and step and most, not length=10"),
        ("dense(positions=recurrent(factor=1)):@", "at least 2, got 1"),
        ("dense(positions=rope):@", "interpolate or recurrent"),
        ("dense(windows=mean, positions=interpolate):@", "reads as it does"),
    ],
)
def test_what_cannot_be_read_is_told_in_words(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        create(text.replace("@", str(bert(tmp_path / "bert"))))
