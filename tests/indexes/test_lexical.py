"""BM25 against bm25s itself: the same terms, the same scores to the bit, and files that it opens."""

from __future__ import annotations

from pathlib import Path

import bm25s
import numpy as np
import pytest
import Stemmer
from hypothesis import given, settings
from hypothesis import strategies as st

from similis.errors import UserError
from similis.indexes import LexicalRetriever
from similis.indexes.analyzer import Analyzer, detect_language
from similis.indexes.postings import Postings, PostingsBuilder
from similis.search import ListedIds

TEXTS = [
    "The quick brown foxes are jumping over the lazy dogs, and this is not the end.",
    "A fox and a dog: running from the hunters to the river by night.",
    "Rivers run to the sea; hunters run from bears.",
    "",
    "Jumped, jumping, jumps! The jumper jumped 42 times with that rope of 3.14 m",
    "naïve café façade — résumé, ÉCOLE",
    "of the to and",
    "fox fox fox fox river",
]
QUERIES = ["jumping foxes", "the river", "hunter hunter fox", "nothing matches zebra", "", "café jumped by the dogs"]


def _theirs(texts: list[str], **settings: float) -> tuple[bm25s.BM25, Stemmer.Stemmer]:
    stemmer = Stemmer.Stemmer("english")
    model = bm25s.BM25(method="lucene", k1=settings.get("k1", 1.2), b=settings.get("b", 0.75))
    model.index(bm25s.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False), show_progress=False)
    return model, stemmer


def _ours(texts: list[str], **settings: float) -> LexicalRetriever:
    return LexicalRetriever.build([str(i) for i in range(len(texts))], texts, language="english", **settings)


def _their_scores(model: bm25s.BM25, stemmer: Stemmer.Stemmer, query: str) -> np.ndarray:
    (tokens,) = bm25s.tokenize([query], stopwords="en", stemmer=stemmer, return_ids=False, show_progress=False)
    known = [token for token in tokens if token in model.vocab_dict]
    return model.get_scores(known) if known else np.zeros(model.scores["num_docs"], np.float32)


@given(st.text(st.characters(codec="utf-8", max_codepoint=0x10FF), max_size=60))
@settings(max_examples=300, deadline=None)
def test_terms_are_those_of_bm25s(text: str) -> None:
    (theirs,) = bm25s.tokenize(
        [text], stopwords="en", stemmer=Stemmer.Stemmer("english"), return_ids=False, show_progress=False
    )
    assert Analyzer.of("english").terms(text) == theirs


@pytest.mark.parametrize(("k1", "b"), [(1.2, 0.75), (0.9, 0.4), (2.0, 0.0)])
def test_scores_are_the_bits_of_bm25s(k1: float, b: float) -> None:
    model, stemmer = _theirs(TEXTS, k1=k1, b=b)
    ours = _ours(TEXTS, k1=k1, b=b)
    for query in QUERIES:
        truth = _their_scores(model, stemmer, query)
        (scored,) = ours.score(ours.prepare([query]), [np.arange(len(TEXTS))])
        np.testing.assert_array_equal(scored, truth)
        hit = ours.search(query, k=3)[0]
        order = np.argsort(-truth, kind="stable")
        matched = order[truth[order] > 0][:3]
        assert hit.ids == [str(i) for i in matched]
        np.testing.assert_array_equal(hit.scores, truth[matched])


def test_scores_of_a_larger_corpus_in_chunks_are_the_bits_of_bm25s() -> None:
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in range(3000)]
    weights = 1 / np.arange(1, 3001)
    texts = [" ".join(rng.choice(words, rng.integers(1, 60), p=weights / weights.sum())) for _ in range(1500)]
    model, stemmer = _theirs(texts)
    builder = PostingsBuilder(Analyzer.of("english"))
    for start in range(0, len(texts), 700):
        builder.add(texts[start : start + 700])
    ours = LexicalRetriever(builder.finish(), ListedIds([str(i) for i in range(1500)]))
    queries = [" ".join(rng.choice(words, 5)) for _ in range(40)]
    for (scores, positions), query in zip(ours.top(ours.prepare(queries), 20), queries, strict=True):
        truth = _their_scores(model, stemmer, query)
        order = np.argsort(-truth, kind="stable")[:20]
        assert positions.tolist() == order[truth[order] > 0].tolist()
        np.testing.assert_array_equal(scores, truth[positions])


def test_bm25s_opens_the_saved_files_and_scores_alike(tmp_path: Path) -> None:
    ours = _ours(TEXTS)
    ours.postings.save(tmp_path)
    model = bm25s.BM25.load(tmp_path)
    for query in QUERIES[:3]:
        truth = _their_scores(model, Stemmer.Stemmer("english"), query)
        np.testing.assert_array_equal(ours.score(ours.prepare([query]), [np.arange(len(TEXTS))])[0], truth)


def test_saved_and_loaded_it_gives_the_same(tmp_path: Path) -> None:
    ours = _ours(TEXTS)
    ours.postings.save(tmp_path)
    again = LexicalRetriever(Postings.load(tmp_path), ours.ids)
    assert [h.ids for h in again.search(QUERIES)] == [h.ids for h in ours.search(QUERIES)]
    assert again.postings.analyzer == ours.postings.analyzer


def test_explained_terms_add_up_to_the_score() -> None:
    ours = _ours(TEXTS)
    query = "hunter hunter foxes river"
    (ranked,) = ours.top(ours.prepare([query]), 5)
    parts = ours.explain(query, ranked[1])
    np.testing.assert_allclose([sum(row.values()) for row in parts], ranked[0], rtol=1e-6)
    assert set(parts[0]) <= {"hunter", "fox", "river"}


def test_scores_of_candidates_are_those_of_the_ranking() -> None:
    ours = _ours(TEXTS)
    prepared = ours.prepare(QUERIES)
    ranked = ours.top(prepared, 8)
    for (scores, positions), again in zip(ranked, ours.score(prepared, [p for _, p in ranked]), strict=True):
        np.testing.assert_array_equal(scores, again)
        assert len(scores) == len(positions)


def test_chinese_japanese_and_korean_are_found_by_character_pairs() -> None:
    texts = [
        "東京都は日本の首都です",
        "京都は古い都市です",
        "서울은 대한민국의 수도이다",
        "北京是中国的首都 GPU服务器",
        "plain words",
    ]
    ours = LexicalRetriever.build(list("abcde"), texts)
    assert ours.search("日本の首都")[0].ids[0] == "a"
    assert ours.search("대한민국")[0].ids == ["c"]
    assert ours.search("中国首都")[0].ids[0] == "d"
    assert ours.search("gpu")[0].ids == ["d"]
    assert Analyzer.of("none").terms("東京都 A一 ＧＰＵ") == ["東京", "京都", "一", "gpu"]


@pytest.mark.parametrize(
    ("texts", "language"),
    [
        (["The mitochondria of a cell and the nucleus are found by this method"], "english"),
        (["Die Mitochondrien einer Zelle und der Zellkern werden in diesem Text beschrieben"], "none"),
        (["De fiets was in de stad en het is een goed idee of niet"], "none"),
        (["El perro y la casa que está en la calle por la noche"], "none"),
        (["東京都は日本の首都です"], "none"),
        ([""], "none"),
    ],
)
def test_english_is_recognised(texts: list[str], language: str) -> None:
    assert detect_language(texts) == language


def test_another_language_has_its_stems_and_stop_words() -> None:
    german = Analyzer.of("german")
    assert german.terms("die Häuser und das Haus") == ["haus", "haus"]


def test_an_unknown_language_and_bad_parameters_are_refused() -> None:
    with pytest.raises(UserError, match="did you mean 'english'"):
        Analyzer.of("englisch")
    with pytest.raises(UserError, match="k1=-1"):
        PostingsBuilder(Analyzer(), k1=-1)
    with pytest.raises(UserError, match="1 ids and 2 texts"):
        LexicalRetriever.build(["a"], ["x", "y"])


def test_a_corpus_without_any_word_finds_nothing() -> None:
    assert LexicalRetriever.build(["a", "b"], ["", "of the"], language="english").search("word")[0].ids == []
