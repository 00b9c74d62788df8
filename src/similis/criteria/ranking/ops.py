"""What ranking criteria share: soft ranks, sums over ordered pairs, gains and discounts, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from similis.criteria import ops
from similis.errors import UserError
from similis.relation import Rows

#: Pairs held at once: 2^19 float32 are 2 MB, about one core's cache.
PAIRS_AT_ONCE = 1 << 19

#: ``(differences [..., c, m], which of the chosen keys) -> (values, slopes, counted)``, each ``[..., c, m]``.
Term = Callable[[Tensor, slice], tuple[Tensor, Tensor, Tensor]]


def one_of(what: str, value: str, allowed: tuple[str, ...]) -> str:
    """``value`` where it is allowed, else a :class:`UserError` that lists what is."""
    if value not in allowed:
        raise UserError(f"{what} must be one of {', '.join(allowed)}, not {value!r}")
    return value


def known_scores(scores: Tensor, relation: Rows) -> Tensor:
    """Scores with those left out so low that they rank last."""
    return scores if relation.left_out is None else ops.drop(scores, relation.left_out)


def chosen(values: Tensor, index: Tensor) -> Tensor:
    """``[..., m]``, ``[..., P]`` → ``[..., P]``: the values of the chosen keys."""
    return values.gather(-1, index)


def cuts(scores: Tensor, count: int) -> Iterator[slice]:
    """Slices of ``count`` chosen keys, each compared with all keys of all rows within :data:`PAIRS_AT_ONCE`."""
    step = max(1, PAIRS_AT_ONCE // max(1, scores.numel()))
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def lower(relation: Rows, index: Tensor, real: Tensor) -> Callable[[slice], Tensor]:
    """For chosen keys ``index`` ``[..., P]``: booleans ``[..., c, m]``, the known keys of a lower grade."""
    if relation.given_grade is None:
        negative = relation.negative.unsqueeze(-2)
        return lambda cut: negative & real[..., cut].unsqueeze(-1)
    grade = relation.grade.masked_fill(~relation.known, float("inf"))
    own = chosen(relation.grade, index).masked_fill(~real, -float("inf"))
    return lambda cut: own[..., cut].unsqueeze(-1) > grade.unsqueeze(-2)


class _SoftRanks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, index: Tensor, temperature: float) -> Tensor:
        ranks = torch.empty(index.shape, dtype=scores.dtype, device=scores.device)
        own = chosen(scores, index)
        for cut in cuts(scores, index.shape[-1]):
            difference = scores.unsqueeze(-2) - own[..., cut].unsqueeze(-1)
            ranks[..., cut] = difference.div_(temperature).sigmoid_().sum(-1)
        ctx.save_for_backward(scores, index)
        ctx.temperature = temperature
        return ranks.add_(0.5)

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        scores, index = ctx.saved_tensors
        gradient = torch.zeros_like(scores)
        own = chosen(scores, index)
        for cut in cuts(scores, index.shape[-1]):
            above = (scores.unsqueeze(-2) - own[..., cut].unsqueeze(-1)).div_(ctx.temperature).sigmoid_()
            slope = above.mul_(1 - above).mul_((outer[0][..., cut] / ctx.temperature).unsqueeze(-1))
            gradient += slope.sum(-2)
            gradient.scatter_add_(-1, index[..., cut], -slope.sum(-1))
        return gradient, None, None


def soft_ranks(scores: Tensor, index: Tensor, temperature: float) -> Tensor:
    """``[..., m]``, ``[..., P]`` → ``[..., P]``: 1 + Σ_{k≠p} sigmoid((s_k - s_p)/τ), the smooth rank of chosen keys.

    Keys to ignore have scores of :func:`ops.low`. Memory is O(m + P) a row: the backward pass computes the
    sigmoids again. Source: the position function of Qin, Liu and Li, "A General Approximation Framework for
    Direct Optimization of Information Retrieval Measures", 2010.
    """
    ranks: Tensor = _SoftRanks.apply(scores, index, temperature)  # type: ignore[no-untyped-call]
    return ranks


class _PairSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, index: Tensor, term: Term) -> tuple[Tensor, Tensor]:
        total = scores.new_zeros(scores.shape[:-1])
        count = torch.zeros_like(total)
        gradient = torch.zeros_like(scores)
        own = chosen(scores, index)
        for cut in cuts(scores, index.shape[-1]):
            values, slopes, counted = term(own[..., cut].unsqueeze(-1) - scores.unsqueeze(-2), cut)
            total += values.sum((-1, -2))
            count += counted.sum((-1, -2))
            gradient.scatter_add_(-1, index[..., cut], slopes.sum(-1))
            gradient -= slopes.sum(-2)
        ctx.save_for_backward(gradient)
        ctx.mark_non_differentiable(count)
        return total, count

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * outer[0].unsqueeze(-1), None, None


def pair_sum(scores: Tensor, index: Tensor, term: Term) -> tuple[Tensor, Tensor]:
    """Sum over chosen keys p ``[..., P]`` and all keys k of a function of s_p - s_k, and the pairs it counts.

    ``term`` gives values and slopes (derivatives by the difference) of a slice of the chosen keys against all
    keys, both already masked; the gradient is added up on the way, so memory is O(m) a row whatever P is.

    Returns:
        ``[...]`` sums and ``[...]`` counts (without gradient).
    """
    found: tuple[Tensor, Tensor] = _PairSum.apply(scores, index, term)  # type: ignore[no-untyped-call]
    return found


def with_gradient(value: Tensor, scores: Tensor, gradient: Tensor) -> Tensor:
    """``[...]`` values whose gradient by ``scores`` ``[..., m]`` is ``gradient``: how an estimator enters."""
    carried = (scores * gradient).sum(-1)
    return value + (carried - carried.detach())


def running_logsumexp(values: Tensor) -> Tensor:
    """``[..., m]`` → ``[..., m]``: log Σ_{j ≤ i} exp of each place and those before it.

    A running sum in float64, several times faster than ``logcumsumexp`` and its backward pass; exact where the row
    spans less than 600 units, and finite with a zero gradient below that.
    """
    top = values.detach().amax(-1, keepdim=True)
    running = (values - top).double().exp().cumsum(-1).clamp_min(1e-280)
    return running.log().to(values.dtype) + top


def hard_ranks(scores: Tensor) -> Tensor:
    """``[..., m]`` → ``[..., m]`` integers: 1 for the highest score; ties in the order given."""
    order = ops.order(-scores.detach())
    places = torch.arange(1, scores.shape[-1] + 1, device=scores.device).expand_as(order)
    return torch.empty_like(order).scatter_(-1, order, places)


def gains(relation: Rows, gain: str, like: Tensor) -> Tensor:
    """``[..., m]``: ``2^grade - 1`` (exponential) or the grade (linear) of known keys; 0 elsewhere and below 0."""
    one_of("gain", gain, ("exponential", "linear"))
    grade = relation.grade.to(like.dtype).masked_fill(~relation.known, 0.0).clamp_min(0)
    return torch.exp2(grade) - 1 if gain == "exponential" else grade


def discounts(ranks: Tensor, k: int | None, dtype: torch.dtype) -> Tensor:
    """``1 / log2(1 + rank)`` for ranks from 1, and 0 beyond ``k``."""
    found = torch.log2(ranks.to(dtype) + 1).reciprocal()
    return found if k is None else found.masked_fill(ranks > k, 0.0)


def max_dcg(gain: Tensor, k: int | None) -> Tensor:
    """``[..., m]`` gains → ``[..., 1]``: the DCG@k of the best order, 1 where there is no gain."""
    most = gain.shape[-1] if k is None else min(k, gain.shape[-1])
    count = min(most, max(1, int((gain > 0).sum(-1).max()))) if gain.numel() else 1
    best = gain.topk(count, -1).values
    places = torch.arange(1, count + 1, device=gain.device)
    ideal = (best * discounts(places, None, gain.dtype)).sum(-1, keepdim=True)
    return torch.where(ideal > 0, ideal, torch.ones_like(ideal))


def grade_places(relation: Rows) -> tuple[Tensor, Tensor]:
    """How many known keys are graded higher than each key, and how many equal (itself among them): ``[..., m]``.

    With t equal keys after h higher ones, the key's rank by grade is h + (t + 1)/2, ties averaged.
    """
    if relation.given_grade is None:
        positives = ops.count(relation.positive, keepdim=True)
        higher = torch.where(relation.positive, 0, positives)
        return higher, torch.where(relation.positive, positives, ops.count(relation.negative, keepdim=True))
    falling = (-relation.grade).masked_fill(~relation.known, float("inf"))
    line = falling.gather(-1, ops.order(falling))
    higher = torch.searchsorted(line, falling.contiguous())
    return higher, torch.searchsorted(line, falling.contiguous(), right=True) - higher


def mean_square_gap(values: Tensor, kept: Tensor) -> Tensor:
    """Mean of (v_i - v_j)² over the pairs i < j of the kept, in O(m): twice the sample variance."""
    count = ops.count(kept)
    centred = values - (ops.total(values, kept) / count.clamp_min(1)).unsqueeze(-1)
    return 2 * ops.total(centred.square(), kept) / (count - 1).clamp_min(1)
