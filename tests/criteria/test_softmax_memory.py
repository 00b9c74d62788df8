"""Criteria that remember something of each sample."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from similis.errors import UserError
from similis.objective import Objective
from similis.registry import bind
from similis.relation import Relation, Rows

N, D = 6, 4


def prepared(text: str) -> nn.Module:
    criterion = bind("criterion", text).build()
    criterion.prepare(dimension=D, classes=None, rows=10)
    return criterion.double()  # type: ignore[no-any-return]


def scores_of(step: int) -> Tensor:
    return torch.rand(N, N, generator=torch.Generator().manual_seed(step), dtype=torch.float64) * 2 - 1


def test_isogclr_follows_the_published_algorithm() -> None:
    gamma, rho, eta, beta, tau0 = 0.8, 0.3, 0.02, 0.5, 0.5
    criterion = prepared(f"isogclr(temperature={tau0}, rho={rho}, step={eta}, lowest=0.05)")
    samples = torch.tensor([3, 1, 4, 7, 5, 9])
    rows = Rows(same=torch.eye(N, dtype=torch.bool), samples=samples)
    tau, u, v = [tau0] * N, [0.0] * N, [0.0] * N
    for step in range(3):
        scores = scores_of(step).requires_grad_()
        criterion(scores, rows).sum().backward()
        expected = torch.zeros(N, N, dtype=torch.float64)
        for i in range(N):
            others = [j for j in range(N) if j != i]
            gaps = {j: float((scores[i, j] - scores[i, i]).detach()) for j in others}
            batch = sum(math.exp(gaps[j] / tau[i]) for j in others) / len(others)
            u[i] = batch if step == 0 else (1 - gamma) * u[i] + gamma * batch
            weights = {j: math.exp(gaps[j] / tau[i]) / (len(others) * u[i]) for j in others}
            for j in others:
                expected[i, j] += weights[j]
                expected[i, i] -= weights[j]
            slope = math.log(u[i]) + rho - sum(weights[j] * gaps[j] / tau[i] for j in others)
            v[i] = (1 - beta) * v[i] + beta * max(-5.0, min(5.0, slope))
            tau[i] = min(0.7, max(0.05, tau[i] - eta * v[i]))
        torch.testing.assert_close(scores.grad, expected)
        torch.testing.assert_close(criterion.temperatures[samples], torch.tensor(tau, dtype=torch.float64))


def test_aldr_gives_doubtful_rows_a_higher_temperature() -> None:
    criterion = prepared("aldr_kl(temperature=0.1, alpha=2.0)")
    scores = torch.tensor([[0.9, 0.0, 0.0, 0.0], [0.3, 0.29, 0.31, 0.3]], dtype=torch.float64, requires_grad=True)
    same = torch.tensor([[True, False, False, False]]).expand(2, 4)
    for _ in range(4):
        criterion(scores, Rows(same=same, samples=torch.tensor([2, 6])))
    certain, doubtful = criterion.temperatures[2], criterion.temperatures[6]
    assert doubtful > 1.5 * certain
    assert criterion.temperatures[0] == pytest.approx(0.1)


@pytest.mark.parametrize("text", ["isogclr(temperature=0.5)", "aldr_kl"])
def test_nothing_is_remembered_without_a_graph_or_in_evaluation(text: str) -> None:
    criterion = prepared(text)
    rows = Rows(same=torch.eye(N, dtype=torch.bool), samples=torch.arange(N))
    before = {k: v.clone() for k, v in criterion.state_dict().items()}
    with torch.no_grad():
        criterion(scores_of(0), rows)
    criterion.eval()
    criterion(scores_of(0).requires_grad_(), rows)
    after = criterion.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)
    criterion.train()
    criterion(scores_of(0).requires_grad_(), rows)
    assert any(not torch.equal(before[k], v) for k, v in criterion.state_dict().items())


@pytest.mark.parametrize("text", ["isogclr(temperature=0.5)", "aldr_kl"])
def test_rows_without_samples_use_the_starting_temperature(text: str) -> None:
    criterion = prepared(text)
    same = torch.eye(N, dtype=torch.bool)
    unnamed = criterion(scores_of(1).requires_grad_(), Rows(same=same))
    fresh = prepared(text)(scores_of(1).requires_grad_(), Rows(same=same, samples=torch.arange(N)))
    torch.testing.assert_close(unnamed, fresh)


def test_learnt_scales_move_with_training_and_stop_at_the_most() -> None:
    objective = Objective("clip(temperature=0.011, most=90.0)")
    embeddings = torch.eye(4)
    optimizer = torch.optim.SGD(objective.parameters(), lr=1.0)
    objective(embeddings + 0.1 * torch.ones(4, 4), embeddings, Relation.pairs(4)).backward()
    optimizer.step()
    expected = torch.nn.functional.cross_entropy(
        90.0 * torch.nn.functional.normalize(embeddings + 0.1) @ embeddings, torch.arange(4)
    )
    value = objective(embeddings + 0.1, embeddings, Relation.pairs(4))
    assert float(value.detach()) == pytest.approx(float(expected), abs=1e-6)


def test_unknown_forms_are_refused_in_a_sentence() -> None:
    rows = Rows(same=torch.eye(3, dtype=torch.bool))
    with pytest.raises(UserError, match="form='out' or form='in'"):
        bind("criterion", "supcon(form='middle')")(torch.zeros(3, 3), rows)
    with pytest.raises(UserError, match="weighting must be"):
        bind("criterion", "generalized_contrastive(weighting='cubic')")(torch.zeros(3, 3), rows)
