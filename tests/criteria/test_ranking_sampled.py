"""Sampling criteria: their estimators have the mean that enumeration or quadrature gives."""

from __future__ import annotations

import itertools
import math
from functools import partial

import pytest
import torch
from ranking_lists import lists, rows_of
from torch import Tensor

from similis.criteria.ranking.noise import uniform
from similis.criteria.ranking.sampled import pg_rank, yeti
from similis.criteria.ranking.stochastic import stochastic_rank
from similis.objective import Objective
from similis.relation import Relation, Rows

GRADE = torch.tensor([0.0, 2.0, 1.0, 0.0], dtype=torch.float64)
SCORES = torch.tensor([0.5, 0.2, -0.1, 0.3], dtype=torch.float64)


def ndcg(order: tuple[int, ...], k: int) -> float:
    best = 3 + 1 / math.log2(3) if k > 1 else 3.0
    return sum((2 ** float(GRADE[i]) - 1) / math.log2(r + 2) for r, i in enumerate(order[:k])) / best


def expected_ndcg(scores: Tensor, k: int) -> Tensor:
    """E nDCG@k under Plackett-Luce, over all 24 rankings."""
    total = torch.zeros((), dtype=scores.dtype)
    for order in itertools.permutations(range(4)):
        probability = torch.ones((), dtype=scores.dtype)
        for place in range(4):
            probability = probability * scores[list(order[place:])].softmax(0)[0]
        total = total + probability * ndcg(order, k)
    return total


def repeated(rows: int) -> tuple[Tensor, Rows]:
    """One list many times over, each row with noise of its own."""
    rows_ = Rows(given_grade=GRADE.expand(rows, 4).contiguous(), samples=torch.arange(rows))
    torch.manual_seed(0)
    return SCORES.expand(rows, 4).clone().requires_grad_(), rows_


@pytest.mark.parametrize("k", [1, 4])
def test_policy_gradient_has_the_mean_of_the_exact_gradient(k: int) -> None:
    leaf = SCORES.clone().requires_grad_()
    exact = 1 - expected_ndcg(leaf, k)
    (gradient,) = torch.autograd.grad(exact, leaf)
    scores, rows = repeated(10_000)
    loss = pg_rank(scores, rows, temperature=1.0, k=k, samples=6)
    loss.mean().backward()
    assert scores.grad is not None
    assert float(loss.mean()) == pytest.approx(float(exact), abs=0.005)
    torch.testing.assert_close(scores.grad.sum(0), gradient, rtol=0.05, atol=0.005)


@pytest.mark.parametrize("k", [None, 2])
def test_stochastic_rank_has_the_mean_of_the_smoothed_metrics_gradient(k: int | None) -> None:
    # E over Gaussian noise by many draws: the score-function identity dE/ds = E[metric · noise] / σ
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(200_000, 4, generator=generator, dtype=torch.float64)
    ranks = (SCORES + 0.4 * noise).argsort(-1, descending=True).argsort(-1) + 1
    gains = (2**GRADE - 1) / (3 + 1 / math.log2(3))
    metric = (gains * (ranks <= (k or 4)) / torch.log2(1 + ranks)).sum(-1)
    expected = -((metric - metric.mean()).unsqueeze(-1) * noise).mean(0) / 0.4
    scores, rows = repeated(10_000)
    loss = stochastic_rank(scores, rows, noise=0.4, k=k, samples=2)
    loss.mean().backward()
    assert scores.grad is not None
    assert float(loss.mean()) == pytest.approx(1 - float(metric.mean()), abs=0.005)
    torch.testing.assert_close(scores.grad.sum(0), expected, rtol=0.05, atol=0.008)


@pytest.mark.parametrize("metric", ["ndcg", "mrr", "map", "classic"])
def test_yeti_weighs_neighbours_of_the_order_by_what_their_swap_changes(metric: str) -> None:
    scores, grade = lists(1, 6)
    # with next to no noise every draw has the order of the scores
    found = yeti(scores, rows_of(grade), metric=metric, noise=1e-9, samples=1, k=4)
    order = scores[0].argsort(descending=True).tolist()
    g = grade[0].tolist()
    worth = partial(value_of, metric, g)
    expected = 0.0
    for r in range(4):
        i, j = order[r], order[r + 1]
        if g[i] == g[j]:
            continue
        swapped = order.copy()
        swapped[r], swapped[r + 1] = j, i
        weight = abs(g[i] - g[j]) * 0.85**r if metric == "classic" else abs(worth(order) - worth(swapped))
        high, low = (i, j) if g[i] > g[j] else (j, i)
        apart = float(scores[0, high] - scores[0, low]) / 1e-9
        expected += weight * max(0.0, -apart)
    assert float(found) == pytest.approx(expected, rel=1e-6)


def value_of(metric: str, grade: list[float], order: list[int]) -> float:
    relevant = [grade[i] > 0 for i in order]
    if metric == "mrr":
        return next(1 / (r + 1) for r, hit in enumerate(relevant) if hit)
    if metric == "map":
        hits = [sum(relevant[: r + 1]) / (r + 1) for r, hit in enumerate(relevant) if hit]
        return sum(hits) / len(hits)
    best = sum((2**g - 1) / math.log2(r + 2) for r, g in enumerate(sorted(grade, reverse=True)[:4]))
    return sum((2 ** grade[i] - 1) / math.log2(r + 2) for r, i in enumerate(order[:4])) / best


@pytest.mark.parametrize("text", ["pg_rank", "yeti", "stochastic_rank"])
def test_noise_changes_with_torchs_seed_and_only_with_it(text: str) -> None:
    embeddings = torch.randn(12, 5, generator=torch.Generator().manual_seed(0))
    relation = Relation.labels(torch.arange(12) % 4)
    values = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        values.append(float(Objective(text)(embeddings, embeddings, relation)))
    assert values[0] == values[1]
    assert values[0] != values[2]


@pytest.mark.parametrize("ours", [partial(pg_rank, temperature=1.0), yeti, stochastic_rank])
def test_left_out_keys_have_no_gradient_in_samples(ours: object) -> None:
    scores, grade = lists(3, 8)
    known = torch.ones(3, 8, dtype=torch.bool)
    known[:, 5:] = False
    leaf = scores.requires_grad_()
    ours(leaf, rows_of(grade, known)).sum().backward()  # type: ignore[operator]
    assert leaf.grad is not None
    assert float(leaf.grad[:, 5:].abs().sum()) == 0.0
    assert float(leaf.grad[:, :5].abs().sum()) > 0.0


def test_noise_is_uniform_and_independent_between_rows_and_draws() -> None:
    scores, rows = torch.zeros(400, 300), Rows(samples=torch.arange(400))
    draws = torch.stack([uniform(scores, rows, 0, d).flatten() for d in range(4)]).double()
    histogram = draws.flatten().histc(20, 0, 1) / draws.numel()
    assert float((histogram - 0.05).abs().max()) < 0.002
    table = torch.cat([draws, draws[:1].roll(1, 1), draws[:1].roll(300, 1)])
    correlation = torch.corrcoef(table) - torch.eye(6)
    assert float(correlation.abs().max()) < 0.015


def test_noise_is_never_0_or_1_whose_logarithm_or_quantile_is_infinite() -> None:
    rows = Rows(samples=torch.arange(4096))
    for draw in range(4):  # of 2^26 numbers with 24 bits, some would be rounded to 1
        least, most = uniform(torch.zeros(4096, 4096), rows, 0, draw).aminmax()
        assert 0 < float(least) < float(most) < 1
