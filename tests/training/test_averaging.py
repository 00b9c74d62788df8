"""Weights between base and trained ones."""

from __future__ import annotations

import pytest
import torch

from similis.training.running.averaging import SHARES, best_between, between
from similis.training.running.checkpoints import Position
from similis.training.running.keeping import Keeping


def test_weights_between_are_the_straight_line() -> None:
    start, end = (
        {"w": torch.tensor([0.0, 4.0]), "n": torch.tensor(3)},
        {"w": torch.tensor([2.0, 0.0]), "n": torch.tensor(5)},
    )
    found = between(start, end, 0.25)
    assert found["w"].tolist() == [0.5, 3.0]
    assert found["n"].item() == 5


def test_the_share_that_dev_prefers_is_kept() -> None:
    start, end = {"w": torch.zeros(1)}, {"w": torch.ones(1)}
    for wanted in SHARES:
        share, value = best_between(start, end, -1.0, lambda w, at=wanted: -abs(float(w["w"]) - at))
        assert (share, value) == (wanted, 0.0)


def test_training_is_kept_whole_where_nothing_between_is_better() -> None:
    start, end = {"w": torch.zeros(1)}, {"w": torch.ones(1)}
    assert best_between(start, end, 1.0, lambda w: float(w["w"])) == (1.0, 1.0)


def kept_at_the_end(best_at: float, judged: list[float], from_first: bool = True) -> tuple[float, Position]:
    """The weight of a model that goes 0, 1, 2 ... and is judged at each, where dev likes weights near ``best_at``."""
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    keeping, position = Keeping({"model": model}, None, from_first), Position()
    for step, value in enumerate(judged):
        position.step = step
        torch.nn.init.constant_(model.weight, step)
        keeping.judged(position, value)
    keeping.end(position, lambda: -abs(float(model.weight.detach()) - best_at))
    return float(model.weight.detach()), position


@pytest.mark.parametrize(
    ("best_at", "judged", "weight", "step"),
    [
        (1.5, [-1.5, -0.5, -1.0], 1.0, 1),  # between 0 and the best, which is 1, nothing is better
        (0.5, [-1.5, -0.7, -1.5], 0.5, 1),
        (0.5, [-0.5, -1.5, -1.5], 0.5, 2),  # no weights were better than the first: between these and the last, 2
        (-1.0, [-1.0, -2.0, -3.0], 0.0, 0),
    ],
)
def test_what_is_kept_lies_between_the_first_and_the_best_or_else_the_last(
    best_at: float, judged: list[float], weight: float, step: int
) -> None:
    found, position = kept_at_the_end(best_at, judged)
    assert (found, position.best_step) == (weight, step)
    assert position.best == (max(judged) if weight == step else -abs(weight - best_at))
    assert position.share == (1.0 if weight == step else weight / step)


def test_without_interpolation_the_best_weights_are_kept() -> None:
    assert kept_at_the_end(0.5, [-1.5, -0.7, -1.5], from_first=False)[0] == 1.0
    assert kept_at_the_end(0.5, [-0.5, -1.5, -1.5], from_first=False)[0] == 0.0
