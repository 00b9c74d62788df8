"""Similarities beside independent libraries: geoopt, sentence-transformers, pytorch-metric-learning, POT, SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pytorch_metric_learning import distances as pml
from scipy.spatial import distance as scipy_distance
from torch import Tensor

from similis.registry import bind
from similis.similarity import build
from similis.similarity.chunks import in_blocks
from similis.similarity.gaussian import HedgedInstance
from similis.similarity.learned import Stretch
from similis.similarity.sets import MaxSim

geoopt = pytest.importorskip("geoopt")
SHAPES = [(2, 3, 4), (5, 5, 16), (9, 17, 33)]


def cloud(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def agree(ours: Tensor, theirs: Tensor, *inputs: Tensor) -> None:
    """Values, and the gradients of a fixed mixture of them."""
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-8)
    mixture = cloud(*ours.shape, seed=9)
    for mine, peer in zip(
        torch.autograd.grad((ours * mixture).sum(), inputs, retain_graph=True),
        torch.autograd.grad((theirs * mixture).sum(), inputs, retain_graph=True),
        strict=True,
    ):
        torch.testing.assert_close(mine, peer, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("curvature", [0.5, 1.0, 2.0])
def test_poincare_and_lorentz_are_geoopts(shape: tuple[int, int, int], curvature: float) -> None:
    n, m, d = shape
    q, k = cloud(n, d, scale=0.4 / d**0.5).requires_grad_(), cloud(m, d, seed=1, scale=0.4 / d**0.5).requires_grad_()
    ball = geoopt.PoincareBall(c=torch.tensor(curvature, dtype=torch.float64))
    agree(build(f"poincare(curvature={curvature})")(q, k), -ball.dist(q.unsqueeze(1), k), q, k)
    tangent = -ball.dist(ball.expmap0(q).unsqueeze(1), ball.expmap0(k))
    agree(build(f"poincare(curvature={curvature}, tangent=True)")(q, k), tangent, q, k)
    sheet = geoopt.Lorentz(k=torch.tensor(1 / curvature, dtype=torch.float64))

    def point(v: Tensor) -> Tensor:
        return torch.cat([(1 / curvature + v.square().sum(-1, keepdim=True)).sqrt(), v], -1)

    agree(build(f"lorentz(curvature={curvature})")(q, k), -sheet.dist(point(q).unsqueeze(1), point(k)), q, k)
    inner = sheet.inner(None, point(q).unsqueeze(1), point(k))
    agree(build(f"lorentz(curvature={curvature}, form=inner)")(q, k), inner, q, k)
    agree(build(f"lorentz(curvature={curvature}, form=squared)")(q, k), 2 / curvature + 2 * inner, q, k)


def test_both_models_of_hyperbolic_space_agree_on_tangent_vectors() -> None:
    q, k = cloud(6, 4), cloud(7, 4, seed=1)
    # A tangent vector has twice the length in the ball's coordinates, whose metric at the origin is 4 times Euclid's.
    ball, sheet = build("poincare(tangent=True)"), build("lorentz(tangent=True)")
    torch.testing.assert_close(ball(q, k), sheet(2 * q, 2 * k))


def test_points_outside_the_ball_come_to_its_edge_and_long_tangents_are_cut() -> None:
    far = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    ball = build("poincare")
    assert float(ball.points(far).norm()) == pytest.approx(1 - 1e-5)
    clipped = build("poincare(tangent=True, clip=2.3)")
    assert float(clipped.points(far).norm()) == pytest.approx(math.tanh(2.3))
    assert torch.isfinite(ball(far.float(), -far.float())).all()


@pytest.mark.parametrize("margin", [0.0, 0.5])
def test_subsumption_and_centripetal_are_hits_on_geoopt(margin: float) -> None:
    child, parent = cloud(9, 6, scale=0.5).requires_grad_(), cloud(9, 6, seed=1, scale=0.5).requires_grad_()
    ball = geoopt.PoincareBall(c=torch.tensor(1 / 6, dtype=torch.float64))
    lower = ball.dist0(parent) - ball.dist0(child)
    agree(build("subsumption(weight=3)").paired(child, parent), -(ball.dist(child, parent) + 3 * lower), child, parent)
    centripetal = bind("regularizer", f"centripetal(margin={margin})").build()
    agree(centripetal(child, parent), (lower + margin).relu().mean(), child, parent)


@pytest.mark.parametrize("shape", SHAPES)
def test_lp_and_snr_are_those_of_pytorch_metric_learning(shape: tuple[int, int, int]) -> None:
    n, m, d = shape
    q, k = cloud(n, d).requires_grad_(), cloud(m, d, seed=1).requires_grad_()
    for p in (1, 3):
        peer = pml.LpDistance(p=p, normalize_embeddings=False)
        agree(build(f"lp(p={p})")(q, k), -peer(q, k), q, k)
    agree(build("snr")(q, k), -pml.SNRDistance(normalize_embeddings=False)(q, k), q, k)


@pytest.mark.parametrize("mean", [False, True])
def test_maxsim_is_that_of_sentence_transformers(mean: bool) -> None:
    from sentence_transformers.util.similarity import manhattan_sim, maxsim, maxsim_pairwise

    q, k = cloud(5, 3, 8), cloud(6, 7, 8, seed=1)
    q[1, 2:], k[2, 4:] = 0, 0
    q, k = q.float().requires_grad_(), k.float().requires_grad_()
    ours = MaxSim(mean, normalize=False)
    torch.testing.assert_close(ours(q, k), maxsim(q, k, length_normalize=mean))
    torch.testing.assert_close(ours.paired(q, k[:5]), maxsim_pairwise(q, k[:5], length_normalize=mean))
    flat = q[:, 0], k[:, 0]
    torch.testing.assert_close(build("manhattan")(*flat), manhattan_sim(*flat))


@pytest.mark.parametrize("cost", ["euclidean", "squared", "cosine"])
def test_movers_reach_pots_optimum(cost: str) -> None:
    ot = pytest.importorskip("ot")
    q, k = cloud(2, 4, 3, scale=0.4), cloud(2, 5, 3, seed=1, scale=0.4)
    k[1, 3:] = 0
    mover, relaxed = build(f"mover(cost={cost}, weights=norm)"), build(f"relaxed_mover(cost={cost}, weights=norm)")
    smooth = build(f"sinkhorn(cost={cost}, weights=norm, epsilon=0.2, iterations=300)")
    for i, j in np.ndindex(2, 2):
        a, b = q[i], k[j][k[j].any(-1)]
        ours, theirs = a.norm(dim=-1) / a.norm(dim=-1).sum(), b.norm(dim=-1) / b.norm(dim=-1).sum()
        table = ot.dist(a, b, metric={"squared": "sqeuclidean"}.get(cost, cost))
        exact = -float(ot.emd2(ours, theirs, table))
        assert float(mover(q, k)[i, j]) == pytest.approx(exact, rel=1e-6)
        assert float(relaxed(q, k)[i, j]) >= exact - 1e-12
        plan = ot.sinkhorn(ours, theirs, table, 0.2, method="sinkhorn_log", numItermax=300, stopThr=0, warn=False)
        value = (plan * table).sum() + 0.2 * (plan * (plan / torch.outer(ours, theirs)).log()).sum()
        assert float(smooth(q, k)[i, j]) == pytest.approx(-float(value), rel=1e-6)


@pytest.mark.parametrize("name", ["mover", "sinkhorn"])
def test_gradient_through_the_weights_is_the_numerical_one(name: str) -> None:
    extra = ", iterations=300, epsilon=0.3, debias=True" if name == "sinkhorn" else ""
    made = build(f"{name}(weights=norm{extra})")
    q, k = cloud(2, 3, 3, scale=0.3).requires_grad_(), cloud(2, 4, 3, seed=1, scale=0.3).requires_grad_()
    assert torch.autograd.gradcheck(made, (q, k), atol=1e-5, fast_mode=True)


def test_sinkhorn_divergence_is_zero_for_equal_sets_only() -> None:
    q = cloud(4, 5, 3)
    scores = build("sinkhorn(debias=True, iterations=200)")(q, q)
    torch.testing.assert_close(scores.diagonal(), torch.zeros(4, dtype=torch.float64), rtol=0, atol=1e-6)
    assert (scores[~torch.eye(4, dtype=torch.bool)] < -0.1).all()


def test_bits_are_compared_as_scipy_compares_them() -> None:
    bits = (cloud(12, 20) > 0).double()
    pairs = [(i, j) for i in range(12) for j in range(12)]
    tables = {
        "jaccard": lambda a, b: 1 - scipy_distance.jaccard(a, b),
        "tanimoto": lambda a, b: 1 - scipy_distance.jaccard(a, b),
        "tversky": lambda a, b: 1 - scipy_distance.dice(a, b),
        "hamming": lambda a, b: -scipy_distance.hamming(a, b),
    }
    for name, table in tables.items():
        scores = build(name)(bits, bits)
        expected = [table(bits[i].bool().numpy(), bits[j].bool().numpy()) for i, j in pairs]
        assert scores.flatten().tolist() == pytest.approx(expected), name
    share = build("tversky(query=1, key=0)")(bits, bits)
    torch.testing.assert_close(share, bits @ bits.T / bits.sum(1, keepdim=True))


def test_the_straight_through_gradient_is_that_of_the_clipped_identity() -> None:
    q, k = cloud(3, 4).requires_grad_(), cloud(3, 4, seed=1)
    build("hamming")(q, k).sum().backward()
    expected = ((q.detach().abs() <= 1) * torch.where(k > 0, 1.0, -1.0).sum(0)) / 8
    torch.testing.assert_close(q.grad, expected.double())


def test_blocks_score_and_differentiate_as_the_whole() -> None:
    made = MaxSim()
    q, k = cloud(7, 3, 4).requires_grad_(), cloud(5, 6, 4, seed=1).requires_grad_()
    for budget in (1, 40, 18 * 11):
        prepared = made.prepare_queries(q)[0], made.prepare_keys(k)[0]
        whole = made.score(prepared[:1], prepared[1:])
        blocks = in_blocks(made._block, *prepared, cells=18, budget=budget)
        agree(blocks, whole, *prepared)
        torch.testing.assert_close(torch.no_grad()(in_blocks)(made._block, *prepared, 18, budget), whole.detach())


def test_a_wider_gaussian_mismatches_itself_more() -> None:
    made = HedgedInstance(samples=64).eval()
    mean = cloud(1, 3).float().expand(4, 3)
    raw = torch.tensor([-4.0, -2.0, 0.0, 2.0]).unsqueeze(1).expand(4, 3)
    mismatch = made.self_mismatch(torch.cat([mean, raw], -1))
    assert (mismatch.diff() > 0).all()


def test_many_draws_of_hib_have_the_expected_squared_distance() -> None:
    made = HedgedInstance(samples=2000).double().eval()
    q, k = cloud(2, 6), cloud(2, 6, seed=1)
    draws = made.prepare_queries(q)[0], made.prepare_keys(k)[0]
    mean = torch.cdist(draws[0], draws[1]).square().mean((-2, -1))
    torch.testing.assert_close(mean, -build("expected_distance").paired(q, k), rtol=0.05, atol=0)


def test_training_draws_follow_torchs_random_state_and_evaluation_draws_stay() -> None:
    made, q = HedgedInstance(), cloud(3, 6).float()
    torch.manual_seed(1)
    first = made(q, q)
    torch.manual_seed(1)
    assert torch.equal(made(q, q), first)
    assert not torch.equal(made(q, q), first)
    made.eval()
    assert torch.equal(made(q, q), made(q, q))


def test_learned_stretch_finds_the_coordinates_that_matter() -> None:
    torch.manual_seed(0)
    labels = torch.arange(60) % 3
    vectors = torch.randn(60, 6)
    vectors[:, :2] = torch.eye(3)[labels][:, :2] * 3 + 0.3 * torch.randn(60, 2)
    from similis.objective import Objective
    from similis.relation import Relation

    objective = Objective("supcon(temperature=1)", similarity="stretch").prepare(dimension=6)
    optimizer = torch.optim.Adam(objective.parameters(), lr=0.1)
    for _ in range(30):
        optimizer.zero_grad()
        objective(vectors, None, Relation.labels(labels)).backward()
        optimizer.step()
    assert isinstance(objective.similarity, Stretch)
    weight = objective.similarity.weight.detach().abs()
    assert weight[:2].min() > 3 * weight[2:].max()
