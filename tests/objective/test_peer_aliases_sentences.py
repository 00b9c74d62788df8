"""sentence-transformers' class names, with their arguments and defaults, compute what its classes compute."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peer_cases import GivenScores, GivenVectors, assert_same, bare, name_of, random
from sentence_transformers.cross_encoder import losses as cross
from sentence_transformers.multi_vector_encoder import losses as multi
from sentence_transformers.sentence_transformer import losses as dense
from sentence_transformers.sparse_encoder import losses as sparse
from sentence_transformers.util import cos_sim, dot_score, pairwise_cos_sim, pairwise_dot_score, pairwise_manhattan_sim
from torch import Tensor, nn
from torch.nn.functional import normalize

from similis.objective import Objective
from similis.relation import Relation

SHAPES = [(3, 4), (5, 6), (8, 3)]

#: What the peers' arguments are called in Python.
SPACE = {
    **vars(cross),
    **vars(multi),
    **vars(sparse),
    **vars(dense),
    "cos_sim": cos_sim,
    "dot_score": dot_score,
    "pairwise_cos_sim": pairwise_cos_sim,
    "pairwise_dot_score": pairwise_dot_score,
    "pairwise_manhattan_sim": pairwise_manhattan_sim,
    "cosine_distance": dense.BatchHardTripletLossDistanceFunction.cosine_distance,
    "COSINE_DISTANCE": dense.SiameseDistanceMetric.COSINE_DISTANCE,
    "EUCLIDEAN": dense.SiameseDistanceMetric.EUCLIDEAN,
    "MANHATTAN": dense.SiameseDistanceMetric.MANHATTAN,
}

PAIRS = [
    "MultipleNegativesRankingLoss()",
    "MultipleNegativesRankingLoss(scale=20)",
    "MultipleNegativesRankingLoss(scale=5, similarity_fct=dot_score)",
    "MultipleNegativesRankingLoss(directions=['query_to_doc', 'query_to_query', 'doc_to_query', 'doc_to_doc'])",
    "MultipleNegativesRankingLoss(directions=['query_to_doc', 'doc_to_query'], partition_mode='per_direction')",
    "MultipleNegativesRankingLoss(directions=['query_to_doc', 'doc_to_query'])",
    "MultipleNegativesSymmetricRankingLoss()",
    "MultipleNegativesSymmetricRankingLoss(scale=4, similarity_fct=cos_sim)",
    "SparseMultipleNegativesRankingLoss()",
    "SparseMultipleNegativesRankingLoss(scale=3, directions=['query_to_doc', 'query_to_query'])",
]

CACHED = [
    "CachedMultipleNegativesRankingLoss(scale=10)",
    "CachedMultipleNegativesSymmetricRankingLoss()",
    "MegaBatchMarginLoss()",
    "MegaBatchMarginLoss(positive_margin=0.9, negative_margin=0.1)",
]

SCORED = [
    "CoSENTLoss()",
    "CoSENTLoss(scale=3, similarity_fct=pairwise_dot_score)",
    "CoSENTLoss(similarity_fct=pairwise_manhattan_sim)",
    "AnglELoss()",
    "AnglELoss(scale=5)",
    "CosineSimilarityLoss()",
    "SparseCoSENTLoss()",
    "SparseAnglELoss()",
    "SparseCosineSimilarityLoss()",
]

LABELED = [
    "ContrastiveLoss(margin=0.5)",
    "ContrastiveLoss(distance_metric=EUCLIDEAN, margin=3.0)",
    "ContrastiveLoss(distance_metric=MANHATTAN, margin=6.0, size_average=False)",
]

TEACHER = [
    "MarginMSELoss()",
    "MarginMSELoss(similarity_fct=pairwise_cos_sim)",
    "DistillKLDivLoss()",
    "DistillKLDivLoss(temperature=2.0)",
    "DistillKLDivLoss(student_temperature=2.0, teacher_temperature=0.5)",
    "SparseMarginMSELoss()",
    "SparseDistillKLDivLoss()",
    "SparseDistillKLDivLoss(teacher_temperature=3.0)",
]

TRIPLETS = [
    "BatchAllTripletLoss()",
    "BatchAllTripletLoss(margin=0.2, distance_metric=cosine_distance)",
    "BatchHardTripletLoss()",
    "BatchHardTripletLoss(margin=0.3, distance_metric=cosine_distance)",
    "BatchHardSoftMarginTripletLoss()",
    "BatchSemiHardTripletLoss()",
    "BatchSemiHardTripletLoss(margin=0.3)",
]

LISTS = [
    "ADRMSELoss()",
    "ADRMSELoss(alpha=2.0)",
    "LambdaLoss()",
    "LambdaLoss(k=3, sigma=0.5)",
    "LambdaLoss(weighting_scheme=LambdaRankScheme())",
    "LambdaLoss(weighting_scheme=NDCGLoss1Scheme(), k=4)",
    "LambdaLoss(weighting_scheme=NDCGLoss2Scheme())",
    "LambdaLoss(weighting_scheme=NDCGLoss2PPScheme(mu=3.0))",
    "ListNetLoss()",
    "RankNetLoss()",
    "RankNetLoss(k=2, sigma=2.0)",
]

FALLING = ["ListMLELoss()", "PListMLELoss()"]

TOKENS = [
    "MultiVectorMultipleNegativesRankingLoss()",
    "MultiVectorMultipleNegativesRankingLoss(scale=0.5)",
]

TOKENS_TEACHER = [
    "MultiVectorDistillKLDivLoss()",
    "MultiVectorDistillKLDivLoss(temperature=2.0)",
    "MultiVectorMarginMSELoss()",
]

GIST = [
    "(temperature=0.05)",
    "(temperature=0.1, margin=0.1)",
    "(temperature=0.1, margin=0.2, margin_strategy='relative', contrast_anchors=False)",
    "(temperature=0.1, contrast_positives=False)",
]

#: Those compared in tests of their own below.
OTHERS = {
    "BinaryCrossEntropyLoss",
    "CachedGISTEmbedLoss",
    "CachedMultiVectorMultipleNegativesRankingLoss",
    "GISTEmbedLoss",
    "MSELoss",
    "SparseMSELoss",
}

ALL = (*PAIRS, *CACHED, *SCORED, *LABELED, *TEACHER, *TRIPLETS, *LISTS, *FALLING, *TOKENS, *TOKENS_TEACHER)
COVERED = {name_of(text) for text in ALL} | OTHERS


def peer_of(text: str, model: nn.Module) -> Any:
    """The peer's own object around a model: its text is Python."""
    rest = text.partition("(")[2]
    return eval(f"{name_of(text)}(model, {rest}", {**SPACE, "model": model})


def compare_columns(
    text: str, relation: Relation | None, labels: Tensor | None, *columns: Tensor, rtol: float = 1e-6
) -> None:
    """A loss of the peer that is a function of columns of embeddings, against ours of queries and keys."""
    peer = peer_of(text, nn.Identity())
    objective = Objective(text)
    assert_same(
        lambda q, *k: objective(q, torch.cat(k), relation),
        lambda *e: peer.compute_loss_from_embeddings(list(e), labels),
        *columns,
        rtol=rtol,
        atol=rtol * 1e-2,
    )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("text", PAIRS)
def test_names_over_pairs_compute_the_peers_loss(text: str, shape: tuple[int, int]) -> None:
    columns = [random(*shape, seed=s) for s in range(3)]
    compare_columns(text, None, None, *columns[:2])
    if "doc_to_doc" not in text:
        compare_columns(text, Relation.triplets(shape[0]), None, *columns)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("text", CACHED)
def test_names_of_cached_losses_compute_the_peers_loss(text: str, shape: tuple[int, int]) -> None:
    peer, objective = peer_of(text, nn.Sequential(nn.Identity())), Objective(text)
    queries, keys = random(*shape), random(*shape, seed=1)
    assert_same(objective, lambda q, k: peer.calculate_loss([[q[:2], q[2:]], [k[:2], k[2:]]]), queries, keys)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("text", SCORED)
def test_names_over_scored_pairs_compute_the_peers_loss(text: str, shape: tuple[int, int]) -> None:
    score = random(shape[0], seed=3).sigmoid().float()
    compare_columns(text, Relation.scored(score), score.double(), random(*shape), random(*shape, seed=1))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("text", LABELED)
def test_names_over_labelled_pairs_compute_the_peers_loss(text: str, shape: tuple[int, int]) -> None:
    label = torch.arange(shape[0]) % 2
    pair = random(*shape), random(*shape, seed=1)
    # The peer adds 1e-6 to every difference of a distance.
    compare_columns(text, Relation.labeled_pairs(label), label, *pair, rtol=1e-4 if "metric" in text else 1e-6)


@pytest.mark.parametrize("shape", [(2, 3, 4), (5, 4, 6), (7, 6, 3)], ids=str)
@pytest.mark.parametrize("text", TEACHER)
def test_names_over_a_teachers_scores_compute_the_peers_loss(text: str, shape: tuple[int, int, int]) -> None:
    n, m, d = shape
    teacher = random(n, m, seed=2).float()
    peer, objective = peer_of(text, nn.Identity()), Objective(text)
    assert_same(
        lambda q, k: objective(q, k, Relation.teacher(teacher, layout="lists")),
        lambda q, k: peer.compute_loss_from_embeddings([q, *k.unbind(1)], teacher.double()),
        random(n, d),
        random(n, m, d, seed=1),
        rtol=1e-5,
    )


@pytest.mark.parametrize("counts", [(2, 3), (5, 3, 2), (4, 2, 2, 3)], ids=str)
@pytest.mark.parametrize("text", TRIPLETS)
def test_names_over_triplets_of_a_batch_compute_the_peers_loss(text: str, counts: tuple[int, ...]) -> None:
    y = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    x = random(len(y), 6) + random(len(counts), 6, seed=1)[y]
    peer, objective = peer_of(text, nn.Identity()), Objective(text)
    assert_same(
        lambda e: objective(e, e, Relation.labels(y)), lambda e: peer.compute_loss_from_embeddings([e], y), x, rtol=1e-5
    )


@pytest.mark.parametrize("shape", [(2, 4), (5, 7), (3, 16)], ids=str)
@pytest.mark.parametrize("text", [*LISTS, *FALLING])
def test_names_over_lists_compute_the_peers_loss_of_the_same_scores(text: str, shape: tuple[int, int]) -> None:
    rows, keys = shape
    grade = torch.randint(0, 4, shape, generator=torch.Generator().manual_seed(keys)).float()
    grade[:, 0], grade[:, 1] = 3, 0
    if text in FALLING:
        grade = torch.arange(keys, 0, -1).float().expand(rows, keys).contiguous()
    documents = [[str(i * keys + j) for j in range(keys)] for i in range(rows)]
    objective = Objective(text)
    # Queries of one coordinate, 1: the inner products are the keys' numbers, the scores a cross-encoder would give.
    assert_same(
        lambda s: objective(torch.ones(rows, 1), s.unsqueeze(-1), Relation.graded(grade, layout="lists")),
        lambda s: peer_of(text, GivenScores(s))([["q"] * rows, documents], list(grade)),
        random(rows, keys).float(),
        rtol=2e-4,
        atol=1e-6,
    )


@pytest.mark.parametrize("n", [3, 6, 11])
@pytest.mark.parametrize("weight", [1.0, 2.5])
def test_the_binary_cross_entropy_name_computes_the_peers_loss(weight: float, n: int) -> None:
    label = (torch.arange(n) % 2).float()
    objective = Objective(f"BinaryCrossEntropyLoss(pos_weight={weight})")
    bce = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(weight))

    def theirs(s: Tensor) -> Tensor:
        peer = bare(cross.BinaryCrossEntropyLoss, activation_fn=nn.Identity(), bce_with_logits_loss=bce)
        peer.model = GivenScores(s)
        return peer([["q"] * n, [str(i) for i in range(n)]], label)

    ones = torch.ones(n, 1)
    assert_same(
        lambda s: objective(ones, s.unsqueeze(-1), Relation.labeled_pairs(label)),
        theirs,
        random(n).float(),
        rtol=1e-5,
        atol=1e-7,
    )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", ["MSELoss", "SparseMSELoss"])
def test_the_mse_names_compute_the_peers_distance_from_a_teachers_embeddings(name: str, shape: tuple[int, int]) -> None:
    peer, objective = peer_of(f"{name}()", nn.Identity()), Objective(name)
    teacher = random(*shape, seed=1)
    assert_same(
        lambda x: objective(x, teacher), lambda x: peer.compute_loss_from_embeddings([x], [teacher]), random(*shape)
    )


def tokens(n: int, t: int, d: int, seed: int) -> tuple[Tensor, Tensor]:
    """``[n, t, d]`` unit token vectors, zero where the mask ``[n, t]`` is False; every item has a token."""
    mask = torch.rand(n, t, generator=torch.Generator().manual_seed(seed)) < 0.7
    mask[:, 0] = True
    return normalize(random(n, t, d, seed=seed), dim=-1) * mask.unsqueeze(-1), mask


@pytest.mark.parametrize("shape", [(3, 2, 4), (5, 4, 3), (6, 3, 6)], ids=str)
@pytest.mark.parametrize("text", TOKENS)
def test_names_over_token_vectors_compute_the_peers_loss(text: str, shape: tuple[int, int, int]) -> None:
    n, t, d = shape
    (queries, q_mask), (keys, k_mask) = tokens(n, t, d, 0), tokens(n, t + 1, d, 1)
    peer, objective = peer_of(text, GivenVectors()), Objective(text)
    assert str(objective) == str(Objective(f"Cached{text}"))
    assert_same(
        lambda q, k: objective(q * q_mask.unsqueeze(-1), k * k_mask.unsqueeze(-1)),
        lambda q, k: peer([{"own": q, "mask": q_mask}, {"own": k, "mask": k_mask}]),
        queries,
        keys,
        rtol=1e-4,
        atol=1e-6,
    )


@pytest.mark.parametrize("shape", [(3, 2, 4), (5, 4, 3), (6, 3, 6)], ids=str)
@pytest.mark.parametrize("text", TOKENS_TEACHER)
def test_names_over_token_vectors_and_a_teacher_compute_the_peers_loss(text: str, shape: tuple[int, int, int]) -> None:
    n, t, d = shape
    m = 3
    (queries, q_mask), (keys, k_mask) = tokens(n, t, d, 0), tokens(n * m, t + 1, d, 1)
    keys, k_mask = keys.view(n, m, t + 1, d), k_mask.view(n, m, t + 1)
    teacher = random(n, m, seed=2).float()
    peer, objective = peer_of(text, GivenVectors()), Objective(text)
    assert_same(
        lambda q, k: objective(
            q * q_mask.unsqueeze(-1), k * k_mask.unsqueeze(-1), Relation.teacher(teacher, layout="lists")
        ),
        lambda q, k: peer(
            [{"own": q, "mask": q_mask}, *({"own": k[:, j], "mask": k_mask[:, j]} for j in range(m))], teacher
        ),
        queries,
        keys,
        rtol=1e-4,
        atol=1e-6,
    )


@pytest.mark.parametrize("shape", [(4, 3), (7, 5), (10, 4)], ids=str)
@pytest.mark.parametrize("arguments", GIST)
def test_the_gist_names_compute_the_peers_loss(arguments: str, shape: tuple[int, int]) -> None:
    given = {
        "margin": 0.0,
        "margin_strategy": "absolute",
        "contrast_anchors": True,
        "contrast_positives": True,
        "gather_across_devices": False,
        "similarity_fct": nn.CosineSimilarity(dim=-1),
        "cross_entropy_loss": nn.CrossEntropyLoss(),
        "must_retokenize": False,
        **eval(f"dict{arguments}"),
    }
    guides = [normalize(random(*shape, seed=s), dim=-1) for s in (5, 6)]
    guides[1] = normalize(guides[0] + 0.5 * guides[1], dim=-1)
    relation = Relation.pairs(shape[0])
    relation.guide = (guides[0], guides[1])
    plain = bare(dense.GISTEmbedLoss, model=GivenVectors(), guide=GivenVectors("guide"), **given)
    cached = bare(dense.CachedGISTEmbedLoss, mini_batch_size=3, show_progress_bar=False, **given)
    pair = random(*shape), random(*shape, seed=1)
    for name, theirs in (
        ("GISTEmbedLoss", lambda *e: plain([{"own": x, "guide": g} for x, g in zip(e, guides, strict=True)], None)),
        ("CachedGISTEmbedLoss", lambda *e: cached.calculate_loss([[x] for x in e], [[g] for g in guides])),
    ):
        objective = Objective(name + arguments)
        assert_same(lambda q, k, objective=objective: objective(q, k, relation), theirs, *pair)
