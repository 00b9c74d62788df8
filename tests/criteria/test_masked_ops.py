"""The shared arithmetic of criteria, against torch's own operations on dense masks."""

from __future__ import annotations

import pytest
import torch

from similis.criteria import ops
from similis.relation import Relation


def _made(*shape: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, generator=generator, dtype=dtype), torch.rand(*shape, generator=generator) < 0.3


@pytest.mark.parametrize("shape", [(3, 5), (4, 16), (2, 3, 7)])
def test_log_sum_exp_has_the_value_and_gradient_of_the_sum_over_the_kept(shape: tuple[int, ...]) -> None:
    scores, mask = _made(*shape)
    mask[..., 0] = True
    ours, theirs = (scores.clone().requires_grad_() for _ in range(2))
    weights = torch.arange(1.0, 1 + mask.shape[:-1].numel(), dtype=torch.float64).view(mask.shape[:-1])
    (ops.logsumexp(3 * ours, mask) * weights).sum().backward()
    expected = (torch.exp(3 * theirs) * mask).sum(-1).log()
    (expected * weights).sum().backward()
    assert torch.allclose(ops.logsumexp(3 * scores, mask), expected, atol=1e-12)
    assert torch.allclose(ops.logsumexp_outside(3 * scores, ~mask), expected, atol=1e-12)
    assert ours.grad is not None
    assert theirs.grad is not None
    assert torch.allclose(ours.grad, theirs.grad, atol=1e-12)


def test_log_sum_exp_of_nothing_is_finite_and_pulls_at_nothing() -> None:
    scores = torch.randn(2, 4, requires_grad=True)
    found = ops.logsumexp(scores, torch.zeros(2, 4, dtype=torch.bool))
    found.sum().backward()
    assert torch.isfinite(found).all()
    assert (found < ops.low(scores) / 2).all()
    assert scores.grad is not None
    assert not scores.grad.any()


@pytest.mark.parametrize("shape", [(1, 3), (4, 16), (5, 2, 8)])
def test_places_are_those_of_nonzero(shape: tuple[int, ...]) -> None:
    _, mask = _made(*shape)
    assert ops.places(mask).equal(mask.reshape(-1).nonzero().squeeze(-1))
    assert ops.places(mask[..., 1:]).equal(mask[..., 1:].reshape(-1).nonzero().squeeze(-1))


@pytest.mark.parametrize("even", [True, False])
def test_gathered_positives_are_the_positives_of_each_row(even: bool) -> None:
    positive = torch.zeros(4, 8, dtype=torch.bool)
    positive[torch.arange(4), torch.tensor([1, 5, 0, 7])] = True
    positive[torch.arange(4), torch.tensor([2, 6, 3, 4])] = torch.tensor([True, True, True, even])
    index, real = ops.gather_positives(positive)
    for row in range(4):
        assert sorted(index[row][real[row]].tolist()) == positive[row].nonzero().flatten().tolist()
        assert len(set(index[row].tolist())) == index.shape[1], "padding repeats no key"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_order_is_a_stable_sort_that_treats_both_zeros_alike(dtype: torch.dtype) -> None:
    values, _ = _made(3, 40, dtype=dtype)
    values = (values * 2).round()
    values[0, :4] = torch.tensor([0.0, -0.0, 0.0, -0.0])
    values[1, 3], values[2, 5] = float("inf"), -float("inf")
    assert ops.order(values).equal(values.argsort(dim=-1, stable=True))


def test_items_are_left_out_against_themselves_whatever_the_tile() -> None:
    relation = Relation.labels(torch.tensor([0, 0, 1, 1, 1]), torch.tensor([0, 0, 1, 1, 1, 2]), exclude_self=True)
    own = torch.eye(5, 6, dtype=torch.bool)
    for start, stop in ((0, 5), (1, 3), (4, 9)):
        left_out = relation.rows(start, stop).left_out
        assert left_out is not None
        assert left_out.equal(own[start:stop])
    turned = relation.transpose().rows(2, 6).left_out
    assert turned is not None
    assert turned.equal(own.T[2:6])
