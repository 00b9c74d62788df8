"""The margin criteria give the values and gradients of pytorch-metric-learning, an independent implementation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from pytorch_metric_learning import distances, losses, miners, reducers
from torch import Tensor
from torch.nn.functional import normalize

from similis.objective import Objective
from similis.relation import Relation

# The peer indexes with lists of lists, which torch warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")

SHAPES = [(3, 4), (8, 2), (4, 5)]
COSINE = distances.CosineSimilarity()
EUCLIDEAN = distances.LpDistance()
MEAN = reducers.MeanReducer()


@dataclass
class Case:
    """Our text, a peer of the same definition, and what the comparison needs."""

    ours: str
    peer: Any
    itself: bool = False
    mined: Any = None
    gradient: bool = True
    rtol: float = 1e-6
    settings: dict[str, Any] = field(default_factory=dict)


def case_list() -> list[Case]:
    cosine, euclidean = {"distance": COSINE}, {"distance": EUCLIDEAN, "reducer": MEAN}
    semi, hard = (miners.TripletMarginMiner(0.3, kind) for kind in ("semihard", "hard"))
    return [
        Case("triplet(margin=0.2), similarity=euclidean", losses.TripletMarginLoss(0.2, **euclidean)),
        Case("triplet(margin=0.2)", losses.TripletMarginLoss(0.2, reducer=MEAN, **cosine)),
        Case(
            "triplet(margin=0.2, smooth=True), similarity=euclidean",
            losses.TripletMarginLoss(0.2, smooth_loss=True, **euclidean),
        ),
        Case(
            "triplet(margin=0.3, negatives=semi_hard, average=sum), similarity=euclidean, reduction=sum",
            losses.TripletMarginLoss(0.3, distance=EUCLIDEAN, reducer=Summed()),
            mined=semi,
        ),
        Case(
            "triplet(margin=0.3, negatives=hard, average=sum), similarity=euclidean, reduction=sum",
            losses.TripletMarginLoss(0.3, distance=EUCLIDEAN, reducer=Summed()),
            mined=hard,
        ),
        Case(
            "contrastive(positive_margin=0.9, negative_margin=0.1)",
            losses.ContrastiveLoss(0.9, 0.1, reducer=MEAN, **cosine),
        ),
        Case(
            "contrastive(positive_margin=-0.2, negative_margin=-1.3), similarity=euclidean",
            losses.ContrastiveLoss(0.2, 1.3, **euclidean),
        ),
        Case(
            "tcm(positive_margin=0.6, negative_margin=0.1)",
            losses.ThresholdConsistentMarginLoss(margin_plus=0.6, margin_minus=0.1),
        ),
        Case("intra_pair_variance(positive_slack=0.02)", losses.IntraPairVarianceLoss(pos_eps=0.02, reducer=MEAN)),
        Case("margin(margin=0.3, boundary=-1.1)", losses.MarginLoss(0.3, beta=1.1, learn_beta=True, **euclidean)),
        Case(
            "ranked_list(margin=0.4, positive_temperature=1.0, negative_temperature=3.0)",
            losses.RankedListLoss(margin=0.4, Tn=3.0, Tp=1.0),
            rtol=1e-3,
        ),
        Case("multi_similarity", losses.MultiSimilarityLoss()),
        Case("multi_similarity(alpha=1.0, beta=20.0, base=0.3)", losses.MultiSimilarityLoss(1.0, 20.0, 0.3)),
        Case("circle(margin=0.4, scale=80.0)", losses.CircleLoss(reducer=MEAN)),
        Case(
            "lifted_structure(negative_margin=-1.0, positive_margin=-0.1)",
            losses.LiftedStructureLoss(1.0, 0.1, **euclidean),
        ),
        Case(
            "generalized_lifted_structure(negative_margin=-1.2)",
            losses.GeneralizedLiftedStructureLoss(1.2, **euclidean),
        ),
        Case("tuplet_margin", losses.TupletMarginLoss(reducer=MEAN)),
        Case("angular(alpha=35.0)", losses.AngularLoss(alpha=35)),
        Case("histogram(bins=40)", losses.HistogramLoss(n_bins=40)),
        *(
            Case(f"pnp(variant={v}, temperature=0.1)", losses.PNPLoss(anneal=0.1, variant=v), itself=True)
            for v in ("O", "Ds", "Dq", "Iu", "Ib")
        ),
    ]


class Summed(reducers.MeanReducer):
    """The sum over triplets, which the peer does not have."""

    def element_reduction(self, losses: Tensor, *_: Any) -> Tensor:
        return losses.sum()


@pytest.mark.parametrize("case", case_list(), ids=lambda c: c.ours)
@pytest.mark.parametrize(("classes", "per_class"), SHAPES)
def test_values_and_gradients_are_those_of_the_peer(case: Case, classes: int, per_class: int) -> None:
    generator = torch.Generator().manual_seed(classes)
    start = torch.randn(classes * per_class, 10, generator=generator, dtype=torch.float64)
    y = torch.arange(classes * per_class) % classes
    start = start + torch.randn(classes, 10, generator=generator, dtype=torch.float64)[y]
    mine, theirs = start.clone().requires_grad_(), start.clone().requires_grad_()
    unit = normalize(mine, dim=-1)
    ours = Objective(case.ours, **case.settings).double()(
        unit, unit, Relation.labels(y, y, exclude_self=not case.itself)
    )
    # The peer's angular loss does not normalize its negatives, so it too gets unit vectors.
    other = normalize(theirs, dim=-1)
    peer = case.peer(other, y, None if case.mined is None else case.mined(other, y))
    torch.testing.assert_close(ours, peer, rtol=case.rtol, atol=1e-9)
    assert float(ours.detach()) != 0.0
    (gradient,) = torch.autograd.grad(ours, mine)
    (expected,) = torch.autograd.grad(peer, theirs)
    torch.testing.assert_close(gradient, expected, rtol=max(case.rtol, 1e-5), atol=max(1e-7, case.rtol * 1e-2))


def test_margin_learns_its_boundary_as_the_peer_does() -> None:
    generator = torch.Generator().manual_seed(1)
    x = normalize(torch.randn(12, 6, generator=generator), dim=-1)
    y = torch.arange(12) % 3
    objective = Objective("margin(margin=0.3, boundary=-1.1)")
    objective(x, x, Relation.labels(y)).backward()
    peer = losses.MarginLoss(0.3, beta=1.1, learn_beta=True, distance=EUCLIDEAN, reducer=MEAN)
    peer(x, y).backward()
    # The peer's beta is a distance, ours a score: the sign turns.
    torch.testing.assert_close(objective.criterion.boundary.grad, -peer.beta.grad[0])  # type: ignore[union-attr]


def test_dynamic_soft_margin_is_the_peers_on_a_first_batch() -> None:
    x = normalize(torch.randn(12, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64), dim=-1)
    y = torch.arange(12) % 4
    ours = Objective("dynamic_soft_margin").double()(x, x, Relation.labels(y))
    torch.testing.assert_close(ours, losses.DynamicSoftMarginLoss()(x, y))


def test_dynamic_soft_margin_moves_its_histogram_by_the_momentum() -> None:
    """The peer adds counts to shares; the share of a batch is what its documentation says the momentum is."""
    generator = torch.Generator().manual_seed(2)
    y, momentum = torch.arange(12) % 4, 0.3
    objective, shares = Objective(f"dynamic_soft_margin(momentum={momentum})").double(), []
    for _ in range(2):
        x = normalize(torch.randn(12, 8, generator=generator, dtype=torch.float64), dim=-1)
        objective(x, x, Relation.labels(y))
        d = torch.cdist(x, x)
        terms = [
            d[a, p] - d[a, n]
            for a in range(12)
            for p in range(12)
            for n in range(12)
            if a != p and y[a] == y[p] and y[a] != y[n]
        ]
        edges = torch.linspace(-2, 2, 11, dtype=torch.float64)
        near = (1 - (torch.stack(terms).unsqueeze(1) - edges).abs() / 0.4).relu()
        shares.append(near.sum(0) / len(terms))
    expected = (1 - momentum) * shares[0] + momentum * shares[1]
    torch.testing.assert_close(objective.criterion.histogram, expected)  # type: ignore[union-attr]


def test_dynamic_soft_margin_keeps_its_histogram_outside_training() -> None:
    objective = Objective("dynamic_soft_margin").eval()
    x = normalize(torch.randn(8, 4, generator=torch.Generator().manual_seed(3)), dim=-1)
    objective(x, x, Relation.labels(torch.arange(8) % 2))
    assert not bool(objective.criterion.histogram.any())  # type: ignore[union-attr]
