"""Hard negatives: what may be taken, where it comes from, and that a run with them resumes exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from similis.errors import UserError
from similis.registry import entries
from similis.similarity import build
from similis.training import train
from similis.training.negatives import Searching, negatives
from similis.training.rows.examples import Examples, TextTable
from small_runs import interrupted_after

ROWS = [
    ("red fruit", "apple is a red fruit"),
    ("red fruit", "cherry is a small red fruit"),
    ("yellow fruit", "banana is a long yellow fruit"),
    ("red car", "a ferrari is a fast red car"),
    ("blue car", "a blue car of the police"),
    ("old car", "an old rusty car in the barn"),
]
DOCUMENTS = ["the tomato is a red fruit too", "Apple is a  RED fruit", "a blue bird"]


def _examples() -> tuple[Examples, np.ndarray]:
    table = TextTable()
    examples = Examples("pairs", table, table.add(q for q, _ in ROWS), table.add(d for _, d in ROWS))
    return examples, table.add(DOCUMENTS)


def _embed(codes: np.ndarray, _: bool) -> torch.Tensor:
    """Fixed random unit vectors of the texts."""
    vectors = torch.randn(64, 8, generator=torch.Generator().manual_seed(3))
    return torch.nn.functional.normalize(vectors[torch.from_numpy(codes)], dim=-1)


@pytest.mark.parametrize("name", ["bm25", "hard"])
def test_no_source_takes_a_known_positive_or_the_query_itself(name: str) -> None:
    examples, documents = _examples()
    searching = Searching(negatives(f"{name}(count=3, depth=9)"), examples, documents, seed=0)
    found = searching.search(0, _embed, build("cosine"))
    folded = examples.table.folded
    positives = {(folded[q], folded[k]) for q, k in zip(examples.queries, examples.keys, strict=True)}
    taken = [
        (folded[query], folded[code])
        for query, row in zip(examples.queries, found.negatives, strict=True)
        for code in row
        if code >= 0
    ]
    assert taken
    assert not positives & set(taken)
    assert all(query != key for query, key in taken)
    assert found.supervision == "triplets"


def test_every_source_is_covered_by_some_test() -> None:
    assert {entry.name for entry in entries("negatives")} == {"adore", "bm25", "guided", "hard"}


class Guide:
    """Scores pairs by a table; a cross-encoder to those who ask."""

    family, fingerprint = "cross", "guide"

    def __init__(self, relevant: set[tuple[str, str]]) -> None:
        self.relevant = relevant

    def score(self, pairs: list[tuple[str, str]], raw: bool = False) -> np.ndarray:
        assert raw
        return np.array([3.0 if pair in self.relevant else -3.0 for pair in pairs], np.float32)


def test_a_guide_leaves_out_what_it_finds_relevant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    examples, documents = _examples()
    unmarked = ("red fruit", "the tomato is a red fruit too")
    guide = Guide({*ROWS, unmarked})
    monkeypatch.setattr("similis.encoders.load", lambda name: guide)
    source = negatives("guided(guide, count=9, depth=9, below=0.9)")
    searching = Searching(source, examples, documents, seed=0)
    found = searching.search(0, _embed, build("cosine"))
    plain = Searching(negatives("hard(count=9, depth=9, below=0)"), examples, documents, seed=0)
    texts = examples.table.texts

    def taken(examples: Examples) -> set[tuple[str, str]]:
        rows = zip(examples.queries, examples.negatives, strict=True)
        return {(texts[query], texts[code]) for query, row in rows for code in row if code >= 0}

    assert taken(plain.search(0, _embed, build("cosine"))) - taken(found) == {unmarked}
    assert searching.source.fingerprint == "guide"


def test_hard_takes_the_best_by_score_that_are_not_positives() -> None:
    examples, documents = _examples()
    searching = Searching(negatives("hard(count=1, depth=1, below=0)"), examples, documents, seed=0)
    found = searching.search(0, _embed, build("cosine")).negatives[:, 0]
    folded = examples.table.folded
    pool = np.concatenate([examples.keys, documents])
    for row, query in enumerate(examples.queries):
        own = {folded[k] for q, k in zip(examples.queries, examples.keys, strict=True) if q == query}
        scores = {code: float(_embed(np.array([query]), True) @ _embed(np.array([code]), False).T) for code in pool}
        best = max((code for code in scores if folded[code] not in own), key=scores.__getitem__)
        assert folded[found[row]] == folded[best]


def test_documents_scoring_near_the_positive_are_left_out() -> None:
    examples, documents = _examples()
    taken = Searching(negatives("hard(count=2, depth=9, below=0.5)"), examples, documents, 0)
    found = taken.search(0, _embed, build("cosine"))
    for row, (query, key) in enumerate(zip(examples.queries, examples.keys, strict=True)):
        limit = 0.5 * float(_embed(np.array([query]), True) @ _embed(np.array([key]), False).T)
        for code in found.negatives[row]:
            assert code < 0 or float(_embed(np.array([query]), True) @ _embed(np.array([code]), False).T) <= limit


def test_bm25_prefers_shared_words() -> None:
    examples, documents = _examples()
    found = Searching(negatives("bm25(count=1, depth=1)"), examples, documents, 0).search(0, _embed, build("cosine"))
    texts = examples.table.texts
    assert texts[found.negatives[0, 0]] == "the tomato is a red fruit too"


def test_searches_come_when_they_are_due() -> None:
    examples, documents = _examples()
    each = {every: Searching(negatives(f"hard(every={every})"), examples, documents, 0) for every in (0, 1, 2)}
    assert [each[0].due(epoch) for epoch in range(4)] == [True, False, False, False]
    assert [each[1].due(epoch) for epoch in range(4)] == [True] * 4
    assert [each[2].due(epoch) for epoch in range(4)] == [True, False, True, False]


@pytest.mark.parametrize(
    "text", ["hard(count=0)", "hard(count=5, depth=2)", "bm25(count=0)", "hard(below=2)", "guided(none, count=0)"]
)
def test_senseless_settings_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="count"):
        negatives(text)


def test_negatives_need_documents() -> None:
    rows = [("a text", "x"), ("b text", "y"), ("c text", "x"), ("d text", "y")]
    with pytest.raises(UserError, match="pairs and triplets"):
        train({"text": [t for t, _ in rows], "label": [c for _, c in rows]}, negatives="hard", dev=False)


def test_a_run_with_searched_negatives_resumes_exactly(tmp_path: Path) -> None:
    settings = {
        "negatives": "hard(depth=4)",
        "dev": False,
        "epochs": 4,
        "batch_size": 2,
        "dimension": 8,
        "corpus": DOCUMENTS,
    }
    whole = train(ROWS, output=tmp_path / "whole", **settings).encoder.encode(["red fruit"])
    with interrupted_after(5):
        train(ROWS, output=tmp_path / "cut", save_steps=1, **settings)
    resumed = train(ROWS, output=tmp_path / "cut", save_steps=1, **settings).encoder.encode(["red fruit"])
    assert np.array_equal(whole, resumed)


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_wide_embeddings_are_searched_in_blocks_to_the_same_end(
    similarity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from similis.training.negatives import searched

    examples, documents = _examples()
    generator = torch.Generator().manual_seed(0)
    words = torch.rand(64, 50, generator=generator) * (torch.rand(64, 50, generator=generator) < 0.3)

    def found() -> np.ndarray:
        searching = Searching(negatives("hard(count=3, depth=4, below=0.99)"), examples, documents, seed=0)
        return searching.search(0, lambda codes, _: words[torch.from_numpy(codes)], build(similarity)).negatives

    whole = found()
    seen: list[int] = []
    real = torch.Tensor.to_dense
    monkeypatch.setattr(searched, "_WIDE", 40)
    monkeypatch.setattr(searched, "_BLOCK", 150)  # three texts of 50 coordinates
    monkeypatch.setattr(torch.Tensor, "to_dense", lambda self: seen.append(len(self)) or real(self))
    assert np.array_equal(found(), whole)
    assert max(seen) == 3


def test_a_run_does_not_go_on_with_another_guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    guide = Guide(set(ROWS))
    monkeypatch.setattr("similis.encoders.load", lambda name: guide)
    given = {"negatives": "guided(guide, depth=4)", "dev": False, "batch_size": 2, "dimension": 8, "save_steps": 1}
    with interrupted_after(2):
        train(ROWS, output=tmp_path / "cut", epochs=2, **given)
    guide.fingerprint = "another"
    with pytest.raises(UserError, match="another model than the one this run began with"):
        train(ROWS, output=tmp_path / "cut", epochs=2, **given)
    guide.fingerprint = "guide"
    train(ROWS, output=tmp_path / "cut", epochs=2, **given)
