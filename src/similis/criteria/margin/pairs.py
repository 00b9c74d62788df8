"""Margin criteria over single pairs: positives above one boundary, negatives below another."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from similis.criteria import ops
from similis.criteria.margin.options import AVERAGES, averaged, one_of, positives_of
from similis.criteria.softmax.infonce import RANKING
from similis.registry import Source, register
from similis.relation import Rows

PAIRS = (*RANKING, "labeled_pairs")


@register(
    "criterion",
    "contrastive",
    source=Source("Dimensionality Reduction by Learning an Invariant Mapping", "Hadsell, Chopra and LeCun", 2006),
    accepts=PAIRS,
    family="margin",
)
def contrastive(
    scores: Tensor,
    relation: Rows,
    *,
    positive_margin: float = 1.0,
    negative_margin: float = 0.5,
    power: int = 1,
    average: str = "all",
) -> Tensor:
    """Positives are pulled above one score and negatives pushed below another.

    Definition: the mean over positives of [positive_margin - s]_+^power / power plus the mean over negatives of
    [s - negative_margin]_+^power / power. ``average="pairs"`` is one mean over all pairs instead.

    Distances are minus scores: with ``similarity="euclidean"``, margins 0 and -1 are a positive margin 0 and a
    negative margin 1 on distances, and power 2 is Hadsell et al.'s equation 4. Equal to ContrastiveLoss of
    pytorch-metric-learning with a MeanReducer where all anchors have equally many pairs, and to ContrastiveLoss of
    sentence-transformers (cosine, margins 1 and 1 - margin, power 2, ``average="pairs"``).

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        positive_margin: positives above it cost nothing, in units of the score.
        negative_margin: negatives below it cost nothing, in units of the score.
        power: 1 or 2.
        average: of each kind of pair: over ``all``, over the ``nonzero`` ones, their ``sum``; or over ``pairs`` of
            both kinds at once.

    Returns:
        ``[...]``.

    Raises:
        UserError: an unknown option.
    """
    one_of("average", average, (*AVERAGES, "pairs"))
    one_of("power", str(power), ("1", "2"))
    values, real = positives_of(scores, relation)
    pull, push = (positive_margin - values).relu(), (scores - negative_margin).relu()
    if power == 2:
        pull, push = pull.square() / 2, push.square() / 2
    if average == "pairs":
        count = ops.count(real) + ops.count(relation.negative)
        return (ops.total(pull, real) + ops.total(push, relation.negative)) / count.clamp_min(1)
    return averaged(pull, real, average) + averaged(push, relation.negative, average)


@register(
    "criterion",
    "cosine_contrastive",
    source=Source(
        "SimpleX: A Simple and Strong Baseline for Collaborative Filtering",
        "Mao, Zhu, Wang, Dai, Dong, Xiao and He",
        2021,
    ),
    accepts=PAIRS,
    family="margin",
    needs=("positive",),
)
def cosine_contrastive(scores: Tensor, relation: Rows, *, margin: float = 0.4, negative_weight: float = 1.0) -> Tensor:
    """SimpleX's cosine contrastive loss: positives to cosine 1, the mean of many negatives below a margin.

    Definition: mean over p of (1 - s_p) + negative_weight x mean over n of [s_n - margin]_+. The paper's weights run
    to hundreds as negatives run to thousands: most of them are easy, and the mean shrinks with them.

    Args:
        scores: ``[..., m]`` cosines.
        relation: rows of the same shape.
        margin: the paper's m.
        negative_weight: the paper's w.

    Returns:
        ``[...]``.
    """
    values, real = positives_of(scores, relation)
    return ops.mean((1 - values).relu(), real) + negative_weight * ops.mean((scores - margin).relu(), relation.negative)


@register(
    "criterion",
    "margin",
    source=Source("Sampling Matters in Deep Embedding Learning", "Wu, Manmatha, Smola and Krähenbühl", 2017),
    accepts=PAIRS,
    family="margin",
    similarity="euclidean",
    terms="own",
)
class Margin(nn.Module):
    """Hinges on both sides of a learned boundary: positives above it by a margin, negatives below it by a margin.

    Definition: mean over positives of [margin + β - s]_+ plus mean over negatives of [margin + s - β]_+, minus ν β
    where β is learned (a larger ν lowers it). β is in units of the score: minus the boundary distance with
    ``similarity="euclidean"``.

    Equal to MarginLoss of pytorch-metric-learning on unit vectors with ``learned=False``, ``average="triplets"`` and
    ``reduction="mean_terms"``; with a MeanReducer where all anchors have equally many triplets, gradients of embeddings
    and boundary.

    Args:
        margin: half the width of the gap, in units of the score.
        boundary: initial β.
        learned: whether β is a parameter.
        nu: the paper's ν.
        average: of each kind of pair: over ``all``, over the ``nonzero`` ones, or their ``sum``; or over ``triplets``:
            both kinds together over the nonzero ones, a pair counting in each triplet it is part of.
    """

    def __init__(
        self,
        margin: float = 0.2,
        boundary: float = -1.2,
        learned: bool = True,
        nu: float = 0.0,
        average: str = "all",
    ) -> None:
        super().__init__()
        self.margin, self.nu = margin, nu
        self.average = one_of("average", average, (*AVERAGES, "triplets"))
        self.boundary = nn.Parameter(torch.tensor(float(boundary)), requires_grad=learned)

    def forward(self, scores: Tensor, relation: Rows) -> Tensor:
        """Scores ``[..., m]`` → losses ``[...]``."""
        pull, push, real = self._hinges(scores, relation)
        if self.average == "triplets":
            negatives, positives = ops.count(relation.negative), ops.count(real)
            total = negatives * ops.total(pull, real) + positives * ops.total(push, relation.negative)
            loss = total / self.terms(scores, relation).clamp_min(1)
        else:
            loss = averaged(pull, real, self.average) + averaged(push, relation.negative, self.average)
        return loss - self.nu * self.boundary.to(scores.dtype) * self.boundary.requires_grad

    def terms(self, scores: Tensor, relation: Rows) -> Tensor:
        """How many nonzero hinges the mean over ``triplets`` is over, ``[...]``; 1 for the other averages."""
        if self.average != "triplets":
            return torch.ones_like(scores[..., 0])
        pull, push, real = self._hinges(scores, relation)
        pulled, pushed = (real & (pull > 0)).sum(-1), (relation.negative & (push > 0)).sum(-1)
        return ops.count(relation.negative) * pulled + ops.count(real) * pushed

    def _hinges(self, scores: Tensor, relation: Rows) -> tuple[Tensor, Tensor, Tensor]:
        values, real = positives_of(scores, relation)
        boundary = self.boundary.to(scores.dtype)
        return (self.margin + boundary - values).relu(), (self.margin + scores - boundary).relu(), real


@register(
    "criterion",
    "ranked_list",
    source=Source("Ranked List Loss for Deep Metric Learning", "Wang, Hua, Kodirov, Hu, Garnier and Robertson", 2019),
    accepts=PAIRS,
    family="margin",
    similarity="euclidean",
)
def ranked_list(
    scores: Tensor,
    relation: Rows,
    *,
    margin: float = 0.4,
    boundary: float = -1.2,
    positive_temperature: float = 0.0,
    negative_temperature: float = 10.0,
    imbalance: float = 0.5,
) -> Tensor:
    """Positives within a sphere around the query, negatives outside a larger one, weighted by hardness.

    Definition: (1 - imbalance) Σ w_p (boundary + margin - s_p) / Σ w_p over positives below boundary + margin,
    plus imbalance Σ w_n (s_n - boundary) / Σ w_n over negatives above the boundary, with w = exp(temperature x the
    violation). The paper's distance α is -boundary.

    Checked against RankedListLoss of pytorch-metric-learning: equal up to the 1e-5 it adds to every weight of a
    sum. As there, gradients pass through the weights.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        margin: width between the spheres, in units of the score.
        boundary: the score that negatives should stay below; PML's default α is 1 + margin / 2.
        positive_temperature: the paper's T_p.
        negative_temperature: the paper's T_n.
        imbalance: share of the negatives, 0..1.

    Returns:
        ``[...]``.
    """
    values, real = positives_of(scores, relation)
    pull = _weighted_violation(boundary + margin - values, real, positive_temperature)
    push = _weighted_violation(scores - boundary, relation.negative, negative_temperature)
    return (1 - imbalance) * pull + imbalance * push


def _weighted_violation(violation: Tensor, mask: Tensor, temperature: float) -> Tensor:
    """Mean of the violations above zero, with weights exp(temperature x violation)."""
    active = mask & (violation > 0)
    weights = ops.keep(temperature * violation, active).softmax(-1)
    return ops.total(weights * violation, active)
