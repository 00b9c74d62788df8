"""pytorch-metric-learning's class names, with their arguments and defaults, compute what its classes compute."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peer_cases import assert_same, name_of, random, value_and_gradients
from pytorch_metric_learning import distances, losses, reducers, regularizers
from torch import Tensor, nn
from torch.nn.functional import normalize

from similis.objective import Objective
from similis.relation import Relation

# The peer indexes with lists of lists, and warns of its own high temperatures.
pytestmark = pytest.mark.filterwarnings("ignore:Using a non-tuple sequence", "ignore:Values of Tp")

SPACE = {**vars(losses), **vars(distances), **vars(reducers), **vars(regularizers)}

#: Items of each class: anchors have unequally many positives, negatives and triplets.
COUNTS = [(2, 3), (5, 3, 2), (4, 2, 2, 3)]

LABELS = [
    "CircleLoss()",
    "CircleLoss(m=0.25, gamma=32, reducer=MeanReducer())",
    "ContrastiveLoss(pos_margin=0)",
    "ContrastiveLoss(pos_margin=0.3, neg_margin=1.3)",
    "ContrastiveLoss(pos_margin=0.9, neg_margin=0.1, distance=CosineSimilarity())",
    "SignalToNoiseRatioContrastiveLoss()",
    "SignalToNoiseRatioContrastiveLoss(pos_margin=0, neg_margin=1)",
    "SignalToNoiseRatioContrastiveLoss(neg_margin=2.5, distance=SNRDistance(normalize_embeddings=False))",
    "FastAPLoss()",
    "FastAPLoss(num_bins=7)",
    "GeneralizedLiftedStructureLoss()",
    "GeneralizedLiftedStructureLoss(neg_margin=0.5, pos_margin=0.2, distance=CosineSimilarity())",
    "HistogramLoss()",
    "HistogramLoss(delta=0.1)",
    "IntraPairVarianceLoss()",
    "IntraPairVarianceLoss(pos_eps=0.1, neg_eps=0.2)",
    "LiftedStructureLoss()",
    "LiftedStructureLoss(neg_margin=0.7, pos_margin=0.1, distance=CosineSimilarity())",
    "MarginLoss()",
    "MarginLoss(margin=0.4, beta=0.3, nu=0.1, distance=CosineSimilarity())",
    "MultiSimilarityLoss()",
    "MultiSimilarityLoss(alpha=1.5, beta=20, base=0.8, distance=LpDistance(), reducer=SumReducer())",
    "NCALoss()",
    "NCALoss(softmax_scale=2.5, distance=LpDistance(normalize_embeddings=False))",
    "NTXentLoss()",
    "NTXentLoss(temperature=0.5, distance=DotProductSimilarity(normalize_embeddings=False))",
    "RankedListLoss(margin=0.4, Tn=3)",
    "RankedListLoss(margin=0.3, Tn=2, imbalance=0.3, alpha=1.3, Tp=1)",
    "SupConLoss()",
    "SupConLoss(temperature=0.5, distance=LpDistance(power=2), reducer=MeanReducer())",
    "ThresholdConsistentMarginLoss()",
    "ThresholdConsistentMarginLoss(lambda_plus=0.5, lambda_minus=2.0, margin_plus=0.7, margin_minus=0.1)",
    "TripletMarginLoss()",
    "TripletMarginLoss(margin=0.3, smooth_loss=True)",
    "TripletMarginLoss(margin=0.2, distance=CosineSimilarity(), reducer=MeanReducer())",
    "TripletMarginLoss(margin=0.2, distance=SNRDistance(), reducer=SumReducer())",
    "TupletMarginLoss()",
    "TupletMarginLoss(margin=10, scale=16)",
    "NTXentLoss(embedding_regularizer=LpRegularizer(power=2), embedding_reg_weight=0.3)",
    "NTXentLoss(embedding_regularizer=ZeroMeanRegularizer())",
]

PROXIES = {
    "ArcFaceLoss({})": "W",
    "ArcFaceLoss({}, margin=40, scale=16)": "W",
    "CosFaceLoss({})": "W",
    "CosFaceLoss({}, margin=0.2, scale=8)": "W",
    "NormalizedSoftmaxLoss({})": "W",
    "NormalizedSoftmaxLoss({}, temperature=0.3)": "W",
    "ProxyAnchorLoss({})": "proxies",
    "ProxyAnchorLoss({}, margin=0.3, alpha=8)": "proxies",
    "ProxyNCALoss({})": "proxies",
    "ProxyNCALoss({}, softmax_scale=4)": "proxies",
    "SoftTripleLoss({})": "fc",
    "SoftTripleLoss({}, centers_per_class=2, la=7, gamma=0.3, margin=0.1)": "fc",
    "SubCenterArcFaceLoss({})": "W",
    "SubCenterArcFaceLoss({}, margin=20, scale=16, sub_centers=2)": "W",
    "ProxyAnchorLoss({}, weight_regularizer=RegularFaceRegularizer(), weight_reg_weight=0.4)": "proxies",
}

#: Those compared in tests of their own below.
OTHERS = {"AngularLoss", "CrossBatchMemory", "NPairsLoss", "P2SGradLoss", "VICRegLoss"}

COVERED = {name_of(text) for text in (*LABELS, *PROXIES)} | OTHERS


def peer_of(text: str) -> Any:
    """The peer's own object: its text is Python."""
    return eval(text, dict(SPACE))


def batch(counts: tuple[int, ...], d: int = 8) -> tuple[Tensor, Tensor]:
    y = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    y = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(1))]
    return random(len(y), d) + 1.5 * random(len(counts), d, seed=1)[y], y


@pytest.mark.parametrize("counts", COUNTS, ids=str)
@pytest.mark.parametrize("text", LABELS)
def test_names_over_labels_compute_the_peers_loss(text: str, counts: tuple[int, ...]) -> None:
    x, y = batch(counts)
    objective, peer = Objective(text).double(), peer_of(text)
    # The peer's ranked list adds 1e-5 to every weight, and its histogram finds the bins in single precision.
    rtol = {"RankedListLoss": 1e-3, "HistogramLoss": 1e-4}.get(name_of(text), 1e-6)
    assert_same(lambda e: objective(e, e, Relation.labels(y)), lambda e: peer(e, y), x, rtol=rtol, atol=rtol * 1e-2)


@pytest.mark.parametrize("counts", COUNTS, ids=str)
@pytest.mark.parametrize("text", ["AngularLoss()", "AngularLoss(alpha=25)"])
def test_the_angular_name_computes_the_peers_loss_of_unit_vectors(text: str, counts: tuple[int, ...]) -> None:
    x, y = batch(counts)
    objective, peer = Objective(text), peer_of(text)
    assert_same(lambda e: objective(normalize(e), normalize(e), Relation.labels(y)), lambda e: peer(normalize(e), y), x)


@pytest.mark.parametrize("shape", [(3, 4), (5, 6), (9, 3)], ids=str)
@pytest.mark.parametrize("text", PROXIES)
def test_names_over_proxies_compute_the_peers_loss(text: str, shape: tuple[int, int]) -> None:
    classes, d = shape
    text, name = text.format(f"num_classes={classes}, embedding_size={d}"), PROXIES[text]
    x, y = random(3 * classes, d), torch.arange(3 * classes) % classes
    peer, objective = peer_of(text).double(), Objective(text).double()
    assert objective.keys is not None
    weight = objective.keys.weight
    each = len(weight) // classes
    # A class's centres side by side in the peer are rows c, C + c, 2C + c of ours; some keep them as columns.
    order = torch.arange(classes * each).reshape(classes, each).T.reshape(-1)
    proxies = random(classes * each, d, seed=2)
    columns = name != "proxies"
    setattr(peer, name, nn.Parameter(proxies.T.clone() if columns else proxies.clone()))
    objective.keys.weight = nn.Parameter(proxies[order].clone())

    def found(loss: Any, parameter: nn.Parameter) -> list[Tensor]:
        leaf = x.clone().requires_grad_()
        value = loss(leaf)
        return [value.detach(), *torch.autograd.grad(value, [leaf, parameter])]

    mine = found(lambda e: objective(e, e, Relation.labels(y)), objective.keys.weight)
    other = found(lambda e: peer(e, y), getattr(peer, name))
    other[2] = (other[2].T if columns else other[2])[order]
    torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("shape", [(3, 4), (5, 6), (9, 3)], ids=str)
def test_the_p2sgrad_name_computes_the_peers_loss_and_gradient_of_embeddings(shape: tuple[int, int]) -> None:
    classes, d = shape
    text = f"P2SGradLoss(descriptors_dim={d}, num_classes={classes})"
    x, y, proxies = random(12, d), torch.arange(12) % classes, normalize(random(classes, d, seed=2))
    peer, objective = peer_of(text).double(), Objective(text).double()
    peer.weight = nn.Parameter(proxies.T.clone())
    assert objective.keys is not None
    objective.keys.weight = nn.Parameter(proxies.clone())
    # The peer's renormalization is of single-precision constants.
    assert_same(lambda e: objective(e, e, Relation.labels(y)), lambda e: peer(e, y), x, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(3, 4), (5, 6), (12, 5)], ids=str)
@pytest.mark.parametrize(
    "text", ["NPairsLoss()", "NPairsLoss(distance=DotProductSimilarity(normalize_embeddings=False))"]
)
def test_the_n_pairs_name_computes_the_peers_loss_of_pairs(text: str, shape: tuple[int, int]) -> None:
    n, d = shape
    first, second = torch.arange(n), torch.arange(n) + n
    nothing = torch.empty(0, dtype=torch.long)
    y = torch.arange(n).repeat(2)
    objective, peer = Objective(text), peer_of(text)
    assert_same(
        lambda e: objective(e[:n], e[n:]), lambda e: peer(e, y, (first, second, nothing, nothing)), random(2 * n, d)
    )


@pytest.mark.parametrize("shape", [(4, 5), (9, 3), (6, 12)], ids=str)
@pytest.mark.parametrize(
    "text", ["VICRegLoss()", "VICRegLoss(invariance_lambda=3, variance_mu=7, covariance_v=2, eps=0.01)"]
)
def test_the_vicreg_name_computes_the_peers_loss_of_two_views(text: str, shape: tuple[int, int]) -> None:
    objective, peer = Objective(text), peer_of(text)
    views = random(*shape), random(*shape, seed=1)
    assert_same(objective, lambda a, b: peer(a, ref_emb=b), *views)


@pytest.mark.parametrize("counts", COUNTS, ids=str)
@pytest.mark.parametrize("loss", ["ContrastiveLoss", "NTXentLoss(temperature=0.2)", "MultiSimilarityLoss"])
def test_the_cross_batch_name_remembers_as_the_peer_does(loss: str, counts: tuple[int, ...]) -> None:
    objective = Objective(f"CrossBatchMemory(loss={loss}, embedding_size=8, memory_size=16)").double()
    inner = loss if loss.endswith(")") else f"{loss}()"
    peer = peer_of(f"CrossBatchMemory(loss={inner}, embedding_size=8, memory_size=16)").double()
    for seed in range(4):
        x, y = batch(counts)
        x = x + random(*x.shape, seed=seed)

        def step(module: Any, own: bool, x: Tensor = x, y: Tensor = y) -> list[Tensor]:
            return value_and_gradients(lambda e: module(e, e, Relation.labels(y)) if own else module(e, y), x)

        torch.testing.assert_close(step(objective, True), step(peer, False), rtol=1e-6, atol=1e-8)
