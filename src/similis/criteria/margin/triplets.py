"""Margin criteria over (positive, negative) pairs of a row: hinges and their smooth forms."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from similis.criteria import ops
from similis.criteria.margin.options import AVERAGES, one_of, positives_of
from similis.criteria.softmax.infonce import RANKING
from similis.registry import Source, register
from similis.relation import Rows

#: Which negatives a positive is compared with.
NEGATIVES = ("all", "semi_hard", "hard", "nearest")


def _terms(
    scores: Tensor,
    relation: Rows,
    *,
    margin: float = 0.1,
    negatives: str = "all",
    smooth: bool = False,
    average: str = "all",
) -> Tensor:
    """How many triplets the mean of each row is over, ``[...]``."""
    if average == "sum":
        return torch.ones_like(scores[..., 0])
    return _summed(scores, relation, margin, negatives, smooth, average)[1]


@register(
    "criterion",
    "triplet",
    source=Source(
        "FaceNet: A Unified Embedding for Face Recognition and Clustering",
        "Schroff, Kalenichenko and Philbin",
        2015,
    ),
    accepts=RANKING,
    family="margin",
    needs=("positive", "negative"),
    sorts=True,
    terms=_terms,
)
def triplet(
    scores: Tensor,
    relation: Rows,
    *,
    margin: float = 0.1,
    negatives: str = "all",
    smooth: bool = False,
    average: str = "all",
) -> Tensor:
    """Mean hinge over all (positive, negative) pairs of a row, by sorting: O(m log m), no list of triplets.

    Definition: mean over p, n of [margin - s_p + s_n]_+, or of log(1 + exp(margin - s_p + s_n)) with ``smooth``.

    For each negative only the number and the sum of the positives below s_n + margin matter; both come from one
    search in the sorted positives. With ``similarity="euclidean"`` it is FaceNet's loss on plain distances.
    ``smooth`` and ``nearest`` have no such closed form and compare each positive with all keys: P times the time.
    With ``reduction="mean_terms"``, which weighs rows by their triplets, it is TripletMarginLoss of
    pytorch-metric-learning (``average="nonzero"``; ``all`` with a MeanReducer), also after its TripletMarginMiner of
    the same margin (``negatives``), and BatchAllTripletLoss and BatchSemiHardTripletLoss (``nearest``) of
    sentence-transformers; ``smooth`` is the soft margin of Hermans et al. 2017.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        margin: in units of the score.
        negatives: ``all``; ``semi_hard``: those with s_p - margin < s_n < s_p; ``hard``: those with s_n >= s_p;
            ``nearest``: for each positive the most similar negative below it, the least similar one where none is.
        smooth: replace the hinge by its soft margin.
        average: over ``all`` the pairs, over the ``nonzero`` ones of the row, or their ``sum``.

    Returns:
        ``[...]``.

    Raises:
        UserError: an unknown option.
    """
    total, terms = _summed(scores, relation, margin, negatives, smooth, average)
    return total if average == "sum" else total / terms.clamp_min(1)


def _summed(
    scores: Tensor, relation: Rows, margin: float, negatives: str, smooth: bool, average: str
) -> tuple[Tensor, Tensor]:
    """The sum of a row's terms and how many its mean is over, both ``[...]``."""
    one_of("negatives", negatives, NEGATIVES)
    one_of("average", average, AVERAGES)
    if smooth or negatives == "nearest":
        return _each_positive(scores, relation, margin, negatives, smooth, average)
    return _by_sorting(scores, relation, margin, negatives, average)


def _by_sorting(
    scores: Tensor, relation: Rows, margin: float, negatives: str = "all", average: str = "all"
) -> tuple[Tensor, Tensor]:
    """Hinges over the positives that lie between two bounds given by each negative, by prefix sums."""
    values, real = positives_of(scores, relation)
    order, _ = values.masked_fill(~real, -ops.low(scores)).sort(-1)
    filled = order.masked_fill(order >= -ops.low(order), 0.0).cumsum(-1)
    running = torch.cat([torch.zeros_like(order[..., :1]), filled], -1)
    sorted_values = order.detach().contiguous()
    raised = scores + margin
    upper = _search(sorted_values, scores if negatives == "hard" else raised, right=negatives == "hard")
    count, below = upper, running.gather(-1, upper)
    if negatives == "semi_hard":
        lower = torch.minimum(_search(sorted_values, scores, right=True), upper)
        count, below = upper - lower, below - running.gather(-1, lower)
    total = ops.total(raised * count - below, relation.negative)
    if average != "nonzero" and negatives == "all":
        return total, ops.count(relation.positive) * ops.count(relation.negative)
    return total, count.masked_fill(~relation.negative, 0).sum(-1)


def _mean_hinge(scores: Tensor, relation: Rows, margin: float) -> Tensor:
    total, pairs = _by_sorting(scores, relation, margin)
    return total / pairs.clamp_min(1)


def _search(order: Tensor, values: Tensor, *, right: bool) -> Tensor:
    return torch.searchsorted(order, values.detach().contiguous(), right=right)


def _each_positive(
    scores: Tensor, relation: Rows, margin: float, negatives: str, smooth: bool, average: str
) -> tuple[Tensor, Tensor]:
    """Terms of each positive with all keys, ``[..., P, m]``."""
    values, real = positives_of(scores, relation)
    own, other = values.unsqueeze(-1), scores.unsqueeze(-2)
    kept = relation.negative.unsqueeze(-2) & real.unsqueeze(-1)
    if negatives == "nearest":
        below = kept & (other < own)
        nearest = torch.where(
            below.any(-1), ops.hardest(other, below), ops.easiest(scores, relation.negative)[..., None]
        )
        terms, kept = margin - values + nearest, real & relation.negative.any(-1, keepdim=True)
        terms = terms.masked_fill(~kept, 0.0)
    else:
        if negatives == "hard":
            kept = kept & (other >= own)
        elif negatives == "semi_hard":
            kept = kept & (other < own) & (other > own - margin)
        terms, kept = (margin - own + other).flatten(-2), kept.flatten(-2)
    terms = softplus(terms) if smooth else terms.relu()
    return ops.total(terms, kept), (kept & (terms > 0) if average == "nonzero" else kept).sum(-1)


@register(
    "criterion",
    "bpr",
    source=Source(
        "BPR: Bayesian Personalized Ranking from Implicit Feedback",
        "Rendle, Freudenthaler, Gantner and Schmidt-Thieme",
        2009,
    ),
    accepts=RANKING,
    family="margin",
    needs=("positive", "negative"),
    similarity="dot",
    each_positive=True,
)
def bpr(scores: Tensor, relation: Rows) -> Tensor:
    """Mean of -log sigmoid(s_p - s_n) over the (positive, negative) pairs of a row.

    The paper's equation for one user is its sum over (item, non-item) pairs; the prior is weight decay.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.

    Returns:
        ``[...]``.
    """
    total, pairs = _each_positive(scores, relation, 0.0, "all", True, "all")
    return total / pairs.clamp_min(1)


@register(
    "criterion",
    "residual_margin",
    source=Source(
        "Complementing Lexical Retrieval with Semantic Residual Embedding",
        "Gao, Dai, Chen, Fan, Van Durme and Callan",
        2021,
    ),
    accepts=RANKING,
    family="margin",
    needs=("positive", "negative"),
    similarity="dot",
    sorts=True,
)
def residual_margin(scores: Tensor, relation: Rows, *, margin: float = 1.0, weight: float = 0.1) -> Tensor:
    """Triplet hinge whose margin shrinks where a guide (BM25, say) already separates the pair (CLEAR).

    Definition: mean over p, n of [margin - weight (g_p - g_n) - s_p + s_n]_+, g the guide's scores: the triplet
    hinge of s + weight g, which is also the score to search with. Without a guide it is ``triplet``.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape, with ``guide``.
        margin: the paper's ξ, in units of the score.
        weight: the paper's λ, units of the score per unit of the guide's.

    Returns:
        ``[...]``.
    """
    combined = scores if relation.guide is None else scores + weight * relation.guide.to(scores.dtype)
    return _mean_hinge(combined, relation, margin)


@register(
    "criterion",
    "proto_triplet",
    source=Source(
        "SuSana Distancia is all you need: Enforcing class separability in metric learning via two novel "
        "distance-based loss functions for few-shot image classification",
        "Mendez-Ruiz, Gonzalez-Zapata, Reyes-Amezcua, Flores-Araiza and others",
        2023,
    ),
    accepts=("labels",),
    family="margin",
    needs=("positive", "negative"),
    keys="centroids",
    similarity="euclidean",
)
def proto_triplet(scores: Tensor, relation: Rows, *, margin: float = 0.5) -> Tensor:
    """Hinge of a query's own class prototype against the nearest prototype of another class.

    Definition: [margin - s_p + max_n s_n]_+ over class centroids as keys, as in the authors' published code.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        margin: in units of the score.

    Returns:
        ``[...]``.
    """
    values, real = positives_of(scores, relation)
    own, other = ops.easiest(values, real), ops.hardest(scores, relation.negative)
    valid = relation.has("positive") & relation.has("negative")
    return (margin - own + other).masked_fill(~valid, 0.0).relu()


@register(
    "criterion",
    "tiered",
    source=Source(
        "Ugly Ducklings or Swans: A Tiered Quadruplet Network with Patient-Specific Mining for Improved Skin Lesion "
        "Classification",
        "Naranpanawa, Soyer, Mothershaw, Kulatilleke, Ge, Betz-Stablein and Chandra",
        2023,
    ),
    accepts=("hierarchy", "graded", "labels", "pairs", "triplets"),
    family="margin",
    needs=("positive",),
    sorts=True,
)
def tiered(scores: Tensor, relation: Rows, *, margin: float = 0.2) -> Tensor:
    """Hinges that put the keys of a row in the order of their grades, with a margin that grows with the difference.

    Definition: mean over pairs of keys graded g_i > g_j of [margin (g_i - g_j) - s_i + s_j]_+.

    With two-level labels (group, class within the group) the grades are 1, 1/2 and 0: hinges separate the classes
    within a group and the groups from each other, the two tiers of DMT-Quadruplet; with four grades of relation
    strength it orders the partners of a document as the quintuplet loss of Raman, Shah and Veloso 2022 does. Both
    papers draw one key of each tier and state their margins for those draws; here every pair of keys of different
    tiers counts, so it follows their design, not their sampling. One grade is ``triplet``.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape; L distinct grades take L passes over the sorted scores.
        margin: between grades 1 and 0, in units of the score.

    Returns:
        ``[...]``.
    """
    if relation.given_grade is None:
        return _mean_hinge(scores, relation, margin)
    grade = relation.grade.to(scores.dtype)
    shifted = scores - margin * grade
    order = ops.order(shifted)
    shifted = shifted.gather(-1, order)
    grade = grade.gather(-1, order)
    known = relation.known.gather(-1, order)
    loss, pairs = torch.zeros_like(scores[..., 0]), torch.zeros_like(scores[..., 0])
    for level in grade[known].unique()[1:]:
        higher, lower = known & (grade == level), known & (grade < level)
        count = higher.cumsum(-1).to(scores.dtype)
        below = shifted.masked_fill(~higher, 0.0).cumsum(-1)
        loss = loss + ops.total(shifted * count - below, lower)
        pairs = pairs + higher.sum(-1) * lower.sum(-1)
    return loss / pairs.clamp_min(1)
