"""Passages of the corpus teach a static model without pairs, reproducibly, and never against their own document."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from training_rows import pairs

from similis.encoders.static.module import StaticModule
from similis.encoders.static.tokenized import TokenizedTexts
from similis.errors import UserError
from similis.training import Recipe, plan, train
from similis.training.rows.passages import LONGEST, SHORTEST, Passages, cut_out
from similis.training.trainees.row_adam import RowAdam


def documents(lengths: list[int], vocabulary: int = 50) -> TokenizedTexts:
    generator = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return TokenizedTexts(generator.integers(0, vocabulary, offsets[-1]).astype(np.int32), offsets)


def rows(texts: TokenizedTexts) -> list[list[int]]:
    return [texts.ids[a:b].tolist() for a, b in zip(texts.offsets[:-1], texts.offsets[1:], strict=True)]


def module(vocabulary: int = 50) -> StaticModule:
    return StaticModule(torch.randn(vocabulary, 16, generator=torch.Generator().manual_seed(0)))


def test_a_passage_is_cut_out_of_its_document_and_the_rest_stays_in_order() -> None:
    given = documents([16, 17, 40, 300] * 100)
    passages, rests = cut_out(given, np.random.default_rng(1))
    sizes, places = set(), set()
    for whole, passage, rest in zip(rows(given), rows(passages), rows(rests), strict=True):
        assert SHORTEST <= len(passage) <= min(LONGEST, len(whole) // 2)
        found = [s for s in range(len(rest) + 1) if rest[:s] + passage + rest[s:] == whole]
        assert found
        sizes.add(len(passage))
        places.add(found[0] / len(whole))
    assert {SHORTEST, LONGEST} <= sizes
    assert min(places) < 0.05
    assert max(places) > 0.9


def test_the_loss_of_a_step_depends_on_seed_and_step_alone() -> None:
    given, ids = documents([40] * 30), np.arange(30)
    first, again, other = (Passages(module(), given, ids, 8, seed) for seed in (0, 0, 1))
    assert first.loss(5) == again.loss(5)
    assert len({float(first.loss(step).detach()) for step in range(5)}) == 5
    assert first.loss(5) != other.loss(5)


def test_a_document_that_repeats_is_no_negative_and_short_ones_are_left_out() -> None:
    given = documents([40, 40, 2 * SHORTEST - 1])
    assert float(Passages(module(), given, np.array([7, 7, 8]), 3).loss(0).detach()) == pytest.approx(0, abs=1e-6)
    assert float(Passages(module(), given, np.array([7, 9, 8]), 3).loss(0).detach()) > 0.01
    assert float(Passages(module(), documents([3, 4]), np.arange(2), 2).loss(0)) == 0


def test_words_of_one_topic_come_together_without_supervision() -> None:
    generator = np.random.default_rng(0)
    topics = generator.integers(0, 5, 60)
    tokens = np.concatenate([topic * 10 + generator.integers(0, 10, 40) for topic in topics]).astype(np.int32)
    given = TokenizedTexts(tokens, np.arange(0, 2401, 40))
    weights = module()
    optimizer, task = RowAdam(weights.parameters(), lr=0.05), Passages(weights, given, np.arange(60), 20)
    for step in range(60):
        optimizer.zero_grad()
        task.loss(step).backward()
        optimizer.step()
    unit = torch.nn.functional.normalize(weights.weight.detach(), dim=1)
    same = torch.arange(50)[:, None] // 10 == torch.arange(50) // 10
    cosines = unit @ unit.T
    assert cosines[same].mean() > 0.4
    assert cosines[~same].mean() < 0.1


def test_they_are_planned_where_a_corpus_is_known_and_the_objective_is_not_given() -> None:
    assert plan("pairs", 10_000, documents=500).recipe.passages == 512
    assert any("500 documents" in reason for reason in plan("triplets", 10_000, documents=500).reasons)
    assert plan("pairs", 10_000).recipe.passages == 0
    assert plan("labels", 10_000, documents=500).recipe.passages == 0
    assert plan("pairs", 10_000, documents=500, static=False).recipe.passages == 0
    assert plan("pairs", 10_000, Recipe(objective="infonce"), documents=500).recipe.passages == 0
    assert plan("pairs", 10_000, Recipe(passages=3), documents=500).recipe.passages == 3


def test_fitting_learns_from_the_corpus() -> None:
    small: dict[str, Any] = {"dimension": 16, "epochs": 1, "batch_size": 16, "dev": False}
    corpus = [f"{document} {document}" for _, document in pairs(40, seed=9)]
    with_passages, without = (train(pairs(60), corpus=corpus, passages=given, **small) for given in (None, 0))
    assert with_passages.plan.recipe.passages == 16
    assert not np.array_equal(with_passages.encoder.encode(["bal bel"]), without.encoder.encode(["bal bel"]))
    with pytest.raises(UserError, match="give corpus"):
        train(pairs(60), passages=8, **small)
    with pytest.raises(UserError, match="passages must be at least 0"):
        Recipe(passages=-1)
