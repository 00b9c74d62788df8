"""Distillation criteria against sentence-transformers, POT and the definitions of their papers."""

from __future__ import annotations

import math
from functools import partial

import ot
import pytest
import torch
from ranking_lists import SHAPES, assert_padding_is_ignored, lists, rows_of
from sentence_transformers.sentence_transformer.losses import DistillKLDivLoss, MarginMSELoss
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, mse_loss, normalize, smooth_l1_loss

from similis.criteria.distillation.scores import adr_mse, dark_rank, distill_kl, dynamic_distill, margin_mse
from similis.criteria.ranking.listwise import list_mle
from similis.criteria.regression.transport import sinkhorn_distill
from similis.objective import Objective
from similis.relation import Relation


@pytest.mark.parametrize("shape", [(2, 3, 4), (5, 4, 6), (7, 6, 3)])
@pytest.mark.parametrize(
    ("text", "make"),
    [
        ("margin_mse", MarginMSELoss),
        ("distill_kl, similarity=dot", DistillKLDivLoss),
        (
            "distill_kl(temperature=2.0, teacher_temperature=3.0), similarity=dot",
            partial(DistillKLDivLoss, student_temperature=2.0, teacher_temperature=3.0),
        ),
    ],
)
def test_distillation_is_that_of_sentence_transformers(text: str, make: object, shape: tuple[int, int, int]) -> None:
    n, m, d = shape
    generator = torch.Generator().manual_seed(n)
    queries, keys = torch.randn(n, d, generator=generator), torch.randn(n, m, d, generator=generator)
    teacher = torch.randn(n, m, generator=generator)
    peer = make(nn.Identity())  # type: ignore[operator]
    found = []
    for loss in (
        lambda q, k: Objective(text)(q, k, Relation.teacher(teacher, layout="lists")),
        lambda q, k: peer.compute_loss_from_embeddings([q, *k.unbind(1)], teacher),
    ):
        q, k = queries.clone().requires_grad_(), keys.clone().requires_grad_()
        value = loss(q, k)
        value.backward()
        found.append((value.detach(), q.grad, k.grad))
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("against", ["first", "best", "all"])
def test_margins_equal_loops_and_forget_a_shift_of_the_teacher(shape: tuple[int, int], against: str) -> None:
    scores, teacher = lists(*shape)
    teacher = teacher + 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(3))
    expected = []
    for s, t in zip(scores, teacher, strict=True):
        m = len(s)
        bases = {"first": [0], "best": [int(t.argmax())], "all": list(range(m))}[against]
        gaps = [float((s[i] - s[j]) - (t[i] - t[j])) ** 2 for i in bases for j in range(m) if i != j]
        expected.append(sum(gaps) / len(gaps))
    found = margin_mse(scores, rows_of(teacher), against=against)
    torch.testing.assert_close(found, torch.tensor(expected).double())
    torch.testing.assert_close(margin_mse(scores, rows_of(teacher - 7.0), against=against), found)


def test_other_divergences_equal_their_definition() -> None:
    scores, teacher = lists(4, 6)
    p, q = teacher.softmax(-1), scores.softmax(-1)
    kl = lambda a, b: (a * (a / b).log()).sum(-1)  # noqa: E731
    torch.testing.assert_close(distill_kl(scores, rows_of(teacher), divergence="reverse"), kl(q, p))
    middle = (p + q) / 2
    expected = (kl(p, middle) + kl(q, middle)) / 2
    torch.testing.assert_close(distill_kl(scores, rows_of(teacher), divergence="jensen_shannon"), expected)


def test_dark_rank_is_list_mle_of_the_teachers_nearest_on_powers_of_distance() -> None:
    scores, teacher = lists(5, 9)
    distances = scores.abs()
    order = teacher + 0.01 * torch.arange(9)
    top = order.topk(4, -1).indices
    logits = -3.0 * distances.gather(-1, top) ** 3
    expected = list_mle(logits, rows_of(torch.arange(4, 0, -1).double().expand(5, 4).contiguous()))
    torch.testing.assert_close(dark_rank(-distances, rows_of(order)), expected)


def test_dynamic_distill_leans_on_the_teacher_where_the_student_is_unsure() -> None:
    teacher = torch.tensor([[2.0, 1.0, 0.0, -9.0]])
    flat = torch.zeros(1, 4)
    p = teacher[0, :3].softmax(0)
    uniform = math.log(3) + float((p * p.log()).sum())
    assert float(dynamic_distill(flat, rows_of(teacher), hard=2)) == pytest.approx(uniform, rel=1e-5)
    sure = torch.tensor([[-40.0, 40.0, -40.0, 0.0]])
    assert float(dynamic_distill(sure, rows_of(teacher), hard=2, temperature=1.0)) == pytest.approx(80.0, rel=1e-4)


def test_sinkhorn_distillation_is_entropic_transport_between_the_rows() -> None:
    scores, teacher = lists(6, 5)
    student, target = (scores / 2).softmax(-1), (teacher / 2).softmax(-1)
    cost = (student.unsqueeze(1) - target.unsqueeze(0)).abs().sum(-1)
    ones = [1.0 / 6] * 6
    plan = ot.sinkhorn(ones, ones, cost.numpy(), reg=0.1, stopThr=1e-12)
    expected = 6 * float((torch.tensor(plan) * cost).sum())
    found = sinkhorn_distill(scores, rows_of(teacher), iterations=500)
    assert float(found.sum()) == pytest.approx(expected, rel=1e-6)
    close = sinkhorn_distill(scores, rows_of(teacher), epsilon=0.002, iterations=5000)
    assert float(close.sum()) == pytest.approx(6 * ot.emd2(ones, ones, cost.numpy()), rel=0.02)


def rkd_by_definition(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    def distances(x: Tensor) -> Tensor:
        found = (x.unsqueeze(0) - x.unsqueeze(1)).square().sum(-1).clamp_min(1e-20).sqrt()
        found = found * (1 - torch.eye(len(x)))
        return found / found[found > 0].mean()

    def angles(x: Tensor) -> Tensor:
        unit = normalize(x.unsqueeze(0) - x.unsqueeze(1), dim=2)
        return torch.bmm(unit, unit.transpose(1, 2))

    return smooth_l1_loss(distances(student), distances(teacher)), smooth_l1_loss(angles(student), angles(teacher))


@pytest.mark.parametrize("n", [3, 6, 11])
def test_relational_distillation_equals_the_definition_on_embeddings(n: int) -> None:
    generator = torch.Generator().manual_seed(n)
    student = torch.randn(n, 4, generator=generator, dtype=torch.float64)
    teacher = torch.randn(n, 7, generator=generator, dtype=torch.float64)
    relation = Relation.teacher(-torch.cdist(teacher, teacher))
    for index, text in enumerate(("rkd_distance", "rkd_angle")):
        found = []
        for loss in (
            lambda e, text=text: Objective(text)(e, e, relation),
            lambda e, index=index: rkd_by_definition(e, teacher)[index],
        ):
            leaf = student.clone().requires_grad_()
            value = loss(leaf)
            value.backward()
            found.append((value.detach(), leaf.grad))
        torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("shape", [(2, 3), (5, 8), (9, 6)])
def test_attract_is_embedding_distillation(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(shape[0])
    student, teacher = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    squared, cosine = mse_loss(student, teacher), cosine_similarity(student, teacher).mean()
    for text, expected in (
        ("attract, similarity=match(cosine=0)", squared),
        ("attract, similarity=match(squared=0)", -cosine),
        ("attract", squared - cosine),
        ("attract, similarity=euclidean", torch.linalg.vector_norm(student - teacher, dim=-1).mean()),
    ):
        torch.testing.assert_close(Objective(text)(student, teacher), expected)


@pytest.mark.parametrize(
    "ours",
    [margin_mse, partial(margin_mse, against="best"), partial(margin_mse, against="all"), distill_kl, adr_mse,
     dark_rank, dynamic_distill],
)  # fmt: skip
def test_padding_is_ignored_in_distillation(ours: object) -> None:
    scores, grade = lists(3, 6)
    grade = torch.arange(18, 0, -1).view(3, 6).double() / 18
    if isinstance(ours, partial) or ours is not margin_mse:
        assert_padding_is_ignored(ours, -scores.abs(), grade)  # type: ignore[arg-type]
        return
    known = torch.tensor([False, True, True, True])
    padded = torch.cat([torch.full((3, 1), 9.0).double(), scores[:, :3]], -1)
    teacher = torch.cat([torch.full((3, 1), 5.0).double(), grade[:, :3]], -1)
    torch.testing.assert_close(
        margin_mse(padded, rows_of(teacher, known.expand(3, 4))), margin_mse(scores[:, :3], rows_of(grade[:, :3]))
    )
