"""Regression criteria against sentence-transformers, SciPy and definitions written as loops."""

from __future__ import annotations

import itertools

import pytest
import torch
from ranking_lists import SHAPES, assert_equal_to_peer, assert_padding_is_ignored, lists, rows_of
from scipy import stats
from sentence_transformers.cross_encoder import losses
from sentence_transformers.sentence_transformer.losses import AnglELoss, CoSENTLoss
from sentence_transformers.util import pairwise_angle_sim
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, huber_loss, l1_loss

from similis.criteria.regression.correlation import concordance, pearson, spearman
from similis.criteria.regression.errors import binary_cross_entropy, huber, jaccard, log_ratio, mae
from similis.objective import Objective
from similis.relation import Relation
from similis.similarity import build


@pytest.mark.parametrize("shape", SHAPES)
def test_pointwise_errors_are_those_of_torch(shape: tuple[int, int]) -> None:
    scores, grade = lists(*shape)
    rows = rows_of(grade)
    torch.testing.assert_close(mae(scores, rows).mean(), l1_loss(scores, grade))
    torch.testing.assert_close(huber(scores, rows, delta=0.7).mean(), huber_loss(scores, grade, delta=0.7))
    soft = grade / 4
    torch.testing.assert_close(
        binary_cross_entropy(scores, rows_of(soft), temperature=0.5, positive_weight=3.0).mean(),
        binary_cross_entropy_with_logits(scores / 0.5, soft, pos_weight=torch.tensor(3.0)),
    )


@pytest.mark.parametrize("shape", [(4, 6), (9, 16), (5, 7)])
def test_cosent_on_angles_is_angle_loss(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(shape[0])
    left, right = torch.randn(2, *shape, generator=generator)
    label = torch.randint(0, 3, shape[:1], generator=generator).float()
    for text, peer in (
        ("cosent, similarity=angle", AnglELoss(nn.Identity())),
        ("cosent", CoSENTLoss(nn.Identity())),
    ):
        found = []
        for loss in (
            lambda a, b, text=text: Objective(text)(a, b, Relation.scored(label)),
            lambda a, b, peer=peer: peer.compute_loss_from_embeddings([a, b], label),
        ):
            a, b = left.clone().requires_grad_(), right.clone().requires_grad_()
            value = loss(a, b)
            value.backward()
            found.append((value.detach(), a.grad, b.grad))
        torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(build("angle").paired(left, right), pairwise_angle_sim(left, right))
    torch.testing.assert_close(build("angle")(left, right).diagonal(), pairwise_angle_sim(left, right))


@pytest.mark.parametrize("shape", SHAPES)
def test_correlations_are_those_of_scipy(shape: tuple[int, int]) -> None:
    scores, grade = lists(*shape)
    rows = rows_of(grade)
    expected = [1 - stats.pearsonr(s, g).statistic for s, g in zip(scores.numpy(), grade.numpy(), strict=True)]
    torch.testing.assert_close(pearson(scores, rows), torch.tensor(expected))
    ranked = [1 - stats.spearmanr(s, g).statistic for s, g in zip(scores.numpy(), grade.numpy(), strict=True)]
    torch.testing.assert_close(spearman(scores, rows, temperature=1e-7), torch.tensor(ranked))
    for value, s, g in zip(concordance(scores, rows), scores, grade, strict=True):
        covariance = ((s - s.mean()) * (g - g.mean())).mean()
        below = s.var(correction=0) + g.var(correction=0) + (s.mean() - g.mean()) ** 2
        torch.testing.assert_close(value, 1 - 2 * covariance / below)


def test_constant_scores_have_no_correlation_and_a_finite_gradient() -> None:
    scores = torch.zeros(2, 5, requires_grad=True)
    _, grade = lists(2, 5)
    for ours in (pearson, spearman, concordance):
        (gradient,) = torch.autograd.grad(ours(scores, rows_of(grade.float())).sum(), scores)
        assert bool(torch.isfinite(gradient).all()), ours.__name__
    assert float(pearson(scores, rows_of(grade.float())).mean().detach()) == 1.0


@pytest.mark.parametrize("n", [3, 5, 8])
def test_log_ratio_equals_a_loop_over_triplets(n: int) -> None:
    generator = torch.Generator().manual_seed(n)
    embeddings = torch.randn(n, 4, generator=generator, dtype=torch.float64)
    targets = torch.rand(n, generator=generator, dtype=torch.float64) * 9
    leaf, other = embeddings.clone().requires_grad_(), embeddings.clone().requires_grad_()
    value = Objective("log_ratio(epsilon=1e-6)")(leaf, leaf, Relation.distances(targets, scale=20.0))
    total = []
    for a in range(n):
        terms = []
        for i, j in itertools.combinations([k for k in range(n) if k != a], 2):
            d = [torch.linalg.vector_norm(other[a] - other[k]) + 1e-6 for k in (i, j)]
            t = [(targets[a] - targets[k]).abs() / 20 + 1e-6 for k in (i, j)]
            terms.append((torch.log(d[0] / d[1]) - torch.log(t[0] / t[1])) ** 2)
        total.append(torch.stack(terms).mean())
    expected = torch.stack(total).mean()
    value.backward()
    expected.backward()
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(leaf.grad, other.grad, rtol=1e-4, atol=1e-5)


def test_jaccard_metric_losses_vanish_exactly_at_the_soft_target() -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(4, 7, generator=generator, dtype=torch.float64)
    logits = torch.logit(target)
    soft_jaccard = 1 - (target * target).sum(-1) / (2 * target - target * target).sum(-1)
    assert float(soft_jaccard.min()) > 0.1
    for form in (1, 2):
        torch.testing.assert_close(jaccard(logits, rows_of(target), form=form), torch.zeros(4).double())
    hard = (target > 0.5).double()
    share = torch.sigmoid(logits)
    expected = 1 - (share * hard).sum(-1) / (share + hard - share * hard).sum(-1)
    for form in (1, 2):
        torch.testing.assert_close(jaccard(logits, rows_of(hard), form=form), expected)


@pytest.mark.parametrize("ours", [mae, huber, binary_cross_entropy, jaccard, log_ratio, pearson, spearman, concordance])
def test_padding_is_ignored_in_regression(ours: object) -> None:
    scores, grade = lists(3, 6)
    assert_padding_is_ignored(ours, -scores.abs(), grade / 4)  # type: ignore[arg-type]


def test_distances_grade_targets_by_how_near_they_are() -> None:
    relation = Relation.distances(torch.tensor([1.0, 2.0, 5.0]))
    expected = torch.tensor([[1.0, 0.75, 0.0], [0.75, 1.0, 0.25], [0.0, 0.25, 1.0]])
    torch.testing.assert_close(relation.rows().grade, expected)
    assert bool((relation.rows().known == ~torch.eye(3, dtype=torch.bool)).all())
    scaled = Relation.distances(torch.tensor([1.0]), torch.tensor([2.0, 9.0]), scale=4.0).rows()
    torch.testing.assert_close(scaled.grade, torch.tensor([[0.75, 0.0]]))
    assert bool(scaled.known.all())


@pytest.mark.parametrize("shape", SHAPES)
def test_adr_mse_is_that_of_sentence_transformers(shape: tuple[int, int]) -> None:
    from similis.criteria.distillation.scores import adr_mse

    assert_equal_to_peer(adr_mse, losses.ADRMSELoss, *lists(*shape))
