"""A corpus to be searched lends a static encoder its words, and stands among the dev documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_rows import pairs

from similis.encoders import StaticEncoder
from similis.errors import UserError
from similis.training import Fitted, train

SMALL: dict[str, Any] = {"dimension": 16, "epochs": 2, "batch_size": 16}


def tokens(fitted: Fitted, word: str) -> list[str]:
    assert isinstance(fitted.encoder, StaticEncoder)
    found: list[str] = fitted.encoder.tokenizer.encode(word).tokens
    return found


def test_words_of_the_corpus_are_known_though_no_pair_has_them() -> None:
    corpus = ["zymurgy and xylophones", "zymurgy again"]
    with_corpus, without = (train(pairs(60), corpus=given, dev=False, **SMALL) for given in (corpus, None))
    assert tokens(with_corpus, "zymurgy") == ["zymurgy"]
    assert tokens(without, "zymurgy") != ["zymurgy"]
    assert with_corpus.as_dict()["data"]["documents"] == 2


def test_dev_queries_are_searched_among_the_corpus_from_the_start_on() -> None:
    rows, held = pairs(60), pairs(20, seed=5)
    corpus = [document for _, document in pairs(40, seed=9)]
    fitted = train(rows, dev=held, corpus=corpus, **SMALL)
    assert fitted.start is not None
    documents = list(dict.fromkeys([d for _, d in held] + [d for _, d in rows] + corpus))
    keys = fitted.start.encode(documents)
    gains = []
    for query, document in held:
        scores = keys @ fitted.start.encode([query])[0]
        rank = 1 + int((scores > scores[documents.index(document)] + 1e-6).sum())
        gains.append(1 / np.log2(1 + rank) if rank <= 10 else 0.0)
    assert fitted.outcome.position.before == pytest.approx(np.mean(gains), abs=1e-6)


def test_the_start_is_kept_as_it_was() -> None:
    short, long = (train(pairs(60), dev=False, dimension=16, batch_size=16, epochs=epochs) for epochs in (1, 3))
    assert short.start is not None
    assert long.start is not None
    assert np.array_equal(short.start.encode(["bal bel"]), long.start.encode(["bal bel"]))
    assert not np.allclose(short.start.encode(["bal bel"]), short.encoder.encode(["bal bel"]))


def test_a_corpus_may_be_a_file(tmp_path: Path) -> None:
    texts = [document for _, document in pairs(30, seed=9)]
    file = tmp_path / "corpus.jsonl"
    file.write_text("".join(json.dumps({"_id": str(i), "text": text}) + "\n" for i, text in enumerate(texts)))
    from_file, from_memory = (train(pairs(60), corpus=given, **SMALL) for given in (file, texts))
    assert np.array_equal(from_file.encoder.encode(["bal bel"]), from_memory.encoder.encode(["bal bel"]))


def test_an_unfinished_run_is_not_continued_with_another_corpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from similis.training.running.checkpoints import Checkpoints

    corpus = [document for _, document in pairs(30, seed=9)]

    def save_then_fail(self: Checkpoints, *given: Any) -> Path:
        real(self, *given)
        raise RuntimeError("power cut")

    real = Checkpoints.save
    with monkeypatch.context() as broken:
        broken.setattr(Checkpoints, "save", save_then_fail)
        with pytest.raises(RuntimeError, match="power cut"):
            train(pairs(60), corpus=corpus, output=tmp_path / "m", save_steps=1, **SMALL)
    with pytest.raises(UserError, match="corpus was"):
        train(pairs(60), corpus=corpus[:20], output=tmp_path / "m", save_steps=1, **SMALL)
