"""The proxy family equals pytorch-metric-learning in value, and in the gradients of embeddings and proxies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pytorch_metric_learning import distances, losses
from torch import Tensor, nn
from torch.nn.functional import normalize

from similis.objective import Objective
from similis.relation import Relation

SHAPES = [(4, 2, 5), (9, 3, 6), (3, 10, 8)]

#: Ours, the peer's class and arguments, where it keeps its proxies, and whether as columns.
PEERS: dict[str, tuple[str, type[nn.Module], dict[str, Any], str, bool]] = {
    "NormalizedSoftmaxLoss": (
        "normalized_softmax(temperature=0.05)",
        losses.NormalizedSoftmaxLoss,
        {"temperature": 0.05},
        "W",
        True,
    ),
    "ProxyNCALoss": ("proxy_nca(scale=3.0)", losses.ProxyNCALoss, {"softmax_scale": 3.0}, "proxies", False),
    "ProxyAnchorLoss": (
        "proxy_anchor(margin=0.2, scale=16.0)",
        losses.ProxyAnchorLoss,
        {"margin": 0.2, "alpha": 16.0},
        "proxies",
        False,
    ),
    "CosFaceLoss": ("cosface(margin=0.3, scale=20.0)", losses.CosFaceLoss, {"margin": 0.3, "scale": 20}, "W", True),
    "ArcFaceLoss": ("arcface(margin=28.6, scale=20.0)", losses.ArcFaceLoss, {"margin": 28.6, "scale": 20}, "W", True),
    "ArcFaceLoss, wide": (
        "arcface(margin=90.0, scale=8.0)",
        losses.ArcFaceLoss,
        {"margin": 90, "scale": 8},
        "W",
        True,
    ),
    "P2SGradLoss": ("p2sgrad", losses.P2SGradLoss, {}, "weight", True),
}


def case(classes: int, each: int, d: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(classes * 100 + each)
    embeddings = torch.randn(classes * each, d, generator=generator, dtype=torch.float64)
    proxies = torch.randn(classes, d, generator=generator, dtype=torch.float64)
    # A class of the last label has no item: proxies without positives must agree too.
    labels = torch.arange(classes * each) % max(2, classes - 1)
    return embeddings, labels, proxies


def ours_of(text: str, proxies: Tensor, classes: int) -> Objective:
    objective = Objective(text).prepare(dimension=proxies.shape[1], classes=classes).double()
    assert objective.keys is not None
    objective.keys.weight = nn.Parameter(proxies.clone())
    return objective


def gradients(loss: Callable[[Tensor], Tensor], embeddings: Tensor, parameter: nn.Parameter) -> list[Tensor]:
    leaf = embeddings.clone().requires_grad_()
    value = loss(leaf)
    return [value.detach(), *torch.autograd.grad(value, [leaf, parameter])]


def compare(ours: Objective, theirs: Any, name: str, case_: tuple[Tensor, Tensor], order: Tensor | None = None) -> None:
    embeddings, labels = case_
    relation = Relation.labels(labels)
    assert ours.keys is not None
    mine = gradients(lambda x: ours(x, x, relation), embeddings, ours.keys.weight)
    other = gradients(lambda x: theirs(x, labels), embeddings, getattr(theirs, name))
    if other[2].shape != mine[2].shape or order is not None:
        other[2] = other[2].T
    if order is not None:
        other[2] = other[2][order]
    torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("peer", PEERS)
def test_proxy_criteria_equal_pytorch_metric_learning(peer: str, shape: tuple[int, int, int]) -> None:
    text, kind, arguments, name, columns = PEERS[peer]
    embeddings, labels, proxies = case(*shape)
    if name == "weight":
        proxies = normalize(proxies, dim=-1)  # the peer renormalizes them in place before each use
    sizes = (shape[2], shape[0]) if name == "weight" else ()
    named = {} if sizes else {"num_classes": shape[0], "embedding_size": shape[2]}
    theirs = kind(*sizes, **named, **arguments).double()
    setattr(theirs, name, nn.Parameter(proxies.T.clone() if columns else proxies.clone()))
    ours = ours_of(text, proxies, shape[0])
    if name == "weight":
        return compare_without_length(ours, theirs, embeddings, labels)
    if columns:
        return compare(ours, theirs, name, (embeddings, labels), torch.arange(shape[0]))
    return compare(ours, theirs, name, (embeddings, labels))


def compare_without_length(ours: Objective, theirs: nn.Module, embeddings: Tensor, labels: Tensor) -> None:
    """Of proxies that the peer does not normalize itself, only the values and embeddings' gradients are comparable."""
    relation = Relation.labels(labels)
    values = []
    for loss in (lambda x: ours(x, x, relation), lambda x: theirs(x, labels)):
        leaf = embeddings.clone().requires_grad_()
        value = loss(leaf)
        values.append([value.detach(), *torch.autograd.grad(value, leaf)])
    torch.testing.assert_close(*values, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["soft_triple", "subcenter_arcface"])
def test_criteria_of_several_proxies_a_class_equal_pytorch_metric_learning(
    kind: str, shape: tuple[int, int, int]
) -> None:
    each = 3
    classes, _, d = shape
    embeddings, labels, _ = case(*shape)
    generator = torch.Generator().manual_seed(1)
    proxies = torch.randn(classes * each, d, generator=generator, dtype=torch.float64)
    # The peer has a class's centres side by side, ours has class c at c, C + c, 2C + c ...
    order = torch.arange(classes * each).reshape(classes, each).T.reshape(-1)
    settings = {"num_classes": classes, "embedding_size": d}
    if kind == "soft_triple":
        theirs = losses.SoftTripleLoss(centers_per_class=each, la=15, gamma=0.2, margin=0.05, **settings)
        text, name = f"soft_triple(scale=15, gamma=0.2, margin=0.05), keys=proxies(per_class={each})", "fc"
    else:
        theirs = losses.SubCenterArcFaceLoss(sub_centers=each, margin=20, scale=16, **settings)
        text, name = f"subcenter_arcface(margin=20, scale=16), keys=proxies(per_class={each})", "W"
    setattr(theirs.double(), name, nn.Parameter(proxies.T.clone()))
    compare(ours_of(text, proxies[order], classes), theirs, name, (embeddings, labels), order)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("margin", [1, 3, 4])
def test_multiplied_angles_equal_pytorch_metric_learning_on_embeddings_of_fixed_length(
    shape: tuple[int, int, int], margin: int
) -> None:
    embeddings, labels, proxies = case(*shape)
    embeddings, proxies = normalize(embeddings, dim=-1), normalize(proxies, dim=-1)
    settings = {"num_classes": shape[0], "embedding_size": shape[2], "margin": margin}
    for peer, text in (
        (losses.SphereFaceLoss(scale=7, **settings), f"sphereface(margin={margin}, scale=7.0)"),
        (losses.LargeMarginSoftmaxLoss(scale=1, **settings), f"large_margin_softmax(margin={margin})"),
    ):
        peer.double().W = nn.Parameter(proxies.T.clone())
        ours = ours_of(text, proxies, shape[0])
        relation = Relation.labels(labels)
        torch.testing.assert_close(ours(embeddings, embeddings, relation), peer(embeddings, labels))


def test_proxy_nca_without_the_own_proxy_is_the_original_loss() -> None:
    embeddings, labels, proxies = case(5, 3, 6)
    ours = ours_of("proxy_nca(scale=1.0, exclude_own=True)", proxies, 5)
    squares = distances.LpDistance(power=2)(embeddings, proxies)
    own = squares.gather(1, labels.unsqueeze(1)).squeeze(1)
    rest = (-squares).scatter(1, labels.unsqueeze(1), -torch.inf).logsumexp(1)
    torch.testing.assert_close(ours(embeddings, embeddings, Relation.labels(labels)), (own + rest).mean())
