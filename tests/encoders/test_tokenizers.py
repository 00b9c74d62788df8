"""Training tokenizers, and tokenised texts as flat arrays against plain lists."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from similis.encoders import TokenizedTexts, tokenize, tokenize_cached, tokenizer_from, train_tokenizer
from similis.errors import UserError

WORDS = [
    "alpha",
    "beta",
    "gamma",
    "delta",
    "epsilon",
    "zeta",
    "eta",
    "theta",
    "iota",
    "kappa",
    "lambda",
    "unbelievable",
    "believable",
    "unable",
]
TEXTS = [" ".join(WORDS[i * 5 % 14] for i in range(k, k + 9)) + ", " + "x" * (k % 5) for k in range(60)]


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "word"])
def test_the_same_texts_give_the_same_tokenizer_in_every_process(kind: str) -> None:
    program = (
        "import sys, hashlib; from similis.encoders import train_tokenizer;"
        f"t = train_tokenizer(sys.argv[1:], 120, kind={kind!r}); print(hashlib.sha256(t.to_str().encode()).hexdigest())"
    )
    found = {
        subprocess.run([sys.executable, "-c", program, *TEXTS], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    here = train_tokenizer(iter(TEXTS), 120, kind=kind).to_str()
    assert found == {hashlib.sha256(here.encode()).hexdigest() + "\n"}


@pytest.mark.parametrize("kind", ["wordpiece", "bpe"])
def test_subword_tokens_put_together_are_the_words_of_the_text(kind: str) -> None:
    tokenizer = train_tokenizer(TEXTS, 120, kind=kind)
    tokens = tokenizer.encode("Unbelievable, betagamma").tokens
    assert "".join(token.removeprefix("##") for token in tokens) == "unbelievable,betagamma"
    assert tokenizer.get_vocab_size() <= 120


def test_no_trained_token_but_the_unknown_one_is_special() -> None:
    tokenizer = train_tokenizer(TEXTS, 120, kind="wordpiece")
    assert [each.content for each in tokenizer.get_added_tokens_decoder().values()] == ["[UNK]"]
    # a special "##a" would be cut out of a text wherever it stands
    assert "##a" not in tokenizer.encode("##alpha").tokens[:2]


def test_script_without_spaces_gets_subwords_and_not_one_unknown_token_a_clause() -> None:
    texts = ["東京都は日本の首都である。", "京都は日本の古い首都である。", "大阪は日本の都市である。"] * 5
    tokenizer = train_tokenizer(texts, 200)
    tokens = tokenizer.encode("東京は日本の都市である").tokens
    assert "[UNK]" not in tokens
    assert 1 < len(tokens) < 11


def test_bad_settings_and_empty_texts_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'wordpiece'"):
        train_tokenizer(TEXTS, kind="wordpeice")
    with pytest.raises(UserError, match="empty"):
        train_tokenizer(["", " \n"])
    with pytest.raises(UserError, match=r"no tokenizer\.json"):
        tokenizer_from(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"version": ')
    with pytest.raises(UserError, match="not a readable tokenizer"):
        tokenizer_from(tmp_path)


lists = st.lists(st.lists(st.integers(0, 50), max_size=6), min_size=1, max_size=12)


def flat(rows: list[list[int]]) -> TokenizedTexts:
    offsets = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    return TokenizedTexts(np.array([i for row in rows for i in row], dtype=np.int32), offsets)


def unflat(texts: TokenizedTexts) -> list[list[int]]:
    assert texts.ids.dtype == np.int32
    assert texts.offsets[0] == 0
    assert texts.offsets[-1] == len(texts.ids)
    return [texts.ids[a:b].tolist() for a, b in zip(texts.offsets[:-1], texts.offsets[1:], strict=True)]


@given(lists, st.data())
@settings(max_examples=60, deadline=None)
def test_rows_slices_cuts_and_frequencies_are_those_of_plain_lists(rows: list[list[int]], data: st.DataObject) -> None:
    texts = flat(rows)
    picked = data.draw(st.lists(st.integers(-len(rows), len(rows) - 1), max_size=15))
    piece = slice(*data.draw(st.tuples(*[st.none() | st.integers(-14, 14)] * 2, st.sampled_from([None, 1, 2, -1]))))
    assert unflat(texts[picked]) == [rows[i] for i in picked]
    assert unflat(texts[piece]) == rows[piece]
    assert unflat(texts.cut(3)) == [row[:3] for row in rows]
    counted = [sum(token in row for row in rows) for token in range(51)]
    assert texts.document_frequency(51).tolist() == counted


def test_tokenising_gives_the_ids_of_the_tokenizer_whatever_the_threads() -> None:
    tokenizer = train_tokenizer(TEXTS, 120)
    expected = [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
    assert unflat(tokenize(tokenizer, TEXTS)) == expected
    assert unflat(tokenize(tokenizer, iter(TEXTS), threads=2)) == expected
    assert unflat(tokenize(tokenizer, TEXTS, max_tokens=4)) == [ids[:4] for ids in expected]
    assert len(tokenize(tokenizer, [])) == 0


def test_cache_is_used_for_the_same_texts_only_and_made_anew_when_damaged(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(TEXTS, 120)
    first = tokenize_cached(tokenizer, TEXTS, tmp_path)
    (folder,) = tmp_path.iterdir()
    stamp = (folder / "ids.npy").stat().st_mtime_ns
    assert unflat(tokenize_cached(tokenizer, TEXTS, tmp_path)) == unflat(first)
    assert (folder / "ids.npy").stat().st_mtime_ns == stamp
    tokenize_cached(tokenizer, TEXTS[:-1], tmp_path)
    tokenize_cached(tokenizer, TEXTS, tmp_path, max_tokens=2)
    assert len(list(tmp_path.iterdir())) == 3
    (folder / "ids.npy").write_bytes(b"broken")
    assert unflat(tokenize_cached(tokenizer, TEXTS, tmp_path)) == unflat(first)
    (folder / "offsets.npy").unlink()
    with pytest.raises(UserError, match="no readable tokenised texts"):
        TokenizedTexts.load(folder)
