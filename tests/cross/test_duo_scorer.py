"""Comparisons read both documents to equal shares, and a comparer learns from triplets which one is better."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from cross_models import WORDS, tiny_dense

from similis.encoders.scorers.cross import CrossEncoderScorer
from similis.encoders.scorers.duo import DuoScorer
from similis.training import fit


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dense(tmp_path_factory.mktemp("dense"), dropout=0.0)


def test_both_documents_are_read_to_equal_shares(dense: Path) -> None:
    duo = DuoScorer(CrossEncoderScorer.new(dense))
    assert duo.scorer.max_tokens == 48
    long = " ".join(["bel"] * 60)
    ((query, text),) = duo.pairs([("bal bal bal", long, "kan")])
    # 48 tokens less [CLS], three [SEP] and the query's three leave 20 for each document
    assert (query, text) == ("bal bal bal", " ".join(["bel"] * 20) + " [SEP] kan")
    duo.compare([("bal bal bal", long, long)])
    assert duo.scorer.last_truncation.texts_cut == 0
    assert duo.pairs([("a", "bel", "kan")]) == [("a", "bel [SEP] kan")]


def test_rows_hold_each_triplet_in_both_orders(dense: Path) -> None:
    duo = DuoScorer(CrossEncoderScorer.new(dense))
    assert duo.rows([("q", "good", "bad")]) == [("q", "good [SEP] bad", 1.0), ("q", "bad [SEP] good", 0.0)]


def test_a_comparer_learns_which_document_is_better(dense: Path) -> None:
    generator = random.Random(0)
    good, bad = WORDS[:10], WORDS[10:20]
    triplets = [(generator.choice(WORDS), generator.choice(good), generator.choice(bad)) for _ in range(120)]
    rows = DuoScorer(CrossEncoderScorer.new(dense)).rows(triplets[:100])
    given = {"batch_size": 20, "max_steps": 120, "lr": 1e-3, "dev": False, "interpolate": False}
    trained = fit(rows, base=f"cross:{dense}", objective="binary_cross_entropy", **given)
    duo = DuoScorer(trained)  # type: ignore[arg-type]
    held = triplets[100:]
    right = duo.compare(held)
    wrong = duo.compare([(query, worse, better) for query, better, worse in held])
    assert np.mean(right > 0.5) > 0.8
    assert np.mean(wrong < 0.5) > 0.8
