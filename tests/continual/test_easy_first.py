"""The curriculum: what counts as easy, what it weighs at each step, and that it ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from continual_rows import asked

from similis.errors import UserError
from similis.objective import Objective
from similis.relation import Relation
from similis.training import train
from similis.training.rows.examples import Examples, TextTable
from similis.training.stepping.base import Embedded
from similis.training.stepping.easy_first import EasyFirst, easiness, row_weights
from small_runs import interrupted_after

ROWS = [
    ("red apple", "a red apple on a tree", "red red apple apple"),
    ("blue sky", "the sky is blue", "a yellow house"),
    ("green sea", "waves of the ocean", "green sea green sea"),
]


def _examples() -> Examples:
    table = TextTable()
    queries, keys, negatives = (table.add(row[side] for row in ROWS) for side in range(3))
    return Examples("triplets", table, queries, keys, negatives[:, None])


def test_easiness_is_of_the_rank_or_of_the_score_between_the_least_and_the_best() -> None:
    examples = _examples()
    folded = examples.table.folded
    by_rank, by_score = (easiness(examples, heuristic, 10) for heuristic in ("rank", "score"))
    for query in folded[examples.queries].tolist():
        own = sorted((value for (asked_, _), value in by_rank.items() if asked_ == query), reverse=True)
        assert own == [1 / rank for rank in range(1, len(own) + 1)]
    # "green sea green sea" alone has words of the third query; its own document has none
    sea, waves, green = folded[examples.queries[2]], folded[examples.keys[2]], folded[examples.negatives[2, 0]]
    assert by_rank[int(sea), int(green)] == 1
    assert (int(sea), int(waves)) not in by_rank
    apple = [value for (query, _), value in by_score.items() if query == folded[examples.queries[0]]]
    assert (min(apple), max(apple)) == (0, 1)


def test_a_row_is_as_easy_as_its_hardest_negative_leaves_it() -> None:
    examples = _examples()
    weights = row_weights(examples, np.arange(3), easiness(examples, "rank", 10))
    assert weights[1] == 1.0  # the positive is first and the negative is not found
    assert weights[2] == 0.0  # the other way round
    assert weights[0] in (0.25, 0.75)  # both are found, one first and one second


@pytest.mark.parametrize("regularizers", [[], ["koleo"]])
def test_the_loss_is_the_mean_of_weighted_rows_and_in_the_end_the_plain_one(regularizers: list[str]) -> None:
    examples = _examples()
    generator = torch.Generator().manual_seed(0)
    queries, keys = torch.randn(3, 4, generator=generator), torch.randn(3, 4, generator=generator)
    objective = Objective("infonce(temperature=1), similarity=dot", regularizers=regularizers)
    part = type("Part", (), {"objective": objective, "examples": examples})()
    step = EasyFirst(steps=4)
    step.begin(type("Run", (), {"parts": [part]})())
    drawn = type("Drawn", (tuple,), {"part": part})((part, np.arange(3)))
    relation = Relation.pairs(3)
    plain = objective(queries, keys, relation)
    rest = plain - Objective("infonce(temperature=1), similarity=dot")(queries, keys, relation)
    easy = torch.from_numpy(row_weights(examples, np.arange(3), easiness(examples, "rank", 100)))
    rows = torch.nn.functional.cross_entropy(queries @ keys.T, torch.arange(3), reduction="none")
    for number in range(6):
        weight = easy + (1 - easy) * min(1.0, number / 4)
        found = step.loss(Embedded(drawn, type("B", (), {})(), relation, queries, keys), plain)
        assert float(found) == pytest.approx(float((weight * rows).mean() + rest), rel=1e-5)
        assert (found is plain) == (number >= 4)
        step.stepped()


def test_a_run_with_a_curriculum_resumes_exactly(tmp_path: Path) -> None:
    given = {"dimension": 8, "dev": False, "epochs": 2, "batch_size": 16, "save_steps": 1}
    given["stepping"] = "easy_first(steps=5)"
    rows, texts = asked(48), [query for query, _ in asked(5)]
    whole = train(rows, output=tmp_path / "whole", **given).encoder.encode(texts)
    assert not np.array_equal(whole, train(rows, **{**given, "stepping": None}).encoder.encode(texts))
    with interrupted_after(3):
        train(rows, output=tmp_path / "cut", **given)
    assert np.array_equal(train(rows, output=tmp_path / "cut", **given).encoder.encode(texts), whole)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"stepping": "easy_first(steps=0)"}, "at least 1"),
        ({"stepping": "easy_first(heuristic=ranks)"}, "did you mean 'rank'"),
        ({"stepping": "easy_first", "objective": "infonce, keys=queue(size=64)"}, "leave keys out"),
    ],
)
def test_mistakes_with_a_curriculum_are_one_sentence(settings: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        train(asked(20), dimension=8, dev=False, max_steps=1, **settings)
