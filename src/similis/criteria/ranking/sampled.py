"""Ranking criteria that sample rankings: policy gradient, YetiRank. Their noise: :mod:`.noise`."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from similis.criteria import ops
from similis.criteria.ranking.noise import uniform
from similis.criteria.ranking.ops import chosen, discounts, gains, known_scores, max_dcg, one_of, with_gradient
from similis.criteria.softmax.infonce import RANKING
from similis.registry import Source, register
from similis.relation import Rows

_TRICKS = Source("Which Tricks are Important for Learning to Rank?", "Lyzhin, Ustimenko, Gulin and Prokhorenkova", 2023)


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
    Its noise: see :mod:`similis.criteria.ranking.noise`.

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
        gumbel = uniform(scores, relation, seed, draw).log().neg_().log_().neg_()
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
    in the loss. Its noise: see :mod:`similis.criteria.ranking.noise`.

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
        drawn = uniform(scores, relation, seed, draw)
        moved = torch.add(scores.detach(), drawn.logit(), alpha=noise)
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
