"""Miners that draw: negatives at random, by distance, or evenly over the range of scores."""

from __future__ import annotations

import torch
from torch import Tensor

from similis.criteria import ops
from similis.criteria.margin.options import one_of
from similis.mining.noise import gumbel, uniform
from similis.mining.picking import top
from similis.registry import Source, register
from similis.relation import Rows


@register(
    "miner",
    "random_negatives",
    source=Source("Dense Passage Retrieval for Open-Domain Question Answering", "Karpukhin and others", 2020),
    family="sampled",
)
def random_negatives(scores: Tensor, relation: Rows, *, k: int = 5, seed: int = 0) -> Rows:
    """All positives and k negatives of each row at random, without repetition.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        k: negatives kept.
        seed: of the draw; the same seed, row and place in the batch give the same draw.
    """
    return relation.where(relation.positive | top(uniform(relation, seed), relation.negative, k))


@register(
    "miner",
    "distance_weighted",
    source=Source("Sampling Matters in Deep Embedding Learning", "Wu, Manmatha, Smola and Krähenbühl", 2017),
    family="sampled",
)
def distance_weighted(
    scores: Tensor,
    relation: Rows,
    *,
    dimension: int,
    k: int = 1,
    nearest: float = 0.5,
    furthest: float = 1.4,
    score: str = "cosine",
    seed: int = 0,
) -> Rows:
    """Negatives drawn so that their distances are spread evenly, not heaped where random unit vectors are.

    Drawn in proportion to 1/q(max(d, nearest)), q(d) ~ d^(dimension - 2) (1 - d²/4)^((dimension - 3)/2) the density of
    distances between random unit vectors (the paper's section 4). The weights of DistanceWeightedMiner of
    pytorch-metric-learning; it draws one negative for each of as many random positives, here every positive stays
    and ``k`` negatives are drawn without repetition.

    Args:
        scores: ``[..., m]`` of unit vectors.
        relation: rows of the same shape.
        dimension: of the embeddings, at least 3.
        k: negatives drawn for each row.
        nearest: distances below it count as it, which bounds the variance of the gradient.
        furthest: negatives at or beyond it are never drawn.
        score: whether scores are ``cosine`` or ``euclidean`` (minus distances).
        seed: of the draw; the same seed, row and place in the batch give the same draw.

    Raises:
        UserError: an unknown kind of score.
    """
    cosine = one_of("score", score, ("cosine", "euclidean")) == "cosine"
    distances = (2 - 2 * scores).clamp_min_(0).sqrt_() if cosine else -scores
    negatives = relation.negative & (distances < furthest)
    squares = distances.square().clamp_(nearest**2, 4 - 1e-5)
    weight = squares.log().mul_((2 - dimension) / 2).sub_(squares.mul_(-0.25).log1p_().mul_((dimension - 3) / 2))
    return relation.where(relation.positive | top(weight.add_(gumbel(relation, seed)), negatives, k))


@register(
    "miner",
    "uniform_histogram",
    source=Source("A Metric Learning Reality Check", "Musgrave, Belongie and Lim", 2020),
    family="sampled",
)
def uniform_histogram(
    scores: Tensor,
    relation: Rows,
    *,
    bins: int = 100,
    positives_per_bin: int = 10,
    negatives_per_bin: int = 10,
    seed: int = 0,
) -> Rows:
    """At most so many positives and negatives in each cell of a row's range of scores, chosen at random.

    UniformHistogramMiner of pytorch-metric-learning cuts the range of the whole batch and draws with repetition;
    here each row has its own range, and a cell keeps what it has.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        bins: cells between the lowest and the highest score of a kind.
        positives_per_bin: positives kept of each cell.
        negatives_per_bin: negatives kept of each cell.
        seed: of the choice.
    """
    order = uniform(relation, seed)
    index, real = ops.gather_positives(relation.positive)
    kept = _thinned(scores.gather(-1, index), real, bins, positives_per_bin, order.gather(-1, index))
    positives = torch.zeros_like(relation.positive).scatter(-1, index, kept) & relation.positive
    return relation.where(positives | _thinned(scores, relation.negative, bins, negatives_per_bin, order))


def _thinned(scores: Tensor, mask: Tensor, bins: int, most: int, order: Tensor) -> Tensor:
    """The kept pairs, at most ``most`` of each cell, those of the lowest ``order`` first."""
    low = ops.easiest(scores, mask).unsqueeze(-1)
    width = (ops.hardest(scores, mask).unsqueeze(-1) - low).clamp_min(torch.finfo(scores.dtype).tiny)
    cell = ((scores - low) / width * bins).floor().clamp_(0, bins - 1).masked_fill_(~mask, bins)
    # The order stays clear of 1, where float32 would round a large cell's number up to the next cell.
    ranked, index = (cell.float() + order * 0.99).sort(-1)
    cells = ranked.floor_()
    rank = torch.arange(cells.shape[-1], device=cells.device) - torch.searchsorted(cells, cells)
    return torch.zeros_like(mask).scatter(-1, index, rank < most) & mask
