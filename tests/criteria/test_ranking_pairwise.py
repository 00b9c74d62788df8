"""Pairwise ranking criteria against sentence-transformers and loops over pairs."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from ranking_lists import SHAPES, assert_equal_to_peer, assert_padding_is_ignored, lists, rows_of
from sentence_transformers.cross_encoder import losses
from torch import Tensor

from similis.criteria.ranking import ops as ranking_ops
from similis.criteria.ranking.pairwise import fidelity, rank_hinge, ranknet
from similis.criteria.ranking.swapped import arp_loss, lambda_loss, lambda_rank
from similis.errors import UserError
from similis.relation import Rows

SCHEMES = {
    "none": losses.NoWeightingScheme,
    "ndcg1": losses.NDCGLoss1Scheme,
    "ndcg2": losses.NDCGLoss2Scheme,
    "lambda_rank": losses.LambdaRankScheme,
    "ndcg2pp": losses.NDCGLoss2PPScheme,
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("k", [None, 3])
@pytest.mark.parametrize("weighting", SCHEMES)
def test_lambda_loss_is_that_of_sentence_transformers(weighting: str, k: int | None, shape: tuple[int, int]) -> None:
    # one row at a time: the peer averages over the pairs of all rows together
    scores, grade = lists(1, shape[1], seed=shape[0])
    ours = partial(lambda_loss, weighting=weighting, k=k, sigma=1.5)
    assert_equal_to_peer(
        ours, lambda model: losses.LambdaLoss(model, SCHEMES[weighting](), k=k, sigma=1.5), scores, grade
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_ranknet_is_that_of_sentence_transformers_in_base_two(shape: tuple[int, int]) -> None:
    scores, grade = lists(1, shape[1], seed=shape[0])
    for k in (None, 2):
        assert_equal_to_peer(
            partial(ranknet, k=k), lambda model, k=k: losses.RankNetLoss(model, k=k), scores, grade, 1 / math.log(2)
        )


def metric_at(name: str, order: list[int], grade: list[float], k: int) -> float:
    """A ranking metric of keys in ``order``, by its definition."""
    relevant = [grade[i] > 0 for i in order]
    if name == "ndcg":
        best = sum((2**g - 1) / math.log2(r + 2) for r, g in enumerate(sorted(grade, reverse=True)[:k]))
        return sum((2 ** grade[i] - 1) / math.log2(r + 2) for r, i in enumerate(order[:k])) / best
    if name == "mrr":
        return next((1 / (r + 1) for r in range(min(k, len(order))) if relevant[r]), 0.0)
    if name == "precision":
        return sum(relevant[:k]) / k
    return sum(sum(relevant[: r + 1]) / (r + 1) for r in range(min(k, len(order))) if relevant[r]) / sum(relevant)


@pytest.mark.parametrize("metric", ["ndcg", "mrr", "map", "precision"])
@pytest.mark.parametrize("k", [None, 4])
def test_lambda_rank_weighs_by_the_change_of_the_metric_when_two_keys_swap(metric: str, k: int | None) -> None:
    for seed, levels in ((0, 2), (1, 4)):
        scores, grade = lists(3, 9, levels=levels, seed=seed)
        found = lambda_rank(scores, rows_of(grade), metric=metric, k=k)
        for row in range(3):
            order = scores[row].argsort(descending=True).tolist()
            values = grade[row].tolist()
            before = metric_at(metric, order, values, k or 9)
            expected = 0.0
            for i in range(9):
                for j in range(9):
                    if values[i] <= values[j]:
                        continue
                    swapped = [{i: j, j: i}.get(key, key) for key in order]
                    cost = abs(metric_at(metric, swapped, values, k or 9) - before)
                    expected += cost * math.log1p(math.exp(-float(scores[row, i] - scores[row, j])))
            assert float(found[row]) == pytest.approx(expected)


def pair_loop(scores: Tensor, grade: Tensor, term: object) -> Tensor:
    """Mean over pairs graded i > j of a function of (s_i, s_j, g_i, g_j), by loops and automatic differentiation."""
    rows = []
    for s, g in zip(scores, grade, strict=True):
        pairs = [
            term(s[i], s[j], g[i], g[j])  # type: ignore[operator]
            for i in range(len(s))
            for j in range(len(s))
            if g[i] > g[j]
        ]
        rows.append(torch.stack(pairs).mean())
    return torch.stack(rows)


def phi(x: Tensor) -> Tensor:
    return torch.special.ndtr(x / math.sqrt(2) / 0.7)


CASES = {
    "rank_hinge": (partial(rank_hinge, margin=0.8), lambda a, b, g, h: (0.8 - a + b).clamp_min(0)),
    "rank_hinge by grade": (
        partial(rank_hinge, margin=0.8, by_grade=True),
        lambda a, b, g, h: (0.8 * (g - h) - a + b).clamp_min(0),
    ),
    "fidelity": (partial(fidelity, temperature=0.7), lambda a, b, g, h: 1 - phi(a - b).sqrt()),
    "fidelity to grades": (
        partial(fidelity, temperature=0.7, target_temperature=0.7),
        lambda a, b, g, h: 1 - (phi(a - b) * phi(g - h)).sqrt() - ((1 - phi(a - b)) * (1 - phi(g - h))).sqrt(),
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("shape", SHAPES)
def test_pair_criteria_equal_a_loop_over_pairs(case: str, shape: tuple[int, int]) -> None:
    ours, term = CASES[case]
    scores, grade = lists(*shape)
    values, gradients = [], []
    for make in (lambda s: ours(s, rows_of(grade)), lambda s: pair_loop(s, grade, term)):
        leaf = scores.clone().requires_grad_()
        loss = make(leaf)
        loss.sum().backward()
        values.append(loss.detach())
        gradients.append(leaf.grad)
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("bound", [1, 2])
def test_arp_loss_bounds_the_average_relevance_position(bound: int) -> None:
    scores, grade = lists(4, 8)
    found = arp_loss(scores, rows_of(grade), bound=bound)
    for s, g, value in zip(scores, grade, found, strict=True):
        total = 0.0
        for i in range(8):
            for j in range(8):
                weight = float(g[i]) * (i != j) if bound == 1 else max(0.0, float(g[i] - g[j]))
                total += weight * math.log2(1 + math.exp(-float(s[i] - s[j])))
        assert float(value) == pytest.approx(total / float(g.sum()))
    if bound == 1:
        ranks = ranking_ops.hard_ranks(scores)
        assert bool((found + 1 >= (grade * ranks).sum(-1) / grade.sum(-1)).all())


def test_reciprocal_weights_count_the_first_places_most() -> None:
    scores = torch.tensor([[0.3, 0.9, -0.2]], dtype=torch.float64)
    grade = torch.tensor([[3.0, 2.0, 1.0]])
    expected = sum(
        math.log1p(math.exp(-float(scores[0, i] - scores[0, j]))) / (i + j + 2) for i, j in ((0, 1), (0, 2), (1, 2))
    )
    assert float(ranknet(scores, rows_of(grade), weighting="reciprocal")) == pytest.approx(expected)


@pytest.mark.parametrize(
    "ours", [ranknet, partial(lambda_rank, metric="map"), lambda_rank, lambda_loss, arp_loss, rank_hinge, fidelity]
)
def test_padding_is_ignored_in_pairs(ours: object) -> None:
    assert_padding_is_ignored(ours, *lists(3, 6))  # type: ignore[arg-type]


@pytest.mark.parametrize("at_once", [1, 40, 1 << 19])
def test_pairs_in_pieces_give_the_same_gradient(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    scores, grade = lists(3, 8)
    reference = torch.func.jacrev(lambda s: pair_loop(s, grade, CASES["fidelity"][1]).sum())(scores)
    monkeypatch.setattr(ranking_ops, "PAIRS_AT_ONCE", at_once)
    leaf = scores.clone().requires_grad_()
    fidelity(leaf, rows_of(grade), temperature=0.7).sum().backward()
    torch.testing.assert_close(leaf.grad, reference)


def test_binary_and_graded_forms_of_one_relation_agree() -> None:
    scores, grade = lists(4, 9, levels=2)
    same = Rows(same=grade > 0)
    for ours in (ranknet, lambda_rank, lambda_loss, arp_loss, rank_hinge, fidelity):
        torch.testing.assert_close(ours(scores, same), ours(scores, rows_of(grade)), check_dtype=False)


def test_an_unknown_metric_is_named() -> None:
    scores, grade = lists(2, 4)
    with pytest.raises(UserError, match="metric must be one of ndcg, mrr, map, precision, not 'err'"):
        lambda_rank(scores, rows_of(grade), metric="err")
