"""Weights between base and trained ones."""

from __future__ import annotations

import torch

from similis.training.running.averaging import SHARES, best_between, between


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
