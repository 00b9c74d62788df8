"""GEM: the projection, that it is kept at every step, and the table of tasks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from continual_rows import asked, halves
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from similis.errors import UserError
from similis.training import train, transfer
from similis.training.stepping import gem
from similis.training.stepping.base import dense
from small_runs import interrupted_after


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(0, 50), st.sampled_from([0.0, 0.5]))
def test_the_projection_is_that_of_a_general_solver(count: int, seed: int, margin: float) -> None:
    generator = np.random.default_rng(seed)
    memories, own = generator.normal(size=(count, 7)), generator.normal(size=7)
    found = gem.weights(memories @ own, memories @ memories.T, margin)
    wanted = minimize(
        lambda v: 0.5 * np.sum((memories.T @ v + own) ** 2),
        np.full(count, margin + 0.1),
        jac=lambda v: memories @ (memories.T @ v + own),
        bounds=[(margin, None)] * count,
        options={"ftol": 1e-15, "gtol": 1e-12},
    ).x
    assert np.allclose(found, wanted, atol=1e-4)
    assert (memories @ (own + memories.T @ found) > -1e-6).all()


def test_of_one_memory_it_is_the_part_across_it() -> None:
    memory, own = np.array([1.0, 0.0, 1.0]), np.array([-2.0, 3.0, 0.0])
    weight = gem.weights(np.array([memory @ own]), np.array([[memory @ memory]]))
    assert np.allclose(own + weight[0] * memory, own - (own @ memory) / (memory @ memory) * memory)


def write(path: Path, rows: list[tuple[str, str]]) -> str:
    path.write_text("".join(json.dumps({"anchor": a, "positive": b}) + "\n" for a, b in rows), encoding="utf-8")
    return str(path)


def test_no_step_raises_the_loss_of_a_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replay = write(tmp_path / "before.jsonl", halves(40))
    products, turns = [], []
    real, turn, kept = gem.GEM.gradients, gem.GEM._turn, gem.GEM._of
    seen: list[list[torch.Tensor]] = []

    def remembered(self: gem.GEM, number: int, part: object) -> list[torch.Tensor]:
        seen.append(kept(self, number, part))
        return seen[-1]

    def watched(self: gem.GEM, passes: object) -> float:
        value = real(self, passes)
        own = [dense(parameter.grad, parameter) for parameter in self.parameters]
        products.append(sum(float((a * b).sum()) for a, b in zip(own, seen[-1], strict=True)))
        assert all(parameter.grad.is_sparse for parameter in self.parameters)  # rows that had no gradient rest
        return value

    monkeypatch.setattr(gem.GEM, "_of", remembered)
    monkeypatch.setattr(gem.GEM, "_turn", lambda self, *rest: turns.append(turn(self, *rest)))
    monkeypatch.setattr(gem.GEM, "gradients", watched)
    later = [(q, d) for (q, _), (_, d) in zip(asked(64), asked(64, seed=3)[::-1], strict=True)]
    train(later, replay=replay, replay_share=0.05, stepping="gem", dimension=8, dev=False, epochs=4, batch_size=16)
    assert turns
    assert min(products) > -1e-6


def test_a_run_with_memories_resumes_exactly(tmp_path: Path) -> None:
    given = {"dimension": 8, "dev": False, "epochs": 2, "batch_size": 16, "save_steps": 1, "stepping": "gem(rows=8)"}
    given["replay"] = write(tmp_path / "before.jsonl", halves(20))
    rows, texts = asked(48), [query for query, _ in asked(5)]
    whole = train(rows, output=tmp_path / "whole", **given).encoder.encode(texts)
    with interrupted_after(3):
        train(rows, output=tmp_path / "cut", **given)
    assert np.array_equal(train(rows, output=tmp_path / "cut", **given).encoder.encode(texts), whole)


def test_the_table_of_tasks_by_hand() -> None:
    found = transfer([[0.9, 0.3, 0.1], [0.7, 0.8, 0.4], [0.6, 0.5, 0.9]], [0.1, 0.1, 0.2])
    assert found.final == pytest.approx(2.0 / 3)
    assert found.backward == pytest.approx(((0.6 - 0.9) + (0.5 - 0.8)) / 2)
    assert found.forward == pytest.approx(((0.3 - 0.1) + (0.4 - 0.2)) / 2)
    assert transfer([[1, 0], [0, 1]]).forward is None


def test_mistakes_with_memories_are_one_sentence() -> None:
    with pytest.raises(UserError, match="one data set"):
        train(asked(20), stepping="gem", dimension=8, dev=False, max_steps=1)
    with pytest.raises(UserError, match="rows of at least 2"):
        gem.GEM(rows=1)
    with pytest.raises(UserError, match="two tasks"):
        transfer([[1.0]])
    with pytest.raises(UserError, match="baseline of 2"):
        transfer([[1, 0], [0, 1]], [0.1])
