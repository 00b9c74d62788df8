"""Proxy criteria without a peer equal their definitions; key sources give the keys they promise."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, normalize

from similis.criteria.proxy.angular import plus_angle, times_angle
from similis.errors import UserError
from similis.keys.fixed import Anchors, Equiangular
from similis.objective import Objective
from similis.registry import bind
from similis.relation import Relation, Rows


def batch(classes: int = 4, each: int = 3, d: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(classes * each, d, generator=generator, dtype=torch.float64)
    return embeddings, torch.arange(classes * each) % classes


def centroid_scores(embeddings: Tensor, labels: Tensor, item: int) -> tuple[Tensor, int]:
    """Cosines of an item with each class's centroid, its own computed without it; and its class."""
    scores = []
    for c in labels.unique().tolist():
        members = [j for j in range(len(labels)) if int(labels[j]) == c and j != item]
        scores.append(cosine_similarity(embeddings[item], embeddings[members].mean(0), dim=0))
    return torch.stack(scores), int(labels[item])


@pytest.mark.parametrize("form", ["softmax", "contrast"])
def test_ge2e_equals_a_loop_over_items(form: str) -> None:
    embeddings, labels = batch()
    expected = []
    for item in range(len(labels)):
        scores, own = centroid_scores(embeddings, labels, item)
        logits = 3.0 * scores - 1.0
        others = torch.cat([logits[:own], logits[own + 1 :]])
        if form == "softmax":
            expected.append(logits.logsumexp(0) - logits[own])
        else:
            expected.append(1 - torch.sigmoid(logits[own]) + torch.sigmoid(others).max())
    objective = Objective(f"ge2e(form='{form}', scale=3.0, bias=-1.0)").double()
    found = objective(embeddings, embeddings, Relation.labels(labels))
    torch.testing.assert_close(found.detach(), torch.stack(expected).mean())


def test_angular_prototypical_equals_a_loop_over_items() -> None:
    embeddings, labels = batch()
    expected = []
    for item in range(len(labels)):
        scores, own = centroid_scores(embeddings, labels, item)
        expected.append((10 * scores - 5).logsumexp(0) - (10 * scores - 5)[own])
    found = Objective("angular_prototypical").double()(embeddings, embeddings, Relation.labels(labels))
    torch.testing.assert_close(found.detach(), torch.stack(expected).mean())


def test_prototypical_with_a_support_set_is_the_episode_s_cross_entropy() -> None:
    support, support_labels = batch(classes=3, each=4)
    queries, query_labels = batch(classes=3, each=2)
    prototypes = torch.stack([support[support_labels == c].mean(0) for c in range(3)])
    expected = torch.nn.functional.cross_entropy(-torch.cdist(queries, prototypes).square(), query_labels)
    relation = Relation.labels(query_labels, support_labels, exclude_self=False)
    torch.testing.assert_close(Objective("prototypical")(queries, support, relation), expected)


def test_a_class_of_one_item_counts_as_no_row() -> None:
    embeddings, labels = batch()
    labels = labels.clone()
    labels[0] = 9
    objective = Objective("prototypical")
    objective(embeddings, embeddings, Relation.labels(labels))
    assert (objective.last_rows, objective.last_valid) == (12, 11)


def test_angles_are_added_and_multiplied_without_an_arc_cosine() -> None:
    angle = torch.linspace(0.01, math.pi - 0.01, 200, dtype=torch.float64)
    cosine = angle.cos()
    turned = torch.where(angle <= math.pi - 0.5, (angle + 0.5).cos(), cosine - 0.5 * math.sin(0.5))
    torch.testing.assert_close(plus_angle(cosine, 0.5), turned)
    for times in (1, 2, 3, 4):
        k = (times * angle / math.pi).floor()
        torch.testing.assert_close(times_angle(cosine, times), (-1) ** k * (times * angle).cos() - 2 * k)
        assert bool((times_angle(cosine, times).diff() < 0).all())


@pytest.mark.parametrize("text", ["arcface", "sphereface", "curricularface", "combined_margin"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_stay_finite_at_cosines_of_one(text: str, dtype: torch.dtype) -> None:
    scores = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=dtype, requires_grad=True)
    bind("criterion", text).build()(scores, Rows(same=torch.tensor([[True, False], [True, False]]))).sum().backward()
    assert scores.grad is not None
    assert bool(torch.isfinite(scores.grad).all())


def test_combined_margin_equals_its_formula_and_has_cosface_inside() -> None:
    scores = torch.rand(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 0.5
    rows = Rows(same=torch.eye(3, 4, dtype=torch.bool))
    logits = 10 * scores
    own = 10 * ((1 * scores.diagonal().acos() + math.radians(10)).cos() - 0.1)
    expected = torch.nn.functional.cross_entropy(logits.diagonal_scatter(own), torch.arange(3), reduction="none")
    found = bind("criterion", "combined_margin(plus=10.0, minus=0.1, scale=10.0)")(scores, rows)
    torch.testing.assert_close(found, expected)
    cosface = bind("criterion", "cosface(margin=0.2, scale=10.0)")(scores, rows)
    torch.testing.assert_close(
        bind("criterion", "combined_margin(plus=0.0, minus=0.2, scale=10.0)")(scores, rows), cosface
    )


def test_curricularface_weighs_hard_negatives_by_the_level_reached() -> None:
    scores = torch.tensor([[0.6, 0.5, -0.2], [0.1, 0.7, 0.65]], dtype=torch.float64)
    same = torch.tensor([[True, False, False], [False, True, False]])
    criterion = bind("criterion", "curricularface(margin=28.6, scale=8.0, decay=0.5)").build().double()
    level, expected = 0.0, []
    for _ in range(2):
        found = criterion(scores.clone().requires_grad_(), Rows(same=same)).detach()
        level = 0.5 * 0.65 + 0.5 * level
        expected = []
        for row, own in ((scores[0], 0), (scores[1], 1)):
            raised = math.cos(math.acos(float(row[own])) + math.radians(28.6))
            logits = [8 * s * (level + s) if s > raised else 8 * s for s in row.tolist()]
            logits[own] = 8 * raised
            expected.append(math.log(sum(math.exp(v) for v in logits)) - logits[own])
        torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("head", ["arcface", "cosface"])
def test_unpg_adds_the_batch_s_negative_pairs_within_the_whiskers(head: str) -> None:
    embeddings, labels = batch(classes=3, each=3)
    objective = Objective(f"unpg(head='{head}', margin=0.3, scale=6.0, whisker=0.4)")
    objective.prepare(dimension=5, classes=3).double()
    assert objective.keys is not None
    unit, proxies = normalize(embeddings, dim=-1), normalize(objective.keys.weight.detach(), dim=-1)
    pairs = sorted(
        float(unit[i] @ unit[j]) for i in range(9) for j in range(i + 1, 9) if int(labels[i]) != int(labels[j])
    )
    lower, upper = pairs[int(0.25 * len(pairs))], pairs[int(0.75 * len(pairs))]
    reach = 0.4 * (upper - lower)
    kept = torch.tensor([s for s in pairs if lower - reach <= s <= upper + reach], dtype=torch.float64)
    assert 0 < len(kept) < len(pairs)
    expected = []
    for item in range(9):
        logits, own = unit[item] @ proxies.T, int(labels[item])
        raised = (logits[own].acos() + 0.3).cos() if head == "arcface" else logits[own] - 0.3
        others = torch.cat([logits[:own], logits[own + 1 :], kept])
        expected.append(torch.cat([raised.reshape(1), others]).mul(6.0).logsumexp(0) - 6.0 * raised)
    found = objective(embeddings, embeddings, Relation.labels(labels))
    torch.testing.assert_close(found.detach(), torch.stack(expected).mean())


def test_unpg_asks_for_its_sizes() -> None:
    with pytest.raises(UserError, match=r"objective\.prepare"):
        bind("criterion", "unpg").build()(torch.zeros(2, 4), Rows(same=torch.eye(2, 4, dtype=torch.bool)))


def test_equiangular_vectors_are_orthogonal_as_long_as_they_can_be() -> None:
    keys = Equiangular(classes=5, dimension=8)
    torch.testing.assert_close(keys.weight @ keys.weight.T, torch.eye(5), atol=1e-6, rtol=0)
    assert not keys.weight.requires_grad


@pytest.mark.parametrize(("classes", "dimension", "slack"), [(6, 3, 1.02), (16, 8, 1.35), (100, 32, 1.5)])
def test_equiangular_vectors_come_near_the_welch_bound(classes: int, dimension: int, slack: float) -> None:
    weight = Equiangular(classes=classes, dimension=dimension).weight.detach()
    cosines = (weight @ weight.T).fill_diagonal_(0).abs()
    welch = math.sqrt((classes - dimension) / (dimension * (classes - 1)))
    torch.testing.assert_close(weight.norm(dim=-1), torch.ones(classes))
    assert float(cosines.max()) <= slack * welch


@pytest.mark.parametrize("classes", [2, 4, 6])
def test_anchors_form_a_simplex(classes: int) -> None:
    weight = Anchors(classes=classes, dimension=5).weight.detach()
    cosines = weight @ weight.T
    expected = torch.full((classes, classes), -1 / (classes - 1)).fill_diagonal_(1.0)
    torch.testing.assert_close(cosines, expected, atol=1e-5, rtol=0)


def test_anchors_are_read_from_a_file(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    np.save(tmp_path / "entries.npy", vectors)
    keys = Anchors(classes=3, dimension=4, file=str(tmp_path / "entries.npy"))
    np.testing.assert_array_equal(keys.weight.detach().numpy(), vectors)
    with pytest.raises(UserError, match=r"\[3, 4\].*5 classes"):
        Anchors(classes=5, dimension=4, file=str(tmp_path / "entries.npy"))
    (tmp_path / "broken.npy").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"broken\.npy cannot be read"):
        Anchors(classes=3, dimension=4, file=str(tmp_path / "broken.npy"))


def test_fixed_keys_are_trained_against_but_do_not_move() -> None:
    embeddings, labels = batch()
    objective = Objective("normalized_softmax", keys="equiangular").prepare(dimension=5, classes=4).double()
    leaf = nn.Parameter(embeddings.clone())
    optimizer = torch.optim.Adam([leaf, *(p for p in objective.parameters() if p.requires_grad)], lr=0.05)
    start = objective.keys.weight.clone()  # type: ignore[union-attr]
    for _ in range(80):
        optimizer.zero_grad()
        objective(leaf, leaf, Relation.labels(labels)).backward()
        optimizer.step()
    assert torch.equal(objective.keys.weight, start)  # type: ignore[union-attr]
    assert torch.equal((leaf @ start.T).argmax(-1), labels)


def test_several_centres_need_a_whole_number_for_each_class() -> None:
    same = torch.tensor([[True, True, False, False, False]])
    with pytest.raises(UserError, match="5 proxies cannot be 2 for each class"):
        bind("criterion", "soft_triple")(torch.zeros(1, 5), Rows(same=same))
