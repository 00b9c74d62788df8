"""Every registered similarity against its written definition, in every shape it is called, by finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor
from torch.nn.functional import softplus

from similis.errors import UserError
from similis.objective import Objective
from similis.registry import bind, entries
from similis.similarity import InnerProduct, Similarity, build

ALL = {e.name: e for e in entries("similarity")}
SETS = ("maxsim", "filip", "chamfer", "mover", "relaxed_mover", "sinkhorn")
GAUSSIAN = ("gaussian_kl", "gaussian_wasserstein", "expected_distance", "hib")
COUNTS = ("jaccard", "tversky", "tanimoto")
N, M, D = 5, 6, 8


def ready(name: str) -> Similarity:
    """The similarity with its default arguments, its sizes fixed, in float64 and evaluation mode."""
    # Sinkhorn's value and gradient are those of the optimum, so it is compared where it has converged.
    made = build("sinkhorn(iterations=300)" if name == "sinkhorn" else name)
    if hasattr(made, "prepare"):
        made.prepare(dimension=D, classes=None, rows=None)
        for parameter in made.parameters():
            generator = torch.Generator().manual_seed(4)
            parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    return made.double().eval()


def items(name: str, count: int, seed: int) -> Tensor:
    """Embeddings of the kind the similarity is for."""
    generator = torch.Generator().manual_seed(seed)
    if name in SETS:
        tokens = torch.randn(count, 4, 3, generator=generator, dtype=torch.float64)
        tokens[1, 2:] = 0
        return 0.3 * tokens if name == "sinkhorn" else tokens
    vectors = torch.randn(count, D, generator=generator, dtype=torch.float64)
    if name in COUNTS:
        return vectors.abs()
    return vectors / 6 if name in ("poincare", "subsumption") else vectors


# ---- definitions, pair by pair, in words of the papers -----------------------------------------------------


def angle(x: Tensor, y: Tensor) -> float:
    a, b = (torch.complex(*(v / v.norm()).chunk(2)) for v in (x, y))
    z = (a * b.conj()).sum()
    return abs(float(z.real + z.imag))


def distance_in_ball(x: Tensor, y: Tensor, c: float) -> float:
    inside = float((1 - c * x @ x) * (1 - c * y @ y))
    return math.acosh(1 + 2 * c * float((x - y) @ (x - y)) / inside) / math.sqrt(c)


def hit(x: Tensor, y: Tensor) -> float:
    c, zero = 1 / D, torch.zeros(D, dtype=torch.float64)
    child, parent = distance_in_ball(x, zero, c), distance_in_ball(y, zero, c)
    return -(distance_in_ball(x, y, c) + parent - child)


def hyperboloid(x: Tensor, y: Tensor) -> float:
    inner = float(x @ y) - math.sqrt((1 + float(x @ x)) * (1 + float(y @ y)))
    return -math.acosh(-inner)


def normal(x: Tensor) -> torch.distributions.Distribution:
    mean, raw = x.chunk(2)
    return torch.distributions.Independent(torch.distributions.Normal(mean, (softplus(raw) + 1e-6).sqrt()), 1)


def kl(x: Tensor, y: Tensor) -> float:
    return -float(torch.distributions.kl_divergence(normal(x), normal(y)))


def wasserstein(x: Tensor, y: Tensor) -> float:
    a, b = normal(x), normal(y)
    return -math.sqrt(float((a.mean - b.mean).square().sum() + (a.stddev - b.stddev).square().sum()))


def expected(x: Tensor, y: Tensor) -> float:
    a, b = normal(x), normal(y)
    return -float((a.mean - b.mean).square().sum() + a.variance.sum() + b.variance.sum())


def hedged(x: Tensor, y: Tensor) -> float:
    noise = [torch.randn(8, D // 2, generator=torch.Generator().manual_seed(s), dtype=torch.float64) for s in (0, 1)]
    draws = [normal(v).mean + normal(v).stddev * e for v, e in zip((x, y), noise, strict=True)]
    each = [1 / (1 + math.exp(5 * float((a - b).norm()) - 5)) for a, b in product(*draws)]
    p = sum(each) / len(each)
    return math.log(p / (1 - p))


def tokens(x: Tensor) -> list[Tensor]:
    return [row for row in x if row.any()]


def maxsim(x: Tensor, y: Tensor) -> float:
    return sum(max(float(a @ b / (a.norm() * b.norm())) for b in tokens(y)) for a in tokens(x))


def filip(x: Tensor, y: Tensor) -> float:
    return (maxsim(x, y) / len(tokens(x)) + maxsim(y, x) / len(tokens(y))) / 2


def nearest(x: Tensor, y: Tensor, power: int) -> float:
    return sum(min(float((a - b).norm()) ** power for b in tokens(y)) for a in tokens(x)) / len(tokens(x))


def costs(x: Tensor, y: Tensor) -> np.ndarray:
    return np.array([[float((a - b).norm()) for b in tokens(y)] for a in tokens(x)])


def mover(x: Tensor, y: Tensor) -> float:
    cost = costs(x, y)
    t, s = cost.shape
    rows = [np.repeat(np.eye(t)[i], s) for i in range(t)] + [np.tile(np.eye(s)[j], t) for j in range(s)]
    solved = linprog(cost.ravel(), A_eq=np.array(rows), b_eq=[1 / t] * t + [1 / s] * s)
    return -float(solved.fun)


def sinkhorn(x: Tensor, y: Tensor) -> float:
    ot = pytest.importorskip("ot")
    cost = costs(x, y)
    a, b = (np.full(n, 1 / n) for n in cost.shape)
    plan = ot.sinkhorn(a, b, cost, 0.1, method="sinkhorn_log", numItermax=300, stopThr=0, warn=False)
    return -float((plan * cost).sum() + 0.1 * (plan * np.log(plan / np.outer(a, b))).sum())


def learned(form: Callable[[Similarity, Tensor, Tensor], Tensor], name: str) -> Callable[[Tensor, Tensor], float]:
    made: list[Similarity] = []

    def score(x: Tensor, y: Tensor) -> float:
        if not made:
            made.append(ready(name))
        return float(form(made[0], x, y).detach())

    return score


def in_subspaces(made: Similarity, x: Tensor, y: Tensor) -> Tensor:
    parts = zip(made.weight.chunk(4), made.mixture.softmax(0), strict=True)
    return sum(w * torch.cosine_similarity(p @ x, p @ y, dim=0) for p, w in parts)


DEFINITIONS: dict[str, Callable[[Tensor, Tensor], float]] = {
    "angle": angle,
    "bilinear": learned(lambda s, x, y: x @ s.left @ y, "bilinear"),
    "chamfer": lambda x, y: -nearest(x, y, 2) - nearest(y, x, 2),
    "chordal": lambda x, y: -float((x / x.norm() - y / y.norm()).norm()),
    "cosine": lambda x, y: float(x @ y / (x.norm() * y.norm())),
    "dot": lambda x, y: float(x @ y),
    "euclidean": lambda x, y: -math.dist(x, y),
    "expected_distance": expected,
    "filip": filip,
    "gaussian_kl": kl,
    "gaussian_wasserstein": wasserstein,
    "geodesic": lambda x, y: -math.acos(float(x @ y / (x.norm() * y.norm()))),
    "hamming": lambda x, y: -float(((x > 0) != (y > 0)).double().mean()),
    "hib": hedged,
    "jaccard": lambda x, y: float(torch.minimum(x, y).sum() / torch.maximum(x, y).sum()),
    "lorentz": hyperboloid,
    "lp": lambda x, y: -sum(abs(float(a - b)) for a, b in zip(x, y, strict=True)),
    "mahalanobis": learned(lambda s, x, y: -(s.weight @ (x - y)).norm(), "mahalanobis"),
    "manhattan": lambda x, y: -sum(abs(float(a - b)) for a, b in zip(x, y, strict=True)),
    "match": lambda x, y: float(-(x - y).square().mean() + x @ y / (x.norm() * y.norm())),
    "maxsim": maxsim,
    "mover": mover,
    "poincare": lambda x, y: -distance_in_ball(x, y, 1.0),
    "rbf": lambda x, y: math.exp(-(math.dist(x, y) ** 2)),
    "relaxed_mover": lambda x, y: -max(nearest(x, y, 1), nearest(y, x, 1)),
    "sinkhorn": sinkhorn,
    "snr": lambda x, y: -float((x - y).var() / x.var()),
    "stretch": learned(lambda s, x, y: -(s.weight * (x - y)).norm(), "stretch"),
    "student_t": lambda x, y: 1 / (1 + math.dist(x, y) ** 2),
    "subspaces": learned(in_subspaces, "subspaces"),
    "subsumption": hit,
    "tanimoto": lambda x, y: float(x @ y / (x @ x + y @ y - x @ y)),
    "tversky": lambda x, y: float(2 * x @ y / (x @ x + y @ y)),
}


def brute_force(name: str, queries: Tensor, keys: Tensor) -> Tensor:
    found = [[DEFINITIONS[name](q, k) for k in keys] for q in queries]
    return torch.tensor(found, dtype=torch.float64)


# ---- over the whole registry -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_scores_are_those_of_the_definition(name: str) -> None:
    queries, keys = items(name, N, 0), items(name, M, 1)
    with torch.no_grad():
        torch.testing.assert_close(ready(name)(queries, keys), brute_force(name, queries, keys), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", ALL)
def test_pairs_and_lists_are_entries_of_the_matrix(name: str) -> None:
    made, queries, keys = ready(name), items(name, N, 0), items(name, N * 2, 1)
    with torch.no_grad():
        matrix = made(queries, keys)
        torch.testing.assert_close(made.paired(queries, keys[:N]), matrix[:, :N].diagonal())
        own = torch.stack([matrix[i, [i, N + i]] for i in range(N)])
        torch.testing.assert_close(made.lists(queries, torch.stack([keys[:N], keys[N:]], 1)), own)


@pytest.mark.parametrize("name", [n for n in ALL if getattr(ALL[n].make, "reduces", False)])
def test_inner_products_rank_keys_as_the_definition_does(name: str) -> None:
    made, queries, keys = ready(name), items(name, N, 2), items(name, 40, 3)
    assert isinstance(made, InnerProduct)
    if name == "hamming":  # codes tie, so the order is compared by the scores that stand in it
        keys = keys.sign()
    with torch.no_grad():
        products = made.query(queries) @ made.key(keys).T
    defined = brute_force(name, queries, keys)
    ranked = defined.gather(1, products.argsort(dim=1, descending=True))
    torch.testing.assert_close(ranked, defined.sort(dim=1, descending=True).values)


@pytest.mark.parametrize("name", [n for n in ALL if not ALL[n].traits.get("surrogate_gradient")])
def test_gradient_of_every_similarity_is_the_numerical_one(name: str) -> None:
    made = ready(name)
    queries, keys = items(name, 3, 0).requires_grad_(), items(name, 3, 1).requires_grad_()
    real = [(t.detach() != 0).any(-1, keepdim=True) for t in (queries, keys)]

    def scores(q: Tensor, k: Tensor) -> Tensor:
        # Padding is not moved: a zero row that is moved becomes a token.
        return made(q * real[0], k * real[1]) if name in SETS else made(q, k)

    assert torch.autograd.gradcheck(scores, (queries, keys), atol=1e-5, fast_mode=True)


@pytest.mark.parametrize("name", ALL)
def test_tiled_and_plain_agree_under_infonce(name: str) -> None:
    found = []
    for execution in ("plain", "tiled"):
        objective = Objective("infonce(temperature=0.5)", similarity=name, execution=execution, tile=2)
        objective.prepare(dimension=D).double()
        queries, keys = items(name, N, 0).requires_grad_(), items(name, M, 1).requires_grad_()
        torch.manual_seed(0)
        loss = objective(queries, keys)
        loss.backward()
        own = [p.grad for p in objective.parameters()]
        found.append([loss.detach(), queries.grad, keys.grad, *own])
    for plain, tiled in zip(*found, strict=True):
        torch.testing.assert_close(tiled, plain, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_equal_items_have_finite_scores_and_gradients(name: str, value: float) -> None:
    made = ready(name).float()
    shape = (3, 4, 3) if name in SETS else (3, D)
    queries, keys = (torch.full(shape, value).requires_grad_() for _ in range(2))
    scores = made(queries, keys)
    scores.sum().backward()
    assert scores.dtype == torch.float32
    for tensor in (scores, queries.grad, keys.grad):
        assert tensor is not None
        assert torch.isfinite(tensor).all()


@pytest.mark.parametrize("name", ALL)
def test_text_form_builds_the_same_similarity(name: str) -> None:
    written = {p.name: p.default for p in ALL[name].parameters}
    assert not any(p.required for p in ALL[name].parameters)
    inside = ", ".join(f"{key}={value!r}" for key, value in written.items())
    text = f"{name}({inside})" if inside else name
    assert str(bind("similarity", text)) == text
    assert build(text).text == text


@pytest.mark.parametrize(
    "text",
    [
        "lp(p=0.5)",
        "rbf(gamma=0)",
        "student_t(freedom=0)",
        "poincare(curvature=-1)",
        "lorentz(form=distanse)",
        "filip(side=left)",
        "mover(cost=euclidian)",
        "sinkhorn(epsilon=0)",
        "hib(samples=0)",
        "tversky(query=-1)",
        "mahalanobis(rank=9, dimension=8)",
        "subspaces(count=0)",
    ],
)
def test_arguments_without_a_meaning_are_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(UserError, match=text.partition("(")[0].replace("mover", "transport")):
        build(text)


def test_inputs_of_the_wrong_shape_are_refused_in_a_sentence() -> None:
    with pytest.raises(UserError, match="even dimension, not 3"):
        build("gaussian_kl")(torch.ones(2, 3), torch.ones(2, 3))
    with pytest.raises(UserError, match="sets of token vectors"):
        build("maxsim")(torch.ones(2, 3), torch.ones(2, 3))
    with pytest.raises(UserError, match="no size yet"):
        build("mahalanobis")(torch.ones(2, 3), torch.ones(2, 3))
