"""Each softmax criterion equals its definition, written as loops over one row's numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
import torch
from scipy.optimize import brentq

from similis.registry import bind
from similis.relation import Rows


@dataclass
class Row:
    """One row's scores: of the positives with their grades, of the negatives, and the guide's of all known keys."""

    positives: Sequence[float]
    grades: Sequence[float]
    negatives: Sequence[float]
    guides: Sequence[float]

    @property
    def everything(self) -> list[float]:
        return [*self.positives, *self.negatives]


def log_sum(values: Sequence[float]) -> float:
    return math.log(sum(math.exp(v) for v in values))


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def own(row: Row, t: float) -> list[float]:
    """-log(exp(p/t) / (exp(p/t) + Σ exp(n/t))) of each positive."""
    return [log_sum([p / t, *(n / t for n in row.negatives)]) - p / t for p in row.positives]


def graded_own(row: Row, t: float) -> float:
    return sum(g * v for g, v in zip(row.grades, own(row, t), strict=True)) / sum(row.grades)


def inside(row: Row, t: float) -> float:
    return -math.log(mean([math.exp(p / t - log_sum([s / t for s in row.everything])) for p in row.positives]))


def graded_softmax(row: Row, t: float, weigh: Callable[[float], float]) -> float:
    whole = log_sum([s / t for s in row.everything])
    return mean([weigh(g) * (whole - p / t) for p, g in zip(row.positives, row.grades, strict=True)])


def graded_infonce(row: Row, t: float) -> float:
    whole = log_sum([s / t for s in row.everything])
    return sum(g * (whole - p / t) for p, g in zip(row.positives, row.grades, strict=True)) / sum(row.grades)


def weighted_everything(row: Row, t: float) -> float:
    weights = [(g + 1) / 2 for g in row.guides]
    whole = log_sum([s / t for s in row.everything])
    return sum(w * (whole - s / t) for w, s in zip(weights, row.everything, strict=True)) / sum(weights)


def hard_importance(row: Row, t: float, alpha: float, beta: float) -> float:
    total = sum(math.exp(beta * n / t) for n in row.negatives)
    mass = sum(len(row.negatives) * math.exp(beta * n / t) / total * math.exp(n / t) for n in row.negatives)
    return mean([-math.log(math.exp(p / t) / (alpha * math.exp(p / t) + mass)) for p in row.positives])


def corrected(row: Row, t: float, prior: float, beta: float) -> float:
    drawn = [math.exp(beta * n / t) for n in row.negatives]
    expected = sum(u * math.exp(n / t) for u, n in zip(drawn, row.negatives, strict=True)) / sum(drawn)
    estimate = (expected - prior * mean([math.exp(p / t) for p in row.positives])) / (1 - prior)
    mass = len(row.negatives) * max(estimate, math.exp(-1 / t))
    return mean([-math.log(math.exp(p / t) / (math.exp(p / t) + mass)) for p in row.positives])


def robust(row: Row, t: float, margin: float) -> float:
    values = []
    for p in row.positives:
        exponents = [0.0, *((n - p + margin) / t for n in row.negatives)]
        values.append(t * (log_sum(exponents) - math.log(len(exponents))))
    return mean(values)


def tempered(row: Row, t: float, power: float) -> float:
    values = []
    for p in row.positives:
        u = sum(math.exp((n - p) / t) for n in row.negatives)
        values.append(math.log1p(u) if power == 1 else ((1 + u) ** (1 - power) - 1) / (1 - power))
    return mean(values)


def neighbours(row: Row, t: float, k: int) -> float:
    ranked = sorted([(s, True) for s in row.positives] + [(s, False) for s in row.negatives], reverse=True)
    near = ranked[:k]
    if not any(same for _, same in near):
        near.append((max(row.positives), True))
    return log_sum([s / t for s, _ in near]) - log_sum([s / t for s, same in near if same])


def memberships(row: Row, t: float, k: float) -> float:
    def excess(shift: float) -> float:
        return sum(1 / (1 + math.exp(-(s / t + shift))) for s in row.everything) - k

    shift = brentq(excess, -200, 200, xtol=1e-13)
    return mean([math.log1p(math.exp(-(p / t + shift))) for p in row.positives])


def logistic(row: Row, scale: float, bias: float) -> float:
    positive = [math.log1p(math.exp(-(scale * p + bias))) for p in row.positives]
    return sum(positive) + sum(math.log1p(math.exp(scale * n + bias)) for n in row.negatives)


def standardised(row: Row, a: float, b: float) -> float:
    values = row.everything
    centre = mean(values)
    spread = math.sqrt(mean([(v - centre) ** 2 for v in values]))
    return mean([math.log1p(math.exp(a * (b - (p - centre) / spread))) / a for p in row.positives])


def shares(row: Row, mass: Callable[[float], float]) -> float:
    whole = sum(mass(s) for s in row.everything)
    return mean([-math.log(mass(p) / whole) for p in row.positives])


def harmonic(row: Row, n: float) -> float:
    """Scores are minus squared distances."""
    return mean(
        [-math.log((-p) ** (-n / 2) / sum((-s) ** (-n / 2) for s in [p, *row.negatives])) for p in row.positives]
    )


def adaptive(row: Row, start: float, alpha: float, margin: float) -> float:
    """The first visit: one step of the fixed point from the start, with the positives' mean as the own score."""
    raised = [*row.positives, *(n + margin for n in row.negatives)]
    whole = log_sum([s / start for s in raised])
    entropy = math.log(len(raised))
    divergence = sum(math.exp(s / start - whole) * (s / start - whole) for s in raised) + entropy
    t = max(start * (1 - divergence / (alpha * entropy)), start / 20)
    worst = t * (log_sum([s / t for s in raised]) - entropy) - mean(row.positives)
    return worst - alpha * entropy / (2 * start) * (t - start) ** 2


DEFINITIONS: dict[str, Callable[[Row], float]] = {
    "nt_xent(temperature=0.3)": lambda r: mean(own(r, 0.3)),
    "n_pair": lambda r: mean(own(r, 1.0)),
    "normalized_softmax(temperature=0.3)": lambda r: mean(own(r, 0.3)),
    "prototypical(temperature=0.3)": lambda r: mean(own(r, 0.3)),
    "decoupled_softmax(temperature=0.3)": lambda r: graded_own(r, 0.3),
    "supcon(temperature=0.3, form='in')": lambda r: inside(r, 0.3),
    "multi_positive(temperature=0.3)": lambda r: graded_softmax(r, 0.3, lambda g: 1.0),
    "clip(temperature=0.3)": lambda r: graded_infonce(r, 0.3),
    "generalized_contrastive(temperature=0.3)": lambda r: graded_softmax(r, 0.3, lambda g: g),
    "generalized_contrastive(temperature=0.3, weighting='sqrt')": lambda r: graded_softmax(r, 0.3, math.sqrt),
    "generalized_contrastive(temperature=0.3, weighting='log')": lambda r: graded_softmax(
        r, 0.3, lambda g: math.log2(1 + g)
    ),
    "generalized_contrastive(temperature=0.3, weighting='constant')": lambda r: graded_softmax(r, 0.3, lambda g: 1.0),
    "cwcl(temperature=0.3)": lambda r: weighted_everything(r, 0.3),
    "hn_nce(temperature=0.3, alpha=1, beta=0.5)": lambda r: hard_importance(r, 0.3, 1, 0.5),
    "hn_nce(temperature=0.3, alpha=0.4, beta=0.5)": lambda r: hard_importance(r, 0.3, 0.4, 0.5),
    "hn_nce(temperature=0.3, alpha=0, beta=0.5)": lambda r: hard_importance(r, 0.3, 0, 0.5),
    "hn_nce(temperature=0.3, beta=0)": lambda r: mean(own(r, 0.3)),
    "decoupled_contrastive(temperature=0.3)": lambda r: mean(
        [log_sum([n / 0.3 for n in r.negatives]) - p / 0.3 for p in r.positives]
    ),
    "debiased_contrastive(temperature=0.5, prior=0.1)": lambda r: corrected(r, 0.5, 0.1, 0.0),
    "debiased_contrastive(temperature=0.2, prior=0.6)": lambda r: corrected(r, 0.2, 0.6, 0.0),
    "hard_negative(temperature=0.5, prior=0.1, beta=0.7)": lambda r: corrected(r, 0.5, 0.1, 0.7),
    "ldr(temperature=0.3, margin=0.2)": lambda r: robust(r, 0.3, 0.2),
    "comp_sum(tempering=0, temperature=0.5)": lambda r: tempered(r, 0.5, 0.0),
    "comp_sum(tempering=1, temperature=0.3)": lambda r: tempered(r, 0.3, 1.0),
    "comp_sum(tempering=2, temperature=0.3)": lambda r: mean([1 - math.exp(-v) for v in own(r, 0.3)]),
    "generalized_cross_entropy(q=0.7, temperature=0.3)": lambda r: mean(
        [(1 - math.exp(-0.7 * v)) / 0.7 for v in own(r, 0.3)]
    ),
    "nca(scale=2.0)": lambda r: log_sum([2 * s for s in r.everything]) - log_sum([2 * p for p in r.positives]),
    "look(k=2, temperature=0.3)": lambda r: neighbours(r, 0.3, 2),
    "look(k=6, temperature=0.3)": lambda r: neighbours(r, 0.3, 6),
    "soft_topk(k=3, temperature=0.3)": lambda r: memberships(r, 0.3, 3),
    "soft_topk(k=1, temperature=0.02)": lambda r: memberships(r, 0.02, 1),
    "soft_topk(k=500, temperature=0.3)": lambda r: memberships(r, 0.3, len(r.everything) - 0.5),
    "sgns": lambda r: logistic(r, 1.0, 0.0),
    "siglip(scale=5.0, bias=-2.0)": lambda r: logistic(r, 5.0, -2.0),
    "z_loss(a=1.5, b=2.0)": lambda r: standardised(r, 1.5, 2.0),
    "spherical_softmax(epsilon=0.01)": lambda r: shares(r, lambda s: s * s + 0.01),
    "taylor_softmax": lambda r: shares(r, lambda s: 1 + s + s * s / 2),
    "aldr_kl(temperature=0.2, alpha=2.0, margin=0.1)": lambda r: adaptive(r, 0.2, 2.0, 0.1),
}


def random_rows(seed: int, n: int = 7, m: int = 13) -> tuple[torch.Tensor, Rows]:
    """Scores in -1..1 with several graded positives, and pairs left out; every row keeps both kinds."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(n, m, generator=generator, dtype=torch.float64) * 2 - 1
    grade = (torch.rand(n, m, generator=generator) < 0.3) * torch.rand(n, m, generator=generator).clamp_min(0.1)
    left_out = torch.rand(n, m, generator=generator) < 0.2
    grade[:, 0], grade[:, 1] = 0.5, 0.0
    left_out[:, :2] = False
    guide = torch.rand(n, m, generator=generator, dtype=torch.float64) * 2 - 1
    return scores, Rows(given_grade=grade, left_out=left_out, guide=guide)


def each_row(scores: torch.Tensor, relation: Rows) -> list[Row]:
    assert relation.guide is not None
    rows = []
    for i in range(len(scores)):
        positive, negative = relation.positive[i], relation.negative[i]
        rows.append(
            Row(
                scores[i][positive].tolist(),
                relation.grade[i][positive].double().tolist(),
                scores[i][negative].tolist(),
                [*relation.guide[i][positive].tolist(), *relation.guide[i][negative].tolist()],
            )
        )
    return rows


@pytest.mark.parametrize("text", DEFINITIONS)
def test_softmax_criterion_equals_its_definition_row_by_row(text: str) -> None:
    scores, relation = random_rows(1)
    expected = torch.tensor([DEFINITIONS[text](row) for row in each_row(scores, relation)], dtype=torch.float64)
    criterion = bind("criterion", text).build()
    torch.testing.assert_close(criterion(scores, relation).detach(), expected, rtol=1e-6, atol=1e-9, check_dtype=False)


def test_harmonic_equals_its_definition_and_ignores_the_scale() -> None:
    scores, relation = random_rows(2)
    squares = -(scores + 1.5).square()
    criterion = bind("criterion", "harmonic(exponent=6.0)")
    expected = torch.tensor([harmonic(row, 6.0) for row in each_row(squares, relation)], dtype=torch.float64)
    torch.testing.assert_close(criterion(squares, relation), expected)
    torch.testing.assert_close(criterion(100 * squares, relation), expected)


@pytest.mark.parametrize("text", ["nt_xent", "soft_topk(k=2)", "look(k=3)", "hard_negative", "cwcl", "ldr"])
def test_leading_dimensions_are_batches(text: str) -> None:
    parts = [random_rows(seed) for seed in (3, 4)]
    scores = torch.stack([s for s, _ in parts])
    joined = Rows(
        given_grade=torch.stack([r.grade for _, r in parts]),
        left_out=torch.stack([~r.known for _, r in parts]),
        guide=torch.stack([r.guide for _, r in parts if r.guide is not None]),
    )
    criterion = bind("criterion", text).build()
    separate = torch.stack([criterion(s, r) for s, r in parts])
    torch.testing.assert_close(criterion(scores, joined), separate)


def test_z_loss_ignores_shift_and_scale() -> None:
    scores, relation = random_rows(5)
    criterion = bind("criterion", "z_loss")
    torch.testing.assert_close(criterion(3 * scores + 7, relation), criterion(scores, relation))


def test_ldr_tends_to_the_multiclass_hinge() -> None:
    scores, relation = random_rows(6)
    relation.given_grade = torch.zeros_like(relation.grade)
    relation.given_grade[:, 0] = 1.0
    rows = Rows(given_grade=relation.given_grade, left_out=relation.left_out)
    hardest = scores.masked_fill(~rows.negative, -torch.inf).amax(-1)
    hinge = (hardest - scores[:, 0] + 0.3).clamp_min(0)
    near = bind("criterion", "ldr(temperature=0.0005, margin=0.3)")(scores, rows)
    torch.testing.assert_close(near, hinge, atol=2e-3, rtol=0)


def test_one_positive_does_not_move_with_another_in_the_decoupled_softmax() -> None:
    scores = torch.tensor([[0.5, 0.1, -0.2, 0.3]], requires_grad=True)
    rows = Rows(same=torch.tensor([[True, True, False, False]]))
    gradients = []
    for other in (-0.9, 0.9):
        leaf = scores.detach().clone()
        leaf[0, 1] = other
        leaf.requires_grad_()
        bind("criterion", "decoupled_softmax")(leaf, rows).sum().backward()
        assert leaf.grad is not None
        gradients.append(leaf.grad[0, 0])
    torch.testing.assert_close(*gradients)


def test_graded_cross_entropy_of_constant_weight_is_infonce() -> None:
    scores, relation = random_rows(7)
    rows = Rows(same=relation.positive, left_out=relation.left_out)
    constant = bind("criterion", "generalized_contrastive(temperature=0.1, weighting='constant')")(scores, rows)
    torch.testing.assert_close(constant, bind("criterion", "infonce(temperature=0.1)")(scores, rows))


def test_the_penalty_spares_negatives_their_own_queries() -> None:
    scores = torch.tensor([[0.9, 0.4], [0.2, 0.6]], dtype=torch.float64)
    rows = Rows(same=torch.eye(2, dtype=torch.bool))
    found = bind("criterion", "contrastive_learning_penalty(temperature=0.5, weight=0.3)")(scores, rows)
    plain = bind("criterion", "infonce(temperature=0.5)")(scores, rows)
    penalty = torch.tensor([math.log1p(math.exp((0.4 - 0.6) / 0.5)), math.log1p(math.exp((0.2 - 0.9) / 0.5))])
    torch.testing.assert_close(found, plain + 0.3 * penalty.double())
