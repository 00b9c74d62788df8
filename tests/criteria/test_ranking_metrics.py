"""Smooth ranking metrics against pytorch-metric-learning, their definitions and the metrics themselves."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from pytorch_metric_learning import losses
from ranking_lists import SHAPES, assert_padding_is_ignored, lists, rows_of
from torch import Tensor

from similis.criteria.ranking import ops as ranking_ops
from similis.criteria.ranking.measures import (
    approx_mrr,
    approx_ndcg,
    fast_ap,
    recall_at_k,
    smooth_ap,
)
from similis.criteria.ranking.sorting import blackbox_ap, neural_ndcg
from similis.objective import Objective
from similis.relation import Relation, Rows


def batch(classes: int, per_class: int, dimension: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(classes)
    return torch.randn(classes * per_class, dimension, generator=generator, dtype=torch.float64), torch.arange(
        classes
    ).repeat_interleave(per_class)


# As many classes as items of each: pytorch-metric-learning's SmoothAPLoss takes one for the other when it groups
# the batch, so only there is it the paper's loss.
@pytest.mark.parametrize("shape", [(2, 2, 5), (4, 4, 8), (6, 6, 6)])
@pytest.mark.parametrize(
    ("text", "peer", "with_self"),
    [
        ("smooth_ap(temperature=0.1)", losses.SmoothAPLoss(temperature=0.1), True),
        ("smooth_ap", losses.SmoothAPLoss(), True),
        ("fast_ap", losses.FastAPLoss(), False),
        ("fast_ap(bins=7)", losses.FastAPLoss(num_bins=7), False),
    ],
)
def test_average_precision_losses_are_those_of_pytorch_metric_learning(
    text: str, peer: torch.nn.Module, with_self: bool, shape: tuple[int, int, int]
) -> None:
    embeddings, labels = batch(*shape)
    relation = Relation.labels(labels, labels, exclude_self=not with_self)
    found = []
    for loss in (lambda e: Objective(text)(e, e, relation), lambda e: peer(e, labels)):
        leaf = embeddings.clone().requires_grad_()
        value = loss(leaf)
        value.backward()
        found.append((value.detach(), leaf.grad))
    # the peer counts SmoothAP's ranks in float32
    rtol, atol = (1e-6, 1e-8) if text.startswith("fast") else (1e-4, 1e-5)
    torch.testing.assert_close(found[0], found[1], rtol=rtol, atol=atol, check_dtype=False)


def smooth_rank(scores: Tensor, i: int, temperature: float) -> Tensor:
    others = [j for j in range(len(scores)) if j != i]
    above = [torch.sigmoid((scores[j] - scores[i]) / temperature) for j in others]
    return 1 + sum(above, torch.zeros((), dtype=scores.dtype))


def smooth_ap_by_definition(scores: Tensor, grade: Tensor) -> Tensor:
    positives = [i for i in range(len(grade)) if grade[i] > 0]
    own = scores[positives]
    terms = [smooth_rank(own, place, 0.3) / smooth_rank(scores, i, 0.3) for place, i in enumerate(positives)]
    return 1 - torch.stack(terms).mean()


def approx_ndcg_by_definition(scores: Tensor, grade: Tensor) -> Tensor:
    best = sum((2 ** float(g) - 1) / math.log2(r + 2) for r, g in enumerate(grade.sort(descending=True).values))
    return 1 - sum((2 ** grade[i] - 1) / torch.log2(1 + smooth_rank(scores, i, 0.3)) for i in range(len(grade))) / best


def approx_mrr_by_definition(scores: Tensor, grade: Tensor) -> Tensor:
    return 1 - sum(grade[i] / smooth_rank(scores, i, 0.3) for i in range(len(grade))) / grade.sum()


def recall_by_definition(scores: Tensor, grade: Tensor) -> Tensor:
    positives = [i for i in range(len(grade)) if grade[i] > 0]
    total = torch.zeros(())
    for k in (1, 3):
        inside = sum(torch.sigmoid((k - smooth_rank(scores, i, 0.3)) / 0.5) for i in positives)
        total = total + inside.clamp(max=k) / min(k, len(positives)) / 2  # type: ignore[union-attr]
    return 1 - total


def neural_ndcg_by_definition(scores: Tensor, grade: Tensor) -> Tensor:
    n = len(scores)
    apart = (scores.unsqueeze(1) - scores.unsqueeze(0)).abs().sum(1)
    best = sum((2 ** float(g) - 1) / math.log2(r + 2) for r, g in enumerate(grade.sort(descending=True).values[:4]))
    total = torch.zeros(())
    for place in range(1, min(4, n) + 1):
        permutation = (((n + 1 - 2 * place) * scores - apart) / 0.7).softmax(0)
        total = total + (permutation * (2**grade - 1)).sum() / math.log2(1 + place)
    return 1 - total / best


CASES = {
    "smooth_ap": (partial(smooth_ap, temperature=0.3), smooth_ap_by_definition),
    "approx_ndcg": (partial(approx_ndcg, temperature=0.3), approx_ndcg_by_definition),
    "approx_mrr": (partial(approx_mrr, temperature=0.3), approx_mrr_by_definition),
    "recall_at_k": (partial(recall_at_k, k=(1, 3), temperature=0.5, rank_temperature=0.3), recall_by_definition),
    "neural_ndcg": (partial(neural_ndcg, temperature=0.7, k=4), neural_ndcg_by_definition),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("shape", SHAPES)
def test_smooth_metrics_equal_their_definition(case: str, shape: tuple[int, int]) -> None:
    ours, definition = CASES[case]
    scores, grade = lists(*shape)
    expected_leaf, leaf = scores.clone().requires_grad_(), scores.clone().requires_grad_()
    expected = torch.stack([definition(s, g) for s, g in zip(expected_leaf, grade, strict=True)])
    value = ours(leaf, rows_of(grade))
    torch.testing.assert_close(value, expected, check_dtype=False)
    value.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(leaf.grad, expected_leaf.grad)


def average_precision(scores: Tensor, positive: Tensor) -> float:
    order = scores.argsort(descending=True)
    hits = positive[order].double()
    return float((hits * hits.cumsum(0) / torch.arange(1, len(hits) + 1)).sum() / hits.sum())


@pytest.mark.parametrize("shape", SHAPES)
def test_sharp_smooth_metrics_are_the_metrics(shape: tuple[int, int]) -> None:
    scores, grade = lists(*shape, levels=2)
    expected = torch.tensor([1 - average_precision(s, g > 0) for s, g in zip(scores, grade, strict=True)]).double()
    torch.testing.assert_close(smooth_ap(scores, rows_of(grade), temperature=1e-6), expected)
    torch.testing.assert_close(blackbox_ap(scores, rows_of(grade), margin=0.0), expected)
    ranks = ranking_ops.hard_ranks(scores)
    best = ranking_ops.max_dcg(grade, None)
    ndcg = (grade / torch.log2(1 + ranks)).sum(-1) / best.squeeze(-1)
    torch.testing.assert_close(approx_ndcg(scores, rows_of(grade), temperature=1e-6), 1 - ndcg)
    torch.testing.assert_close(neural_ndcg(scores, rows_of(grade), temperature=1e-6, k=None), 1 - ndcg)
    for k in (1, 3):
        found = recall_at_k(scores, rows_of(grade), k=[k], temperature=1e-3, rank_temperature=1e-6)
        # a rank equal to the cut-off counts half, as in the paper
        inside = ((ranks < k) + 0.5 * (ranks == k)) * grade
        torch.testing.assert_close(found, 1 - inside.sum(-1) / grade.sum(-1).clamp(max=k))


def test_black_box_gradient_is_the_change_of_ranks_under_a_step() -> None:
    scores = torch.tensor([[0.5, 0.9, 0.1]], dtype=torch.float64, requires_grad=True)
    rows = Rows(same=torch.tensor([[True, False, False]]))
    blackbox_ap(scores, rows, step=2.0, margin=0.0).sum().backward()
    # rank 2 of 3: the loss rises by 1/4 a rank, so the positive moves up by 2/4 and overtakes the first key
    torch.testing.assert_close(scores.grad, torch.tensor([[-0.5, 0.5, 0.0]], dtype=torch.float64))


@pytest.mark.parametrize("ours", [approx_ndcg, approx_mrr, smooth_ap, recall_at_k, fast_ap, neural_ndcg, blackbox_ap])
def test_padding_is_ignored_in_metrics(ours: object) -> None:
    assert_padding_is_ignored(ours, *lists(3, 6))  # type: ignore[arg-type]


def test_descending_each_smooth_metric_raises_the_metric() -> None:
    scores, grade = lists(4, 12, levels=2)
    before = sum(average_precision(s, g > 0) for s, g in zip(scores, grade, strict=True))
    steps = {approx_ndcg: 1.0, approx_mrr: 1.0, smooth_ap: 0.5, recall_at_k: 0.5, fast_ap: 0.5, neural_ndcg: 1.0}
    for ours, size in steps.items():
        leaf = torch.tanh(scores).requires_grad_()
        for _ in range(10):
            (gradient,) = torch.autograd.grad(ours(leaf, rows_of(grade)).sum(), leaf)
            leaf = (leaf - size * gradient).detach().requires_grad_()
        after = sum(average_precision(s, g > 0) for s, g in zip(leaf.detach(), grade, strict=True))
        assert after > before, ours.__name__
