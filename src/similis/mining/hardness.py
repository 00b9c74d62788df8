"""Miners by hardness: the batch's own scores say which pairs are worth learning from."""

from __future__ import annotations

import torch
from torch import Tensor

from similis.criteria import ops
from similis.criteria.margin.options import one_of, positives_of
from similis.mining.picking import highest, lowest, top, within
from similis.registry import Source, register
from similis.relation import Rows

_HERMANS = Source("In Defense of the Triplet Loss for Person Re-Identification", "Hermans, Beyer and Leibe", 2017)
_FACENET = Source(
    "FaceNet: A Unified Embedding for Face Recognition and Clustering", "Schroff, Kalenichenko and Philbin", 2015
)
STRATEGIES = ("hard", "semi_hard", "easy", "all")
TRIPLETS = ("all", "hard", "semi_hard", "easy")


@register("miner", "batch_hard", source=_HERMANS, family="hardness")
def batch_hard(scores: Tensor, relation: Rows) -> Rows:
    """The least similar positive and the most similar negative of each row.

    The pairs of BatchHardMiner of pytorch-metric-learning; with ``triplet``, BatchHardTripletLoss of
    sentence-transformers, and its soft-margin loss with ``triplet(margin=0.0, smooth=True)``.
    """
    return batch_easy_hard(scores, relation, positive="hard", negative="hard")


@register("miner", "hard_positive", source=_HERMANS, family="hardness")
def hard_positive(scores: Tensor, relation: Rows) -> Rows:
    """The least similar positive of each row, and all its negatives."""
    return batch_easy_hard(scores, relation, positive="hard", negative="all")


@register(
    "miner",
    "easy_positive",
    source=Source("Improved Embeddings with Easy Positive Triplet Mining", "Xuan, Stylianou and Pless", 2020),
    family="hardness",
)
def easy_positive(scores: Tensor, relation: Rows) -> Rows:
    """The most similar positive of each row, and all its negatives: classes may keep several modes."""
    return batch_easy_hard(scores, relation, positive="easy", negative="all")


@register(
    "miner",
    "batch_easy_hard",
    source=Source("Improved Embeddings with Easy Positive Triplet Mining", "Xuan, Stylianou and Pless", 2020),
    family="hardness",
)
def batch_easy_hard(
    scores: Tensor,
    relation: Rows,
    *,
    positive: str = "easy",
    negative: str = "semi_hard",
    positive_range: list[float] | None = None,
    negative_range: list[float] | None = None,
) -> Rows:
    """One positive and one negative of each row, each by its own strategy.

    ``hard`` is the least similar positive or most similar negative, ``easy`` the other end, ``semi_hard`` the
    hardest that is still on the right side of the chosen pair of the other kind, ``all`` every pair. A row that has
    no such pair is left out. The pairs of BatchEasyHardMiner of pytorch-metric-learning.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        positive: hard, semi_hard, easy or all.
        negative: hard, semi_hard, easy or all; only one of the two may be semi_hard, and the other not all.
        positive_range: positives must score between these two.
        negative_range: negatives must score between these two.

    Raises:
        UserError: an unknown strategy, or strategies that cannot be combined.
    """
    one_of("positive", positive, STRATEGIES)
    one_of("negative", negative, STRATEGIES)
    if positive == "semi_hard":
        one_of("negative beside positive=semi_hard", negative, ("hard", "easy"))
    if negative == "semi_hard":
        one_of("positive beside negative=semi_hard", positive, ("hard", "easy"))
    positives = relation.positive & within(scores, positive_range)
    negatives = relation.negative & within(scores, negative_range)
    if positive == "semi_hard":
        kept_negatives = _chosen(scores, negatives, negative, hard_is_high=True)
        above = scores > ops.hardest(scores, kept_negatives).unsqueeze(-1)
        kept_positives = lowest(scores, positives & above & kept_negatives.any(-1, keepdim=True))
    else:
        kept_positives = _chosen(scores, positives, positive, hard_is_high=False)
        if negative == "semi_hard":
            below = scores < ops.easiest(scores, kept_positives).unsqueeze(-1)
            kept_negatives = highest(scores, negatives & below & kept_positives.any(-1, keepdim=True))
        else:
            kept_negatives = _chosen(scores, negatives, negative, hard_is_high=True)
    if "all" not in (positive, negative):
        both = kept_positives.any(-1, keepdim=True) & kept_negatives.any(-1, keepdim=True)
        return relation.where((kept_positives | kept_negatives) & both)
    return relation.where(kept_positives | kept_negatives)


def _chosen(scores: Tensor, mask: Tensor, strategy: str, *, hard_is_high: bool) -> Tensor:
    if strategy == "all":
        return mask
    return highest(scores, mask) if (strategy == "hard") == hard_is_high else lowest(scores, mask)


@register("miner", "semi_hard", source=_FACENET, family="hardness")
def semi_hard(scores: Tensor, relation: Rows, *, margin: float = 0.1) -> Rows:
    """Pairs of semi-hard triplets: s_p - margin <= s_n < s_p, the negative below the positive but within the margin.

    Keeps the positives and negatives that take part in such a triplet; with one positive a row these are exactly
    FaceNet's. With several, ``triplet(negatives="semi_hard")`` counts the semi-hard triplets alone.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        margin: in units of the score.
    """
    return triplet_margin(scores, relation, margin=margin, triplets="semi_hard")


@register("miner", "triplet_margin", source=_FACENET, family="hardness")
def triplet_margin(scores: Tensor, relation: Rows, *, margin: float = 0.2, triplets: str = "all") -> Rows:
    """Pairs that take part in a triplet which violates the margin.

    The pairs of the triplets of TripletMarginMiner of pytorch-metric-learning. Compares each positive with all keys.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        margin: in units of the score.
        triplets: ``all`` with s_p - s_n <= margin; of these ``hard`` with s_n >= s_p or ``semi_hard`` with
            s_n < s_p; or ``easy``, the others.

    Raises:
        UserError: an unknown kind of triplets.
    """
    one_of("triplets", triplets, TRIPLETS)
    index, real = ops.gather_positives(relation.positive)
    gap = scores.gather(-1, index).unsqueeze(-1) - scores.unsqueeze(-2)
    violates = gap <= margin
    if triplets == "easy":
        violates = ~violates
    elif triplets == "hard":
        violates = violates & (gap <= 0)
    elif triplets == "semi_hard":
        violates = violates & (gap > 0)
    violates = violates & real.unsqueeze(-1) & relation.negative.unsqueeze(-2)
    positives = torch.zeros_like(relation.positive).scatter(-1, index, violates.any(-1)) & relation.positive
    return relation.where(positives | violates.any(-2))


@register(
    "miner",
    "multi_similarity",
    source=Source(
        "Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning",
        "Wang, Han, Huang, Dong and Scott",
        2019,
    ),
    family="hardness",
)
def multi_similarity(scores: Tensor, relation: Rows, *, epsilon: float = 0.1) -> Rows:
    """Negatives above the worst positive and positives below the best negative, each within a tolerance.

    The pairs of MultiSimilarityMiner of pytorch-metric-learning; with epsilon 0, those of OnlineContrastiveLoss of
    sentence-transformers.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        epsilon: in units of the score.
    """
    values, real = positives_of(scores, relation)
    worst = ops.easiest(values, real).unsqueeze(-1)
    best = ops.hardest(scores, relation.negative).unsqueeze(-1)
    positives = relation.positive & (scores - epsilon < best)
    negatives = relation.negative & (scores + epsilon > worst)
    return relation.where(positives | negatives)


@register(
    "miner",
    "pair_margin",
    source=Source("Dimensionality Reduction by Learning an Invariant Mapping", "Hadsell, Chopra and LeCun", 2006),
    family="hardness",
)
def pair_margin(scores: Tensor, relation: Rows, *, positive_margin: float = 0.8, negative_margin: float = 0.2) -> Rows:
    """Positives below one score and negatives above another; PairMarginMiner of pytorch-metric-learning.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        positive_margin: positives at or above it are left out, in units of the score.
        negative_margin: negatives at or below it are left out.
    """
    positives = relation.positive & (scores < positive_margin)
    return relation.where(positives | relation.negative & (scores > negative_margin))


@register(
    "miner",
    "hardest_negatives",
    source=Source(
        "Approximate Nearest Neighbor Negative Contrastive Learning for Dense Text Retrieval",
        "Xiong, Xiong, Li, Tang, Liu, Bennett, Ahmed and Overwijk",
        2021,
    ),
    family="hardness",
)
def hardest_negatives(
    scores: Tensor,
    relation: Rows,
    *,
    k: int = 5,
    skip: int = 0,
    lowest_score: float | None = None,
    highest_score: float | None = None,
) -> Rows:
    """All positives and the k most similar negatives of each row, after skipping the very first if asked.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        k: negatives kept.
        skip: most similar negatives that are left out as suspects (shifted top-k).
        lowest_score: negatives below it are left out first.
        highest_score: negatives above it are left out first.
    """
    bounds = [float("-inf") if lowest_score is None else lowest_score]
    bounds += [float("inf") if highest_score is None else highest_score]
    negatives = relation.negative & within(scores, bounds)
    return relation.where(relation.positive | top(scores, negatives, k, skip))
