"""Texts alone give pairs: what is cut out of them, drawn reproducibly, and learnt by static models and transformers."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from training_rows import pairs

from similis.data.dataset import Dataset
from similis.encoders import load
from similis.encoders.library.dense import SentenceTransformerEncoder
from similis.errors import UserError
from similis.registry import entries
from similis.training import Recipe, plan, sets, train
from similis.training.rows.columns import dataset_of
from similis.training.rows.unlabeled import chosen_pairs, cloze, leading, pairs_of, same, spans, views
from similis.training.trainees.transformer import TransformerTrainee

TEXT = "Cats sleep a lot. They dream of mice! Do mice dream of cats?\nNobody knows."
SENTENCES = ["Cats sleep a lot.", "They dream of mice!", "Do mice dream of cats?", "Nobody knows."]
SMALL: dict[str, Any] = {"dimension": 16, "epochs": 1, "batch_size": 16}


def texts(*rows: str, titles: list[str] | None = None) -> Dataset:
    columns = {"text": list(rows)} | ({"title": titles} if titles else {})
    return dataset_of(columns)


def test_the_title_or_else_the_first_sentence_finds_the_rest() -> None:
    assert leading("About cats", TEXT, Random(0)) == [("About cats", TEXT)]
    assert leading("", TEXT, Random(0)) == [(SENTENCES[0], TEXT.partition(". ")[2])]
    assert leading("", "One sentence only.", Random(0)) == leading("Title", "", Random(0)) == []


def test_the_cloze_takes_every_sentence_in_turn_and_keeps_it_as_often_as_asked() -> None:
    taken = set()
    for seed in range(40):
        ((query, rest),) = cloze("", TEXT, Random(seed), keep=0.0)
        place = SENTENCES.index(query)
        assert rest.split() == " ".join(SENTENCES[:place] + SENTENCES[place + 1 :]).split()
        taken.add(query)
    assert taken == set(SENTENCES)
    assert {query for query, _ in cloze("", TEXT, Random(0), count=4)} == set(SENTENCES)
    kept = [cloze("A title", TEXT, Random(seed))[0] for seed in range(2000)]
    share = np.mean([query in rest for query, rest in kept])
    assert abs(share - 0.1) < 4 * np.sqrt(0.1 * 0.9 / 2000)
    assert all(rest.startswith("A title ") for _, rest in kept)


def test_spans_are_runs_of_the_words_of_the_shares_asked_for() -> None:
    words = [f"w{number}" for number in range(100)]
    sizes = []
    for query, key in spans("w0", " ".join(words[1:]), Random(3), count=500, delete=0.0):
        for span in (query.split(), key.split()):
            start = words.index(span[0])
            assert words[start : start + len(span)] == span
            sizes.append(len(span))
    assert (min(sizes), max(sizes)) == (5, 50)
    assert abs(np.mean(sizes) - 27.5) < 4 * 13 / np.sqrt(1000)
    thinned = spans("", " ".join(words), Random(3), count=500, shortest=0.5, delete=0.1)
    assert abs(np.mean([len(query.split()) for query, _ in thinned]) - 45) < 1
    assert spans("", "too few words", Random(0)) == []


def test_copies_are_the_text_itself_or_changed_as_asked() -> None:
    assert same("A", "text", Random(0)) == [("A text", "A text")]
    ((query, key),) = views("", "one two three four five", Random(0), first="delete_words(share=0.4)")
    assert key == "one two three four five"
    assert len(query.split()) == 3
    assert set(query.split()) < set(key.split())
    assert views("", "one", Random(0)) == []


def test_what_a_text_gives_depends_on_the_seed_and_not_on_the_other_texts() -> None:
    first = pairs_of(texts(TEXT, "Dogs bark. They run. They sleep."), "cloze", seed=1)
    assert first == pairs_of(texts(TEXT, "Dogs bark. They run. They sleep."), "cloze", seed=1)
    longer = pairs_of(texts(TEXT, "Birds sing. And fly.", "Fish swim. And eat."), "cloze", seed=1)
    assert longer[0][0] == first[0][0]
    seeds = {pairs_of(texts(TEXT, TEXT + " So."), "cloze", seed=seed)[0][0] for seed in range(20)}
    assert len(seeds) > 2


def test_the_choice_goes_by_what_most_texts_have() -> None:
    short = [f"just words {number}" for number in range(3)]
    assert chosen_pairs(texts(TEXT, TEXT, "short one")) == "leading"
    assert chosen_pairs(texts(*short)) == "views(delete_words)"
    assert chosen_pairs(texts(*short), static=False) == "same"
    assert chosen_pairs(texts(*short, titles=["a title", "other title", "one more"])) == "leading"
    assert len(pairs_of(texts(*short), "views(delete_words)")[0]) == 3


@pytest.mark.parametrize(
    ("maker", "message"),
    [
        ("leadin", "leading"),
        ("cloze(count=0)", "count of at least 1"),
        ("spans(longest=2)", "shares"),
        ("views(no_such)", "augmentation"),
        ("spans", "fewer than two texts are long enough for spans"),
    ],
)
def test_mistakes_are_said(maker: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        pairs_of(texts("a b. c d.", "e f. g h.") if maker != "spans" else texts("a b", "c d"), maker)


def test_pairs_of_supervised_data_are_refused() -> None:
    with pytest.raises(UserError, match="leave pairs out"):
        train(pairs(30), pairs="spans", **SMALL)


def test_texts_alone_teach_as_pairs_and_as_passages_and_are_not_searched_on_dev(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = [f"{query}. {document} {document}" for query, document in pairs(100)]
    searched = []
    real = sets.dev_set
    monkeypatch.setattr(sets, "dev_set", lambda *args: searched.append(args[3]) or real(*args))
    fitted = train(given, **SMALL)
    assert fitted.plan.recipe.pairs == "leading"
    assert fitted.plan.recipe.passages == 16
    assert fitted.data["documents"] == 100
    # a document that holds a dev query would stand before the rest that is to be found
    assert [len(documents) for documents in searched] == [0]
    again = train(given, recipe=fitted.plan.recipe)
    assert np.array_equal(fitted.encoder.encode(given[:3]), again.encoder.encode(given[:3]))
    other = train(given, pairs="spans(count=2)", **SMALL)
    assert other.rows[0] > fitted.rows[0]


def test_a_plan_for_texts_alone_is_short() -> None:
    made, supervised = plan("pairs", 5_000, documents=5_000, unlabeled=True), plan("pairs", 5_000, documents=5_000)
    assert made.recipe.per_device_train_batch_size == 512
    assert (made.recipe.num_train_epochs or 0) < (supervised.recipe.num_train_epochs or 0)


def test_a_text_paired_with_itself_is_read_twice_with_dropout(tiny: Path) -> None:
    encoder = load(tiny)
    assert isinstance(encoder, SentenceTransformerEncoder)
    trainee = TransformerTrainee(encoder, ["topic0a fillera", "topic1b fillerb", "topic2c"], Recipe())
    codes = np.arange(3)
    trainee.module.train()
    first, second = trainee.embed([(codes, True), (codes, False)])
    assert not torch.allclose(first, second, atol=1e-4)
    trainee.module.eval()
    first, second = trainee.embed([(codes, True), (codes, False)])
    assert torch.allclose(first, second, atol=1e-6)


def test_a_transformer_learns_to_spread_short_texts(tiny: Path) -> None:
    given = [f"{query}" for query, _ in pairs(60)]
    fitted = train(given, base=tiny, batch_size=16, max_steps=8, learning_rate=1e-3, dev=False)
    assert fitted.plan.recipe.pairs == "same"

    def crowding(vectors: Any) -> float:
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return float((unit @ unit.T)[np.triu_indices(len(unit), 1)].mean())

    assert crowding(fitted.encoder.encode(given)) < crowding(load(tiny).encode(given)) - 0.05


def test_every_maker_gives_pairs_of_text() -> None:
    found = list(entries("pairs"))
    assert len(found) >= 5
    for entry in found:
        made = entry.make("A title", TEXT, Random(0))
        assert made
        assert all(query and key for query, key in made)
