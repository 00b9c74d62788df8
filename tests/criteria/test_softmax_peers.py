"""The softmax family equals pytorch-metric-learning and sentence-transformers, in value and gradient."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from pytorch_metric_learning import distances, losses
from torch import Tensor

from similis.objective import Objective
from similis.relation import Relation

SHAPES = [(4, 2, 5), (6, 4, 12), (3, 10, 8)]

Peer = Callable[[Tensor, Tensor], Tensor]

PEERS: dict[str, tuple[str, Peer]] = {
    "SupConLoss": ("supcon(temperature=0.1), reduction=mean_nonzero", losses.SupConLoss(temperature=0.1)),
    "SupConLoss, distances": (
        "supcon(temperature=0.5), similarity=euclidean",
        losses.SupConLoss(0.5, distance=distances.LpDistance(normalize_embeddings=False)),
    ),
    "NTXentLoss": ("nt_xent(temperature=0.07)", losses.NTXentLoss(temperature=0.07)),
    "NCALoss, plain": (
        "nca(scale=0.7)",
        losses.NCALoss(0.7, distance=distances.LpDistance(power=2, normalize_embeddings=False)),
    ),
    "NCALoss": ("nca(scale=3.0), similarity=cosine", losses.NCALoss(softmax_scale=1.5)),
}


def case(classes: int, each: int, d: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(classes * 100 + each)
    embeddings = torch.randn(classes * each, d, generator=generator, dtype=torch.float64)
    return embeddings, torch.arange(classes * each) % classes


def value_and_gradient(loss: Peer, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    leaf = embeddings.clone().requires_grad_()
    value = loss(leaf, labels)
    (gradient,) = torch.autograd.grad(value, leaf)
    return value.detach(), gradient


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", PEERS)
def test_softmax_criteria_equal_pytorch_metric_learning(name: str, shape: tuple[int, int, int]) -> None:
    text, peer = PEERS[name]
    embeddings, labels = case(*shape)
    objective = Objective(text)
    ours = value_and_gradient(lambda x, y: objective(x, x, Relation.labels(y)), embeddings, labels)
    theirs = value_and_gradient(peer, embeddings, labels)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("shape", [(3, 2, 4), (7, 2, 9), (12, 2, 6)])
def test_n_pair_equals_pytorch_metric_learning_on_pairs(shape: tuple[int, int, int]) -> None:
    embeddings, labels = case(*shape)
    classes = shape[0]
    anchors, positives = torch.arange(classes), torch.arange(classes) + classes
    nothing = torch.empty(0, dtype=torch.long)
    peer = losses.NPairsLoss(distance=distances.DotProductSimilarity(normalize_embeddings=False))
    theirs = value_and_gradient(lambda x, y: peer(x, y, (anchors, positives, nothing, nothing)), embeddings, labels)
    ours = value_and_gradient(lambda x, _: Objective("n_pair")(x[anchors], x[positives]), embeddings, labels)
    # The peer's pairs come in the order of a set of classes: the mean over them is the same.
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("shape", SHAPES)
def test_mega_batch_margin_equals_sentence_transformers(shape: tuple[int, int, int]) -> None:
    from sentence_transformers.sentence_transformer.losses import MegaBatchMarginLoss

    anchors, _ = case(*shape)
    positives = anchors.flip(0) + anchors
    settings = SimpleNamespace(positive_margin=0.7, negative_margin=0.2, mini_batch_size=4)
    theirs = value_and_gradient(
        lambda x, _: MegaBatchMarginLoss.calculate_loss(settings, [[x], [positives]]), anchors, anchors
    )
    objective = Objective("mega_batch_margin(positive_margin=0.7, negative_margin=0.2)")
    ours = value_and_gradient(lambda x, _: objective(x, positives), anchors, anchors)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("weight", [1.0, 2.5])
def test_logistic_equals_torch_binary_cross_entropy(weight: float) -> None:
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(2, 9, 4, generator=generator, dtype=torch.float64)
    grade = torch.rand(9, generator=generator, dtype=torch.float64).float()
    ours = Objective(f"logistic(temperature=0.5, positive_weight={weight})")(left, right, Relation.scored(grade))
    logits = torch.nn.functional.cosine_similarity(left, right) / 0.5
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, grade.double(), pos_weight=torch.tensor(weight)
    )
    torch.testing.assert_close(ours, expected)
