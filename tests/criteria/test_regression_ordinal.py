"""Ordinal and transport criteria against optimal transport, scikit-learn and definitions."""

from __future__ import annotations

import math

import numpy as np
import ot
import pytest
import torch
from ranking_lists import rows_of
from sklearn.metrics import cohen_kappa_score
from torch import Tensor
from torch.nn.functional import cross_entropy

from similis.criteria.regression.ordinal import OrdinalLogistic, distance_targets, kappa, number_token, wasserstein
from similis.criteria.regression.transport import earth_mover
from similis.objective import Objective
from similis.relation import Relation, Rows


def classes(n: int, m: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Scores ``[n, m]``, true classes ``[n]``, one-hot grades."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, m, (n,), generator=generator)
    return torch.randn(n, m, generator=generator, dtype=torch.float64), labels, torch.eye(m).double()[labels]


@pytest.mark.parametrize("m", [2, 5, 9])
def test_wasserstein_is_the_optimal_transport_cost(m: int) -> None:
    scores, _, grade = classes(4, m)
    soft = (grade + 0.3 * torch.rand(4, m, generator=torch.Generator().manual_seed(1))) / 2
    target = soft / soft.sum(-1, keepdim=True)
    share = (scores / 0.5).softmax(-1)
    places = np.arange(m, dtype=float)
    cost = np.abs(places[:, None] - places[None])
    expected = [ot.emd2(p.numpy(), q.numpy(), cost) for p, q in zip(share, target, strict=True)]
    found = wasserstein(scores, rows_of(soft), temperature=0.5)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=1e-8)
    squared = wasserstein(scores, rows_of(soft), temperature=0.5, power=2)
    torch.testing.assert_close(squared, (share - target).cumsum(-1).square().sum(-1))


def test_number_token_adds_the_distance_of_the_predicted_class() -> None:
    scores, labels, grade = classes(6, 5)
    share, values = (scores / 0.7).softmax(-1), torch.arange(5.0).double()
    entropy = cross_entropy(scores / 0.7, labels, reduction="none")
    was = torch.stack([(p * (values - y).abs()).sum() for p, y in zip(share, labels, strict=True)])
    mse = ((share * values).sum(-1) - labels).square()
    for form, apart in (("was", was), ("mse", mse)):
        found = number_token(scores, rows_of(grade), form=form, weight=0.4, temperature=0.7)
        torch.testing.assert_close(found, entropy + 0.4 * apart)


def test_distance_targets_fall_with_the_distance_and_become_cross_entropy() -> None:
    scores, labels, grade = classes(6, 5)
    target = torch.stack([(-(torch.arange(5.0) - y).abs() / 0.8).softmax(0) for y in labels]).double()
    log_share = (scores / 0.5).log_softmax(-1)
    expected = (target * (target.log() - log_share)).sum(-1)
    found = distance_targets(scores, rows_of(grade), target_temperature=0.8, temperature=0.5)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
    sharp = distance_targets(scores, rows_of(grade), target_temperature=1e-3, temperature=0.5)
    torch.testing.assert_close(sharp, cross_entropy(scores / 0.5, labels, reduction="none"))


def test_distance_targets_are_list_net_over_graded_distances() -> None:
    scores, labels, grade = classes(6, 5)
    relation = Relation.distances(labels.double(), torch.arange(5.0).double(), scale=5.0)
    entropy = Objective("list_net(target_temperature=0.2, temperature=0.5)", similarity="dot")(
        scores, torch.eye(5).double(), relation
    )
    found = distance_targets(scores, rows_of(grade), target_temperature=1.0, temperature=0.5).mean()
    target = torch.stack([(-(torch.arange(5.0).double() - y).abs()).softmax(0) for y in labels])
    torch.testing.assert_close(found, entropy + (target * target.log()).sum(-1).mean(), rtol=1e-5, atol=1e-6)


def test_sharp_kappa_is_that_of_scikit_learn() -> None:
    scores, labels, grade = classes(40, 5)
    scores = scores + 1.5 * grade
    expected = cohen_kappa_score(labels.numpy(), scores.argmax(-1).numpy(), weights="quadratic")
    assert float(kappa(scores, rows_of(grade), temperature=1e-4).mean()) == pytest.approx(1 - expected)


def test_ordinal_logistic_penalises_every_level_an_error_skips() -> None:
    criterion = OrdinalLogistic(cuts=(0.25, 0.75), temperature=0.5).double()
    scores = torch.tensor([[0.1, 0.9]], dtype=torch.float64)
    grade = torch.tensor([[0.0, 0.5]])

    def logistic(x: float) -> float:
        return math.log1p(math.exp(-x / 0.5))

    expected = (logistic(0.15) + logistic(0.65) + logistic(0.65) + logistic(-0.15)) / 2
    assert float(criterion(scores, Rows(given_grade=grade)).detach()) == pytest.approx(expected)
    far = criterion(torch.tensor([[5.0]]).double(), rows_of(torch.zeros(1, 1)))
    near = criterion(torch.tensor([[5.0]]).double(), rows_of(torch.full((1, 1), 0.5)))
    assert float(far.detach()) > float(near.detach())


def test_earth_mover_bound_is_exact_for_one_true_key_and_above_otherwise() -> None:
    scores, labels, grade = classes(5, 6)
    vectors = torch.nn.functional.normalize(torch.randn(6, 4, generator=torch.Generator().manual_seed(2)).double())
    share = (scores / 0.5).softmax(-1)
    cost = (1 - vectors @ vectors.T).clamp_min(0).numpy()
    guided = Rows(given_grade=grade, guide=vectors[labels] @ vectors.T)
    exact = [ot.emd2(p.numpy(), g.numpy(), cost) for p, g in zip(share, grade, strict=True)]
    torch.testing.assert_close(
        earth_mover(scores, guided, temperature=0.5), torch.tensor(exact, dtype=torch.float64), rtol=1e-6, atol=1e-8
    )
    mixed = grade.roll(1, 0) * 0.5 + grade * 0.5
    bound = torch.stack([p @ torch.tensor(cost) @ g for p, g in zip(share, mixed, strict=True)])
    lower = torch.tensor([float(ot.emd2(p.numpy(), g.numpy(), cost)) for p, g in zip(share, mixed, strict=True)])
    assert bool((bound >= lower - 1e-9).all())
    torch.testing.assert_close(
        earth_mover(scores, Rows(given_grade=mixed, guide=mixed @ vectors @ vectors.T), temperature=0.5), bound
    )
    plain = earth_mover(scores, rows_of(grade), temperature=0.5, entropy=2.0)
    expected = 1 - (share * grade).sum(-1) + 2 * cross_entropy(scores / 0.5, labels, reduction="none")
    torch.testing.assert_close(plain, expected)


@pytest.mark.parametrize("text", ["wasserstein", "number_token", "distance_targets", "kappa"])
def test_ordered_proxies_learn_ordered_classes(text: str) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(40) % 5
    embeddings = torch.randn(40, 8, generator=generator) + torch.eye(8)[labels] * 3
    objective = Objective(text).prepare(dimension=8, classes=5)
    optimizer = torch.optim.Adam(objective.parameters(), lr=0.05)
    values = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = objective(embeddings, relation=Relation.labels(labels))
        loss.backward()
        optimizer.step()
        values.append(float(loss.detach()))
    assert values[-1] < 0.5 * values[0]
