"""Ranking criteria that sample rankings: policy gradient, YetiRank, StochasticRank.

Their noise is a hash of a seed, torch's random state (read, not advanced), the row's sample index where the relation
has one, and the key's place: the same in every execution, other in every step of a seeded training run.
"""

from __future__ import annotations

import math
import zlib

import torch
from torch import Tensor
from torch.nn.functional import softplus

from similis.criteria import ops
from similis.criteria.ranking.ops import (
    chosen,
    cuts,
    discounts,
    gains,
    hard_ranks,
    known_scores,
    max_dcg,
    one_of,
    with_gradient,
)
from similis.criteria.softmax.infonce import RANKING
from similis.registry import Source, register
from similis.relation import Rows

_TRICKS = Source("Which Tricks are Important for Learning to Rank?", "Lyzhin, Ustimenko, Gulin and Prokhorenkova", 2023)


def _uniform(scores: Tensor, relation: Rows, seed: int, draw: int) -> Tensor:
    """``[..., m]`` numbers in (0, 1), see the module's first paragraph."""
    state = zlib.crc32(torch.get_rng_state().numpy().tobytes())
    start = (state * 0x9E3779B1 + seed * 0x85EBCA77 + draw * 0xC2B2AE3D) & 0x7FFFFFFF
    column = _mixed(torch.arange(scores.shape[-1], device=scores.device) * 0x9E3779B97F4A7 + start)
    row = torch.zeros(1, dtype=torch.long, device=scores.device) if relation.samples is None else relation.samples
    row = _mixed(row.long() * 0x2545F4914F6CDD1D)
    # only this last step is taken for every pair, on 32-bit integers and in place
    x = _narrow(column) + _narrow(row).unsqueeze(-1)
    x.mul_(0x2C1B3C6D).bitwise_xor_(x >> 15).mul_(0x297A2D39)
    # 23 bits: with one more the largest number would be rounded to 1, whose logarithm and quantile are infinite
    uniform = (x >> 9).bitwise_and_(0x7FFFFF).to(scores.dtype).add_(0.5).mul_(1 / (1 << 23))
    return uniform.expand_as(scores)


def _mixed(x: Tensor) -> Tensor:
    """A mixing step on 64-bit integers (xor-shift and multiply, wrapping)."""
    x = (x ^ (x >> 30)) * -0x40A7B892E31B1A47
    x = (x ^ (x >> 27)) * -0x6B2FB644ECCEEE15
    return x ^ (x >> 31)


def _narrow(x: Tensor) -> Tensor:
    """The low 31 bits, as 32-bit integers."""
    return x.bitwise_and(0x7FFFFFFF).to(torch.int32)


@register(
    "criterion",
    "pg_rank",
    source=Source(
        "Policy-Gradient Training of Language Models for Ranking", "Gao, Chang, Cardie, Brantley and Joachims", 2023
    ),
    accepts=RANKING,
    family="ranking",
    needs=("positive", "ordered"),
    surrogate_gradient=True,
    positional=True,
    sampled=True,
    sorts=True,
)
def pg_rank(
    scores: Tensor,
    relation: Rows,
    *,
    temperature: float = 0.05,
    samples: int = 4,
    k: int = 10,
    gain: str = "exponential",
    seed: int = 0,
) -> Tensor:
    """1 - expected nDCG@k of rankings drawn from Plackett-Luce(scores/τ), by REINFORCE with a leave-one-out baseline.

    Rankings are drawn by adding Gumbel noise to the scores and sorting; only the first k places enter, whose joint
    log-probability is all that the reward depends on. The value is the sample mean, the gradient the estimator
    -1/S Σ_s (R_s - mean of the other R) ∇ log P(ranking_s), added up without a graph. Checked by
    enumeration of all rankings.
    Its noise: see the module.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        temperature: τ > 0, in units of the score.
        samples: rankings drawn a row, at least 2.
        k: places that count.
        gain: ``exponential`` (2^g - 1) or ``linear``.
        seed: of the noise.

    Returns:
        ``[...]``.
    """
    logits = known_scores(scores.detach() / temperature, relation)
    gained = gains(relation, gain, scores)
    best = max_dcg(gained, k).squeeze(-1)
    places = torch.arange(1, min(k, scores.shape[-1]) + 1, device=scores.device)
    worth = discounts(places, None, scores.dtype)
    tops, rewards = [], []
    for draw in range(samples):
        gumbel = _uniform(scores, relation, seed, draw).log().neg_().log_().neg_()
        top = gumbel.add_(logits).topk(len(places), -1).indices
        tops.append(top)
        rewards.append((chosen(gained, top) * worth).sum(-1) / best)
    reward = torch.stack(rewards)
    advantage = (reward - reward.mean(0)) / (samples - 1)
    gradient = torch.zeros_like(logits)
    for top, excess in zip(tops, advantage, strict=True):
        _add_log_probability(gradient, logits, top, relation.known, -excess / temperature)
    return with_gradient(1 - reward.mean(0), scores, gradient)


def _add_log_probability(gradient: Tensor, logits: Tensor, top: Tensor, known: Tensor, weight: Tensor) -> None:
    """Add ``weight · ∂/∂logits`` of the log-probability that ``top`` ``[..., k]`` come first, in this order."""
    own = chosen(logits, top)
    real = chosen(known, top)
    others = logits.scatter(-1, top, ops.low(logits))
    shares = others.softmax(-1)
    rest = others.amax(-1, keepdim=True) - shares.amax(-1, keepdim=True).log()
    tails = torch.cat([own, rest], -1).flip(-1).logcumsumexp(-1).flip(-1)[..., :-1]
    inverse = (-tails).masked_fill(~real, ops.low(logits))
    # a key not yet placed takes part in the denominators of all k places; one placed a-th, in the first a
    remains = (rest > ops.low(logits) / 2) * (rest + inverse.logsumexp(-1, keepdim=True)).exp()
    placed = real.to(logits.dtype) - (own + inverse.logcumsumexp(-1)).exp()
    gradient.addcmul_(shares, -remains * weight.unsqueeze(-1))
    gradient.scatter_add_(-1, top, placed.masked_fill(~real, 0.0) * weight.unsqueeze(-1))


@register(
    "criterion",
    "yeti",
    source=_TRICKS,
    accepts=RANKING,
    family="ranking",
    needs=("positive", "ordered"),
    positional=True,
    sampled=True,
    sorts=True,
)
def yeti(
    scores: Tensor,
    relation: Rows,
    *,
    metric: str = "ndcg",
    samples: int = 4,
    k: int = 10,
    noise: float = 1.0,
    decay: float = 0.85,
    gain: str = "exponential",
    seed: int = 0,
) -> Tensor:
    """Logistic loss on neighbours of randomly perturbed rankings, weighted by what swapping them changes: YetiLoss.

    Definition: mean over draws of Σ_r w_r ln(1 + exp(-(s_i - s_j)/σ)), i, j the keys at places r and r + 1 of the
    scores plus σ·logistic noise, i of the higher grade; w is the metric's change (``ndcg``, ``mrr``, ``map``) or, for
    ``classic`` (YetiRank, Gulin et al. 2011), (g_i - g_j)·decay^(r-1). Weights carry no gradient.

    CatBoost's YetiRank is ``classic``, its modes the others; TF-Ranking's YetiLogisticLoss keeps its Gumbel noise
    in the loss. Its noise: see the module.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        metric: ``ndcg``, ``mrr``, ``map`` or ``classic``.
        samples: perturbed rankings a row.
        k: places whose swap with the next counts.
        noise: σ > 0, scale of the noise and of the loss, in units of the score.
        decay: of ``classic``.
        gain: of ``ndcg``: ``exponential`` or ``linear``.
        seed: of the noise.

    Returns:
        ``[...]``.
    """
    one_of("metric", metric, ("ndcg", "mrr", "map", "classic"))
    grade = relation.grade.to(scores.dtype)
    gained = gains(relation, gain, scores) / max_dcg(gains(relation, gain, scores), k)
    count = min(k + 1, scores.shape[-1])
    places = torch.arange(1, count, device=scores.device)
    loss = scores.new_zeros(scores.shape[:-1])
    for draw in range(samples):
        uniform = _uniform(scores, relation, seed, draw)
        moved = torch.add(scores.detach(), uniform.logit(), alpha=noise)
        top = known_scores(moved, relation).topk(count, -1).indices
        real = chosen(relation.known, top)
        if metric == "ndcg":
            step = discounts(places, k, scores.dtype) - discounts(places + 1, k, scores.dtype)
            weight = chosen(gained, top).diff(dim=-1).abs() * step
        elif metric == "classic":
            weight = chosen(grade, top).diff(dim=-1).abs() * decay ** (places - 1)
        else:
            weight = _neighbour_change(metric, chosen(relation.positive, top), relation, places)
        sign = -chosen(grade, top).diff(dim=-1).sign()
        apart = -chosen(scores, top).diff(dim=-1) * sign / noise
        pairs = real[..., 1:] & real[..., :-1] & (sign != 0)
        loss = loss + ops.total(softplus(-apart) * weight, pairs)
    return loss / samples


def _neighbour_change(metric: str, relevant: Tensor, relation: Rows, places: Tensor) -> Tensor:
    """``[..., k]``: change of the metric when places r and r + 1 of ``relevant`` ``[..., k + 1]`` are swapped."""
    before = relevant[..., :-1].cumsum(-1) - relevant[..., :-1].long()
    step = 1.0 / places - 1.0 / (places + 1)
    differ = relevant[..., 1:] != relevant[..., :-1]
    if metric == "mrr":
        return step * (differ & (before == 0))
    total = ops.count(relation.positive, keepdim=True).clamp_min(1)
    return (before + 1) * step * differ / total


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
    Its noise: see the module.

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
        normals = torch.erfinv(2 * _uniform(scores, relation, seed, draw) - 1)
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
