"""What swapping two keys of a ranking costs in a metric: exact, from ranks and running sums, without re-ranking."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from similis.criteria.ranking.ops import chosen, discounts, gains, max_dcg, one_of
from similis.relation import Rows

METRICS = ("ndcg", "mrr", "map", "precision")

#: A slice of the chosen keys → ``[..., c, m]`` absolute changes of the metric.
Cost = Callable[[slice], Tensor]


def swap_cost(
    metric: str, relation: Rows, ranks: Tensor, index: Tensor, k: int | None, gain: str, like: Tensor
) -> Cost:
    """|Δmetric@k| when a chosen key ``[..., P]`` changes places with each key of the row.

    Args:
        metric: one of :data:`METRICS`; all but ndcg take a grade above 0 for relevant.
        relation: rows ``[..., m]``.
        ranks: ``[..., m]`` ranks from 1.
        index: ``[..., P]`` chosen keys, of a higher grade than those they are compared with.
        k: cut-off, or None.
        gain: of ndcg.
        like: a tensor of the type wanted.
    """
    one_of("metric", metric, METRICS)
    if metric == "ndcg":
        return _ndcg(relation, ranks, index, k, gain, like)
    relevant = relation.positive
    gained = relevant.to(like.dtype)
    if metric == "precision":
        inside = (ranks <= (k or ranks.shape[-1])).to(like.dtype) / (k or ranks.shape[-1])
        return _product(gained, inside, index)
    return (_mrr if metric == "mrr" else _map)(relevant, ranks, index, k, like)


def _product(gained: Tensor, place: Tensor, index: Tensor) -> Cost:
    """|gain_i - gain_j| |place_i - place_j|."""
    own_gain, own_place = chosen(gained, index), chosen(place, index)

    def cost(cut: slice) -> Tensor:
        difference = own_gain[..., cut].unsqueeze(-1) - gained.unsqueeze(-2)
        return difference.mul_(own_place[..., cut].unsqueeze(-1) - place.unsqueeze(-2)).abs_()

    return cost


def _ndcg(relation: Rows, ranks: Tensor, index: Tensor, k: int | None, gain: str, like: Tensor) -> Cost:
    gained = gains(relation, gain, like)
    return _product(gained / max_dcg(gained, k), discounts(ranks, k, like.dtype), index)


def _mrr(relevant: Tensor, ranks: Tensor, index: Tensor, k: int | None, like: Tensor) -> Cost:
    """The first relevant rank f moves up to the other's rank above it, or, if f goes down, to the next one there."""
    far = ranks.shape[-1] + 1
    places = ranks.masked_fill(~relevant, far)
    first, second = _two_least(places)
    own, own_relevant = chosen(ranks, index), chosen(relevant, index)

    def value(place: Tensor) -> Tensor:
        found = place.to(like.dtype).reciprocal()
        return found.masked_fill(place > (k or far - 1), 0.0)

    def cost(cut: slice) -> Tensor:
        mine, other = own[..., cut].unsqueeze(-1), ranks.unsqueeze(-2)
        moved_up = torch.minimum(other, first.unsqueeze(-2))
        moved_down = torch.minimum(other, second.unsqueeze(-2))
        new = torch.where((mine == first.unsqueeze(-2)) & (other > mine), moved_down, moved_up)
        changed = (value(new) - value(first.unsqueeze(-2))).abs_()
        differ = own_relevant[..., cut].unsqueeze(-1) & ~relevant.unsqueeze(-2)
        return changed.mul_(differ)

    return cost


def _two_least(places: Tensor) -> tuple[Tensor, Tensor]:
    found = places.topk(min(2, places.shape[-1]), -1, largest=False).values
    return found[..., :1], found[..., -1:]


def _map(relevant: Tensor, ranks: Tensor, index: Tensor, k: int | None, like: Tensor) -> Cost:
    """Between the two places every relevant key gains or loses one above it: a running sum of reciprocal ranks."""
    m = ranks.shape[-1]
    by_rank = torch.zeros_like(like).scatter(-1, ranks - 1, relevant.to(like.dtype))
    places = torch.arange(1, m + 1, device=ranks.device, dtype=like.dtype)
    inside = (places <= (k or m)).to(like.dtype)
    count = by_rank.cumsum(-1)
    running = (by_rank * inside / places).cumsum(-1)
    total = count[..., -1:].clamp_min(1)
    weight = inside / places
    at = ranks - 1
    here = chosen(weight.expand_as(by_rank), at)
    before, between = chosen(count, at), chosen(running, at)
    own_here, own_before, own_between, own_rank = (chosen(t, index) for t in (here, before, between, ranks))
    own_relevant = chosen(relevant, index)

    def cost(cut: slice) -> Tensor:
        mine = own_rank[..., cut].unsqueeze(-1)
        up = ranks.unsqueeze(-2) < mine
        own_count, own_sum = own_before[..., cut].unsqueeze(-1), own_between[..., cut].unsqueeze(-1)
        own_weight = own_here[..., cut].unsqueeze(-1)
        other_count, other_sum, other_weight = (t.unsqueeze(-2) for t in (before, between, here))
        leaves = own_count * own_weight
        # moving up, the key is one more than those above its new place; the relevant keys between gain one each
        rises = (other_count + 1) * other_weight - leaves + (own_sum - own_weight) - other_sum
        # moving down, it keeps its count at the new place; the relevant keys between lose one each
        falls = leaves - other_count * other_weight + (other_sum - own_sum)
        changed = torch.where(up, rises, falls).abs_() / total.unsqueeze(-2)
        return changed.mul_(own_relevant[..., cut].unsqueeze(-1) & ~relevant.unsqueeze(-2))

    return cost
