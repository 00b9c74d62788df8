"""Margin criteria against their definitions written as loops, and against sentence-transformers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, softplus

from similis.criteria.margin.exponential import triplet_alignment
from similis.criteria.margin.order import groco
from similis.criteria.margin.pairs import contrastive, cosine_contrastive
from similis.criteria.margin.sets import contextual, icnn, quadruplet
from similis.criteria.margin.triplets import bpr, residual_margin, tiered, triplet
from similis.errors import UserError
from similis.objective import Objective
from similis.relation import Relation, Rows

Criterion = Callable[..., Tensor]


def batch(classes: int = 4, per_class: int = 4, seed: int = 0) -> tuple[Tensor, Rows, Tensor]:
    """Cosines ``[n, n]`` with a gradient, rows of labels with unequal classes and some pairs left out, the labels."""
    generator = torch.Generator().manual_seed(seed)
    n = classes * per_class
    y = torch.randint(0, classes, (n,), generator=generator)
    x = normalize(torch.randn(n, 6, generator=generator, dtype=torch.float64), dim=-1)
    rows = Relation.labels(y).rows()
    rows = rows.without(torch.rand(n, n, generator=generator) < 0.1)
    return (x @ x.T).requires_grad_(), rows, y


def parts(scores: Tensor, rows: Rows, i: int) -> tuple[list[Tensor], list[Tensor]]:
    """Scores of row i's positives and of its negatives, one by one."""
    return list(scores[i][rows.positive[i]]), list(scores[i][rows.negative[i]])


def assert_same(found: Tensor, expected: Sequence[Tensor], scores: Tensor, rows: Rows) -> None:
    """Equal in value and gradient on the rows that have positives and negatives."""
    valid = rows.positive.any(-1) & rows.negative.any(-1)
    assert bool(valid.any())
    ours, oracle = found[valid], torch.stack(list(expected))[valid]
    torch.testing.assert_close(ours, oracle, rtol=1e-6, atol=1e-9)
    (gradient,) = torch.autograd.grad(ours.sum(), scores, retain_graph=True)
    (reference,) = torch.autograd.grad(oracle.sum(), scores, retain_graph=True)
    torch.testing.assert_close(gradient, reference, rtol=1e-5, atol=1e-8)


def mean(values: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(values)).mean() if values else torch.zeros((), dtype=torch.float64)


def triplet_terms(p: list[Tensor], n: list[Tensor], margin: float) -> list[Tensor]:
    return [(margin - a + b).relu() for a in p for b in n]


def nearest_terms(p: list[Tensor], n: list[Tensor]) -> list[Tensor]:
    found = []
    for a in p:
        below = [b for b in n if b < a]
        found.append((0.3 - a + (max(below) if below else min(n))).relu())
    return found


ROWWISE: dict[str, tuple[Criterion, Callable[[list[Tensor], list[Tensor]], Tensor]]] = {
    "triplet": (
        lambda s, r: triplet(s, r, margin=0.3),
        lambda p, n: mean(triplet_terms(p, n, 0.3)),
    ),
    "triplet over nonzero terms": (
        lambda s, r: triplet(s, r, margin=0.1, average="nonzero"),
        lambda p, n: mean([t for t in triplet_terms(p, n, 0.1) if t > 0]),
    ),
    "semi-hard triplets": (
        lambda s, r: triplet(s, r, margin=0.3, negatives="semi_hard"),
        lambda p, n: mean([0.3 - a + b for a in p for b in n if a - 0.3 < b < a]),
    ),
    "smooth semi-hard triplets": (
        lambda s, r: triplet(s, r, margin=0.3, negatives="semi_hard", smooth=True),
        lambda p, n: mean([softplus(0.3 - a + b) for a in p for b in n if a - 0.3 < b < a]),
    ),
    "nearest semi-hard triplets": (
        lambda s, r: triplet(s, r, margin=0.3, negatives="nearest"),
        lambda p, n: mean(nearest_terms(p, n)) if n else torch.zeros((), dtype=torch.float64),
    ),
    "bpr": (bpr, lambda p, n: mean([-torch.sigmoid(a - b).log() for a in p for b in n])),
    "cosine contrastive": (
        lambda s, r: cosine_contrastive(s, r, margin=0.2, negative_weight=7.0),
        lambda p, n: mean([1 - a for a in p]) + 7 * mean([(b - 0.2).relu() for b in n]),
    ),
    "contrastive over all pairs": (
        lambda s, r: contrastive(s, r, positive_margin=0.8, negative_margin=0.1, power=2, average="pairs"),
        lambda p, n: mean([(0.8 - a).relu() ** 2 / 2 for a in p] + [(b - 0.1).relu() ** 2 / 2 for b in n]),
    ),
}


@pytest.mark.parametrize("name", ROWWISE)
@pytest.mark.parametrize("seed", [0, 1])
def test_row_criteria_equal_their_definition(name: str, seed: int) -> None:
    criterion, definition = ROWWISE[name]
    scores, rows, _ = batch(seed=seed)
    expected = [definition(*parts(scores, rows, i)) for i in range(len(scores))]
    assert_same(criterion(scores, rows), expected, scores, rows)


def test_semi_hard_triplets_are_those_of_sentence_transformers() -> None:
    st = pytest.importorskip("sentence_transformers.sentence_transformer.losses")
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(16) % 4
    x = torch.randn(16, 5, generator=generator)
    loss = st.BatchSemiHardTripletLoss.__new__(st.BatchSemiHardTripletLoss)
    nn.Module.__init__(loss)
    loss.margin, loss.distance_metric = 2.0, lambda e: torch.cdist(e, e)
    ours = Objective("triplet(margin=2.0, negatives=nearest), similarity=euclidean")(x, x, Relation.labels(y))
    torch.testing.assert_close(ours, loss.batch_semi_hard_triplet_loss(y, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("online", [False, True])
def test_contrastive_is_that_of_sentence_transformers(online: bool) -> None:
    st = pytest.importorskip("sentence_transformers.sentence_transformer.losses")
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 20, 6, generator=generator, dtype=torch.float64)
    b = (a + b).requires_grad_()
    label = torch.arange(20) % 2
    peer = (st.OnlineContrastiveLoss if online else st.ContrastiveLoss)(nn.Identity(), margin=0.7)
    theirs = peer.compute_loss_from_embeddings([a, b], label)
    text = "contrastive(positive_margin=1.0, negative_margin=0.3, power=2, average={})"
    if online:
        # The peer has no factor 1/2.
        ours = 2 * Objective(text.format("sum"), miner="multi_similarity(epsilon=0.0)")(
            a, b, Relation.labeled_pairs(label)
        )
    else:
        ours = Objective(text.format("pairs"))(a, b, Relation.labeled_pairs(label))
    torch.testing.assert_close(ours, theirs)
    for loss in (ours, theirs):
        b.grad, previous = None, b.grad
        loss.backward()
    torch.testing.assert_close(previous, b.grad)


def test_residual_margin_shrinks_where_the_guide_separates() -> None:
    scores, rows, _ = batch()
    rows.guide = torch.rand(scores.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    expected = []
    for i in range(len(scores)):
        pairs = [(p, n) for p in rows.positive[i].nonzero() for n in rows.negative[i].nonzero()]
        terms = [
            (0.4 - 0.5 * (rows.guide[i, p] - rows.guide[i, n]) - scores[i, p] + scores[i, n]).relu() for p, n in pairs
        ]
        expected.append(mean(terms).sum())
    assert_same(residual_margin(scores, rows, margin=0.4, weight=0.5), expected, scores, rows)


def test_tiered_orders_every_pair_of_grades() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(5, 12, generator=generator, dtype=torch.float64).requires_grad_()
    grade = torch.randint(0, 4, (5, 12), generator=generator) / 3
    rows = Rows(given_grade=grade, left_out=torch.rand(5, 12, generator=generator) < 0.2)
    expected = []
    for s, g, known in zip(scores, grade, rows.known, strict=True):
        pairs = [(i, j) for i in range(12) for j in range(12) if known[i] and known[j] and g[i] > g[j]]
        expected.append(mean([(0.3 * (g[i] - g[j]) - s[i] + s[j]).relu() for i, j in pairs]))
    assert_same(tiered(scores, rows, margin=0.3), expected, scores, rows)


def test_tiered_with_one_grade_is_triplet() -> None:
    scores, rows, _ = batch()
    valid = rows.positive.any(-1)
    torch.testing.assert_close(tiered(scores, rows, margin=0.3)[valid], triplet(scores, rows, margin=0.3)[valid])


def test_quadruplet_adds_the_pairs_of_the_whole_batch() -> None:
    scores, rows, _ = batch(classes=3)
    pairs = mean(triplet_terms(list(scores[rows.positive]), list(scores[rows.negative]), 0.2))
    expected = [mean(triplet_terms(*parts(scores, rows, i), 0.5)) + pairs for i in range(len(scores))]
    assert_same(quadruplet(scores, rows, margin=0.5, pair_margin=0.2), expected, scores, rows)


def test_proto_triplet_compares_the_own_prototype_with_the_nearest_other() -> None:
    generator = torch.Generator().manual_seed(0)
    queries, support = torch.randn(2, 12, 4, generator=generator, dtype=torch.float64)
    y, z = torch.arange(12) % 3, torch.arange(12) // 4
    terms = []
    for q, label in zip(queries, y, strict=True):
        distances = [(q - support[z == c].mean(0)).norm() for c in range(3)]
        terms.append((0.5 + distances[label] - min(d for c, d in enumerate(distances) if c != label)).relu())
    torch.testing.assert_close(Objective("proto_triplet")(queries, support, Relation.labels(y, z)), mean(terms))


def test_triplet_alignment_is_the_loop_over_its_definition() -> None:
    scores, rows, _ = batch()
    expected = []
    for i in range(len(scores)):
        p, n = parts(scores, rows, i)
        if not p or not n:
            expected.append(torch.zeros((), dtype=torch.float64))
            continue
        total = sum(math.exp(float(a.detach()) / 0.1) for a in p)
        positive = sum(math.exp(float(a.detach()) / 0.1) / total * a for a in p)
        negative = 0.1 * torch.log(torch.stack([torch.exp(b / 0.1) for b in n]).sum())
        expected.append((0.2 - positive + negative).relu())
    assert_same(triplet_alignment(scores, rows, margin=0.2, temperature=0.1), expected, scores, rows)


def test_triplet_alignment_bounds_the_hardest_negative_and_converges_to_it() -> None:
    x = normalize(torch.randn(9, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64), dim=-1)
    scores, rows = x @ x.T.roll(1, 1), Relation.pairs(9).rows()
    hardest = (0.2 - scores.diagonal() + scores.masked_fill(rows.positive, -9).amax(-1)).relu()
    gaps = [triplet_alignment(scores, rows, margin=0.2, temperature=t) - hardest for t in (0.1, 0.01, 1e-4)]
    assert all(bool((gap >= -1e-12).all()) for gap in gaps)
    assert float(gaps[2].max()) < 1e-3 < float(gaps[0].max())


def sorted_softly(values: list[Tensor], steepness: float) -> Tensor:
    """The permutation matrix ``[item, place]`` of an odd-even network with Cauchy swaps, as a product of matrices."""
    size = len(values)
    permutation = torch.eye(size, dtype=torch.float64)
    for layer in range(size):
        step = torch.eye(size, dtype=torch.float64)
        new = list(values)
        for i in range(layer % 2, size - 1, 2):
            keep = torch.atan(steepness * (values[i + 1] - values[i])) / math.pi + 0.5
            block = torch.stack([torch.stack([keep, 1 - keep]), torch.stack([1 - keep, keep])])
            step = step.index_put((torch.tensor([[i], [i + 1]]), torch.tensor([[i, i + 1]])), block)
            new[i] = keep * values[i] + (1 - keep) * values[i + 1]
            new[i + 1] = (1 - keep) * values[i] + keep * values[i + 1]
        values, permutation = new, permutation @ step
    return permutation


def test_groco_is_the_cross_entropy_of_a_soft_sort() -> None:
    scores, rows, _ = batch()
    expected = []
    for i in range(len(scores)):
        p, n = (sorted(part, key=lambda t: float(t.detach())) for part in parts(scores, rows, i))
        n = n[-3:]
        if not p or not n:
            expected.append(torch.zeros((), dtype=torch.float64))
            continue
        matrix = sorted_softly([*n, *p], 4.0)
        before = matrix[:, : len(n)].sum(1)
        expected.append(
            mean(
                [-before[k].log() for k in range(len(n))]
                + [-(1 - before[k]).log() for k in range(len(n), len(n) + len(p))]
            )
        )
    assert_same(groco(scores, rows, negatives=3, steepness=4.0), expected, scores, rows)


def test_groco_vanishes_when_a_steep_sort_finds_every_positive_above() -> None:
    scores = torch.tensor([[0.9, 0.8, 0.1, -0.2]], dtype=torch.float64)
    rows = Rows(same=torch.tensor([[True, True, False, False]]))
    assert float(groco(scores, rows, steepness=1e6)) < 1e-4
    assert float(groco(-scores, rows, steepness=1e6)) > 5


def soft_step(x: Tensor, slope: float) -> Tensor:
    """A step in value whose gradient is ``slope``."""
    return (x >= 0).double().detach() + slope * (x - x.detach())


def test_contextual_is_the_loop_over_neighbourhoods() -> None:
    generator = torch.Generator().manual_seed(1)
    y = torch.arange(12) % 3
    x = torch.randn(12, 4, generator=generator, dtype=torch.float64) + 0.7 * torch.eye(3, 4, dtype=torch.float64)[y]
    x = normalize(x, dim=-1)
    scores = (x @ x.T).requires_grad_()
    n, k = 12, 4
    reach = scores.detach().sort(descending=True).values
    near = [[soft_step(scores[i, j] - reach[i, k - 1] + 0.025, 20.0) for j in range(n)] for i in range(n)]
    half = [[soft_step(scores[i, j] - reach[i, k // 2 - 1] + 0.025, 20.0) for j in range(n)] for i in range(n)]
    w = [[torch.zeros(()).double()] * n for _ in range(n)]
    for i in range(n):
        size = sum(v.detach() for v in near[i])
        for j in range(n):
            shared = sum(near[i][t] * near[j][t] for t in range(n)) / size
            absent = sum((1 - near[i][t]) * (1 - near[j][t]) for t in range(n)) / (n - size)
            w[i][j] = (shared + absent) / 2 * near[i][j]
    mixed = [[torch.zeros(()).double()] * n for _ in range(n)]
    for i in range(n):
        weights = [half[i][t] * half[t][i] for t in range(n)]
        for j in range(n):
            mixed[i][j] = sum(weights[t] * w[t][j] for t in range(n)) / sum(weights)
    error = torch.zeros(()).double()
    pull, push = [], []
    for i in range(n):
        for j in range(n):
            if i == j:
                continue
            same = bool(y[i] == y[j])
            error = error + (float(same) - (mixed[i][j] + mixed[j][i]) / 2) ** 2 / n**2
            violation = (0.75 - scores[i, j]).relu() if same else (scores[i, j] - 0.6).relu()
            (pull if same else push).append(violation)
    contrast = mean([v for v in pull if v > 0]) + mean([v for v in push if v > 0])
    expected = 0.4 * error + 0.1 * (scores.mean() - 0.25) ** 2 + 0.5 * contrast
    rows = Relation.labels(y).rows()
    found = contextual(scores, rows)
    assert_same(found, [expected] * n, scores, rows)


def test_contextual_and_angular_refuse_other_keys() -> None:
    queries, keys = torch.randn(6, 4), torch.randn(8, 4)
    relation = Relation.labels(torch.arange(6) % 2, torch.arange(8) % 2)
    for name in ("contextual", "angular"):
        with pytest.raises(UserError, match="keys must be the queries"):
            Objective(name)(queries, keys, relation)


@pytest.mark.parametrize("seed", [0, 2])
def test_icnn_is_the_score_written_as_a_loop(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(15) % 3
    x = torch.randn(15, 3, generator=generator, dtype=torch.float64) + 1.5 * torch.eye(3, dtype=torch.float64)[y]
    scores = (-torch.cdist(x, x)).requires_grad_()
    rows = Relation.labels(y).rows()
    within, between, share = [], [], 0
    largest = torch.zeros(()).double()
    found = []
    for i in range(15):
        order = sorted((j for j in range(15) if j != i), key=lambda j: -float(scores.detach()[i, j]))[:5]
        other = [-scores[i, j] for j in order if y[j] != y[i]]
        unit = min(other) if other else torch.tensor(float("inf")).double()
        relative = [-scores[i, j] / (unit + 1e-7) for j in order[:4]]
        top = max(max(relative), torch.ones(()).double())
        found.append(([r / top for r in relative], order[:4]))
        largest = torch.stack([largest, *(-scores[i, j] for j in order[:4] if y[j] != y[i])]).max()
    for i, (relative, order) in enumerate(found):
        own = [r for r, j in zip(relative, order, strict=True) if y[j] == y[i]]
        far = [-scores[i, j] / (largest + 1e-7) for j in order if y[j] != y[i]]
        share += len(own)
        within += [mean(own)] if own else []
        between += [mean(far)] if far else []
    total = ((1 - mean(within)) + mean(between)) / 2 + share / (4 * 15)
    assert_same(icnn(scores, rows), [-(total / 2).log()] * 15, scores, rows)


def test_an_unknown_option_is_refused_with_the_nearest_one() -> None:
    scores, rows, _ = batch()
    with pytest.raises(UserError, match="semi_hard"):
        triplet(scores, rows, negatives="semihard")
