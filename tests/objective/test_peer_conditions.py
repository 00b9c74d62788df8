"""Classes of the peers that equal ours only in the case the table names: there they do."""

from __future__ import annotations

import pytest
import torch
from peer_cases import GivenVectors, assert_same, random
from pytorch_metric_learning import distances, losses
from sentence_transformers.sentence_transformer import losses as dense
from sentence_transformers.sparse_encoder import losses as sparse
from torch import Tensor, nn

from similis.objective import Objective
from similis.objective.peers import PEERS
from similis.objective.peers.metric_learning_parts import distance_of
from similis.relation import Relation
from similis.similarity import build
from similis.text import parse_call

SHAPES = [(3, 4), (5, 6), (8, 3)]

pytestmark = pytest.mark.parametrize("shape", SHAPES, ids=str)


def text_of(name: str) -> str:
    return next(str(row.text) for row in PEERS if row.name == name)


@pytest.mark.parametrize("name", ["TripletLoss", "SparseTripletLoss"])
def test_triplet_losses_without_the_negatives_of_the_batch(name: str, shape: tuple[int, int]) -> None:
    peer = getattr(dense, name, None) or getattr(sparse, name)
    columns = [random(*shape, seed=s) for s in range(3)]
    relation = Relation.triplets(shape[0], in_batch=False)
    assert_same(
        lambda q, *k: Objective(text_of(name))(q, torch.cat(k), relation),
        lambda *e: peer(nn.Identity()).compute_loss_from_embeddings(list(e), None),
        *columns,
    )


def test_online_contrastive_is_twice_ours(shape: tuple[int, int]) -> None:
    label = torch.arange(shape[0]) % 2
    peer = dense.OnlineContrastiveLoss(nn.Identity())
    columns = random(*shape), random(*shape, seed=1)
    assert_same(
        lambda q, k: 2 * Objective(text_of("OnlineContrastiveLoss"))(q, k, Relation.labeled_pairs(label)),
        lambda *e: peer.compute_loss_from_embeddings(list(e), label),
        *columns,
    )


@pytest.mark.parametrize(
    ("metric", "similarity", "less"),
    [("cosine", "match(squared=0, cosine=1)", 1.0), ("mse", "match(cosine=0)", 0.0), ("l2", "euclidean", 0.0)],
)
def test_embedding_distillation_up_to_its_constant(
    metric: str, similarity: str, less: float, shape: tuple[int, int]
) -> None:
    peer, teacher = dense.EmbedDistillLoss(nn.Identity(), distance_metric=metric), random(*shape, seed=1)
    objective = Objective("attract", similarity=similarity)
    assert_same(
        lambda x: objective(x, teacher) + less,
        lambda x: peer.compute_loss_from_embeddings([x], [teacher]),
        random(*shape),
    )


def test_matryoshka_is_their_sum_over_as_many_dimensions(shape: tuple[int, int]) -> None:
    n, d = shape
    model = GivenVectors()
    model.get_embedding_dimension = lambda: d  # type: ignore[assignment]
    peer = dense.MatryoshkaLoss(model, dense.MultipleNegativesRankingLoss(model), [d, d - 1, 2])
    objective = Objective("MultipleNegativesRankingLoss", matryoshka=[d, d - 1, 2])
    assert_same(
        lambda q, k: 3 * objective(q, k),
        lambda q, k: peer([{"own": q}, {"own": k}], None),
        random(n, d),
        random(n, d, seed=1),
    )


@pytest.mark.parametrize("base", ["NTXentLoss(temperature=0.3)", "SupConLoss(temperature=0.3)"])
def test_self_supervised_losses_are_directions_of_pairs(base: str, shape: tuple[int, int]) -> None:
    inner = eval(f"losses.{base}")
    views = random(*shape), random(*shape, seed=1)
    both = Objective(base, directions=["q2k+q2q", "k2q+k2k"])
    assert_same(both, losses.SelfSupervisedLoss(inner), *views)
    assert_same(Objective(base), losses.SelfSupervisedLoss(inner, symmetric=False), *views)


@pytest.mark.parametrize("kind", [sparse.SpladeLoss, sparse.CachedSpladeLoss])
def test_splade_losses_of_equal_weights(kind: type[nn.Module], shape: tuple[int, int]) -> None:
    peer = kind(
        nn.Sequential(GivenVectors()),
        sparse.SparseMultipleNegativesRankingLoss(nn.Identity()),
        document_regularizer_weight=0.003,
        query_regularizer_weight=0.003,
    )
    objective = Objective("SparseMultipleNegativesRankingLoss", regularizers=["flops(0.006)"])

    def theirs(q: Tensor, k: Tensor) -> Tensor:
        if kind is sparse.CachedSpladeLoss:
            return peer.calculate_loss([[q], [k]])  # type: ignore[operator, no-any-return]
        return sum(peer([{"own": q}, {"own": k}], None).values())  # type: ignore[no-any-return]

    assert_same(objective, theirs, random(*shape).relu() + 0.01, random(*shape, seed=1).relu() + 0.01)


@pytest.mark.parametrize(
    "text",
    [
        "CosineSimilarity()",
        "DotProductSimilarity()",
        "DotProductSimilarity(normalize_embeddings=False)",
        "LpDistance()",
        "LpDistance(power=2)",
        "LpDistance(normalize_embeddings=False)",
        "LpDistance(power=2, normalize_embeddings=False)",
        "SNRDistance()",
        "SNRDistance(normalize_embeddings=False)",
    ],
)
def test_distances_are_our_similarities_up_to_their_sign(text: str, shape: tuple[int, int]) -> None:
    similarity, sign = distance_of(parse_call(text), None)
    peer = eval(f"distances.{text}", {"distances": distances})
    assert_same(
        lambda q, k: sign * build(similarity)(q, k).square().sum(),
        lambda q, k: sign * peer(q, k).square().sum(),
        random(*shape),
        random(7, shape[1], seed=1),
    )
    ours, theirs = (
        build(similarity)(random(*shape), random(*shape, seed=1)),
        peer(random(*shape), random(*shape, seed=1)),
    )
    torch.testing.assert_close(ours, sign * theirs)
