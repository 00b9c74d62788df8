"""StochasticRank: a ranking measure smoothed by noise, with the exact gradient of each coordinate."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from similis.criteria import ops
from similis.criteria.ranking.noise import uniform
from similis.criteria.ranking.ops import (
    chosen,
    cuts,
    discounts,
    gains,
    hard_ranks,
    known_scores,
    max_dcg,
    with_gradient,
)
from similis.criteria.softmax.infonce import RANKING
from similis.registry import Source, register
from similis.relation import Rows


@register(
    "criterion",
    "stochastic_rank",
    source=Source(
        "StochasticRank: Global Optimization of Scale-Free Discrete Functions", "Ustimenko and Prokhorenkova", 2020
    ),
    accepts=RANKING,
    family="ranking",
    needs=("positive", "ordered"),
    surrogate_gradient=True,
    positional=True,
    sampled=True,
    sorts=True,
    each_positive=True,
)
def stochastic_rank(
    scores: Tensor,
    relation: Rows,
    *,
    noise: float = 0.1,
    samples: int = 1,
    k: int | None = None,
    gain: str = "exponential",
    seed: int = 0,
) -> Tensor:
    """1 - nDCG expected under Gaussian noise on the scores, with the coordinate-wise exact gradient.

    Given the other keys' noise, nDCG is a step function of one key's score, so its expectation over that key's own
    noise has the derivative Σ_j (G_i - G_j)(1/D(r_j) - 1/D(r_j + 1)) φ((z_j - s_i)/σ)/σ, r_j the rank of j without i:
    the paper's coordinate conditional sampling, whose variance is far below REINFORCE's. Checked by enumeration.
    Its noise: see :mod:`similis.criteria.ranking.noise`.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        noise: σ > 0, in units of the score.
        samples: draws a row.
        k: cut-off; None for all.
        gain: ``exponential`` (2^g - 1) or ``linear``.
        seed: of the noise.

    Returns:
        ``[...]``.
    """
    still = scores.detach()
    gained = gains(relation, gain, scores)
    normal = gained / max_dcg(gained, k)
    index, real = ops.gather_positives(relation.positive)
    gradient, value = torch.zeros_like(still), torch.zeros_like(still[..., 0])
    for draw in range(samples):
        # √2 erfinv(2u - 1) is the normal quantile of u
        normals = torch.erfinv(2 * uniform(scores, relation, seed, draw) - 1)
        moved = known_scores(still.add(normals, alpha=math.sqrt(2) * noise), relation)
        ranks = hard_ranks(moved)
        value += (normal * discounts(ranks, k, still.dtype)).sum(-1)
        _add_step_derivative(gradient, still, moved, ranks, normal, index, real, relation.known, noise, k)
    return with_gradient(1 - value / samples, scores, -gradient / samples)


def _add_step_derivative(
    gradient: Tensor,
    scores: Tensor,
    moved: Tensor,
    ranks: Tensor,
    gained: Tensor,
    index: Tensor,
    real: Tensor,
    known: Tensor,
    noise: float,
    k: int | None,
) -> None:
    """Add the derivative of expected DCG over one draw ``moved``: positives against all, then the rest against them."""
    own_gain, own_rank, own_moved, own = (chosen(t, index) for t in (gained, ranks, moved, scores))
    zero_gain = (gained == 0) & known

    # what a key's place is worth over the next one, with the compared key ranked after it, or before it and taken out
    worth = discounts(torch.arange(1, ranks.shape[-1] + 2, device=ranks.device), k, scores.dtype)
    over_next = worth[:-1] - worth[1:]
    place = ranks.flatten() - 1
    stays = over_next.index_select(0, place).view_as(scores)
    rises = torch.cat([over_next[:1], over_next[:-1]]).index_select(0, place).view_as(scores)
    more = rises - stays
    own_rises, own_more = chosen(rises, index), chosen(more, index)
    keys, all_ranks = moved.unsqueeze(-2), ranks.unsqueeze(-2)
    for cut in cuts(scores, index.shape[-1]):
        first = own_rank[..., cut].unsqueeze(-1)
        own_g = own_gain[..., cut].unsqueeze(-1)
        kept = real[..., cut].unsqueeze(-1) & known.unsqueeze(-2) & (all_ranks != first)
        # 1 or 0: a step between two values by arithmetic, several times faster than a choice between them
        after = (all_ranks > first).view(torch.uint8).to(scores.dtype)
        change = torch.addcmul(stays.unsqueeze(-2), after, more.unsqueeze(-2)).mul_(own_g - gained.unsqueeze(-2))
        change.mul_(_density(keys - own[..., cut].unsqueeze(-1), noise))
        gradient.scatter_add_(-1, index[..., cut], ops.total(change, kept))
        change = torch.addcmul(
            own_rises[..., cut].unsqueeze(-1), after, own_more[..., cut].unsqueeze(-1), value=-1
        ).mul_(own_g)
        change.mul_(_density(own_moved[..., cut].unsqueeze(-1) - scores.unsqueeze(-2), noise))
        gradient -= ops.masked(change, kept & zero_gain.unsqueeze(-2)).sum(-2)


def _density(difference: Tensor, noise: float) -> Tensor:
    """Normal density of standard deviation ``noise``; overwrites its argument."""
    return difference.div_(noise).square_().mul_(-0.5).exp_().mul_(1.0 / (noise * math.sqrt(2 * math.pi)))
