"""The learning-rate range test: the curve, what it suggests, and that nothing is left of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from stepped import rows
from typer.testing import CliRunner

from similis.cli.app import app
from similis.errors import UserError
from similis.training import range_test, train
from similis.training.rates import _risen, _rounded

ROWS = rows(120)
STATIC = {"dimension": 16, "batch_size": 24, "initialisation": "random"}


def test_the_rates_rise_by_one_factor_and_the_least_loss_gives_the_limit() -> None:
    found = range_test(ROWS, lowest=1e-4, highest=100.0, steps=60, **STATIC)
    factors = found.rates[1:] / found.rates[:-1]
    assert np.allclose(factors, (100.0 / 1e-4) ** (1 / 59))
    mean, smoothed = 0.0, []
    for step, loss in enumerate(found.losses, 1):
        mean = 0.9 * mean + 0.1 * loss
        smoothed.append(mean / (1 - 0.9**step))
    assert np.allclose(found.smoothed, smoothed)
    assert found.limit == found.rates[5:][np.argmin(smoothed[5:])]
    assert found.suggested == pytest.approx(found.limit / 10, rel=0.05)
    assert str(len(found.rates)) in found.reason
    assert set(found.as_dict()) == {"suggested", "limit", "reason", "rates", "losses", "smoothed"}


def test_the_suggested_rate_learns_what_far_lower_and_higher_ones_do_not() -> None:
    rate = range_test(ROWS, lowest=1e-5, highest=1e3, steps=80, **STATIC).suggested
    ends = {}
    for factor in (1e-4, 1.0, 1e4):
        settings = {"learning_rate": rate * factor, "max_steps": 30, "eval_steps": 30, "early_stopping_patience": 0}
        fitted = train(ROWS, dev=rows(20, 9), **STATIC, **settings)
        ends[factor] = fitted.outcome.position.history[-1]["loss"]
    assert ends[1.0] < 0.8 * ends[1e-4]
    assert ends[1.0] < 0.8 * ends[1e4]


def test_weights_mode_and_random_state_are_as_they_were() -> None:
    torch.manual_seed(4)
    module = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 4)).eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    state = torch.get_rng_state()
    data = np.random.default_rng(0).normal(size=(60, 6)).astype(np.float32)
    found = range_test(data, labels=np.arange(60) % 3, base=module, steps=20, batch_size=12, stepping="[sam, ema]")
    assert len(found.losses) > 10
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert not module.training


def test_the_test_ends_where_the_loss_has_risen_by_what_it_fell() -> None:
    falling = [4.0] * 6 + [3.5, 3.0, 2.5, 2.0, 2.0, 2.0]
    assert not _risen(falling)
    assert not _risen([*falling, 3.9])
    assert _risen([*falling, 4.1])
    assert [_rounded(r) for r in (0.0123, 4.56e-5, 0.0998)] == pytest.approx([0.012, 4.6e-5, 0.1])


def test_the_command_prints_the_rate_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [json.dumps({"anchor": a, "positive": b}) + "\n" for a, b in ROWS]
    (tmp_path / "pairs.jsonl").write_text("".join(lines), encoding="utf-8")
    arguments = ["fit", "pairs.jsonl", "--find-lr", "--max-steps", "30", "--batch-size", "24", "--set", "dimension=8"]
    done = CliRunner().invoke(app, [*arguments, "--json", "--quiet"], catch_exceptions=False)
    told = json.loads(done.stdout)
    assert 0 < told["suggested"] < told["limit"]
    assert len(told["rates"]) == len(told["losses"]) <= 30
    text = CliRunner().invoke(app, [*arguments, "--quiet"], catch_exceptions=False).stdout
    assert text.startswith(f"learning rate {told['suggested']:.2g}: a tenth of {told['limit']:.2g}")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["pairs.jsonl"]
    with pytest.raises(UserError, match="--output FOLDER"):
        CliRunner().invoke(app, ["fit", "pairs.jsonl"], catch_exceptions=False)


def test_mistakes_are_one_sentence() -> None:
    with pytest.raises(UserError, match="0 < lowest < highest"):
        range_test(ROWS, lowest=1.0, highest=0.1)
    with pytest.raises(UserError, match="10 steps or more"):
        range_test(ROWS, steps=3)
    with pytest.raises(UserError, match="saves nothing"):
        range_test(ROWS, output="m")
