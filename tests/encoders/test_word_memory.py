"""Remembered words give the tokens that the tokenizer gives."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from similis.encoders.static.tokenizers import train_tokenizer
from similis.encoders.static.word_memory import WordMemory, cuts_words_apart

CORPUS = [
    "The quick brown fox jumps over the lazy dog; the dog (a good one) sleeps.",
    "def tokenize(text: str) -> list[int]: return [ids[w] for w in text.split()]",
    "Größe und Maß: naïve cafés, ﬁnancial ½ 東京タワー",
    "isn't it 3.14 or 2,718? e-mail_me@example.org\tTAB\x0bVT\x1cFS",
] * 3
TOKENIZERS = {
    f"{kind}, lowercase={lowercase}": train_tokenizer(CORPUS, 300, kind=kind, lowercase=lowercase)
    for kind in ("bpe", "wordpiece", "word")
    for lowercase in (True, False)
}
TEXTS = st.lists(
    st.one_of(
        st.text(max_size=40),
        st.text(st.characters(max_codepoint=127), max_size=60),
        st.sampled_from([*CORPUS, "", " ", "[UNK] here", "x[UNK]y", "[unk]"]),
    ),
    max_size=8,
)


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=60, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=3))
def test_the_tokens_are_those_of_the_tokenizer(name: str, chunks: list[list[str]]) -> None:
    tokenizer = TOKENIZERS[name]
    assert cuts_words_apart(tokenizer)
    memory = WordMemory(tokenizer)
    for chunk in chunks:
        ids, sizes = memory.tokenize(chunk)
        expected = [each.ids for each in tokenizer.encode_batch(chunk, add_special_tokens=False)]
        assert sizes.tolist() == [len(own) for own in expected]
        assert ids.tolist() == [token for own in expected for token in own]


def test_other_tokenizers_are_left_alone() -> None:
    from tokenizers import models, normalizers, pre_tokenizers

    spaced = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    assert not cuts_words_apart(spaced)
    spaced.normalizer = normalizers.Sequence([normalizers.NFKC()])
    spaced.pre_tokenizer = pre_tokenizers.Whitespace()
    assert not cuts_words_apart(spaced)
    spaced.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    assert cuts_words_apart(spaced)
    spaced.enable_truncation(5)
    assert not cuts_words_apart(spaced)
    spaced.no_truncation()
    spaced.add_tokens(["new york"])
    assert not cuts_words_apart(spaced)
