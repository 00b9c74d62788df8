"""What each miner keeps, against definitions written out and closed forms."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from similis.errors import UserError
from similis.mining.noise import uniform
from similis.mining.schedule import Curriculum
from similis.objective import Objective
from similis.registry import bind, entries
from similis.relation import Relation, Rows

ARGUMENTS = {"distance_weighted": "(dimension=6)"}
MINERS = [e.name + ARGUMENTS.get(e.name, "") for e in entries("miner")]


def unit(n: int, seed: int = 0, d: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(n, d, generator=generator, dtype=torch.float64), dim=-1)


def mined(text: str, scores: Tensor, rows: Rows) -> Rows:
    found: Rows = bind("miner", text).build()(scores, rows)
    return found


def guided(n: int = 16, seed: int = 0) -> Relation:
    relation = Relation.labels(torch.arange(n) % 4)
    relation.guide = (unit(n, seed + 1), unit(n, seed + 1))
    relation.samples = torch.arange(n)
    return relation


@pytest.mark.parametrize("text", MINERS)
def test_a_miner_only_leaves_pairs_out_and_leaves_its_input_alone(text: str) -> None:
    scores, rows = unit(16) @ unit(16).T, guided().rows()
    before = rows.known.clone()
    after = mined(text, scores, rows)
    assert torch.equal(rows.known, before)
    assert not bool((after.known & ~before).any())
    assert bool(after.known.any())


@pytest.mark.parametrize("text", [m for m in MINERS if m != "angular"])
def test_tiled_and_plain_executions_mine_the_same_pairs(text: str) -> None:
    relation, values = guided(), []
    for execution in ("plain", "tiled"):
        x = unit(16).requires_grad_()
        loss = Objective("triplet(margin=0.3)", miner=text, execution=execution, tile=3)(x, x, relation)
        values.append((loss, *torch.autograd.grad(loss, x)))
    torch.testing.assert_close(values[0], values[1])
    assert float(values[0][0].detach()) > 0


@pytest.mark.parametrize("text", MINERS)
def test_rows_without_positives_or_negatives_are_survived(text: str) -> None:
    scores, rows = unit(16) @ unit(16).T, guided().rows()
    empty = rows.without(rows.positive | (torch.arange(16) < 8).unsqueeze(1))
    after = mined(text, scores, empty)
    assert not bool(after.positive.any())
    assert not bool((after.known & ~empty.known).any())


def test_the_angular_miner_refuses_tiles() -> None:
    x = unit(16)
    with pytest.raises(UserError, match="keys must be the queries"):
        Objective("triplet", miner="angular", execution="tiled", tile=4)(x, x, guided())


def test_hardest_negatives_are_ranked_after_the_skipped_and_the_excluded() -> None:
    scores = torch.tensor([[0.95, 0.9, 0.8, 0.7, 0.6, 0.5]])
    rows = Rows(same=torch.tensor([[False, True, False, False, False, False]]))
    assert mined("hardest_negatives(k=2, skip=1)", scores, rows).negative.tolist() == [
        [False, False, True, True, False, False]
    ]
    kept = mined("hardest_negatives(k=2, lowest_score=0.55, highest_score=0.75)", scores, rows).negative
    assert kept.tolist() == [[False, False, False, True, True, False]]


def test_noise_is_uniform_and_its_own_for_each_row_key_and_seed() -> None:
    rows = Relation.pairs(300).rows()
    first, second = uniform(rows, 0), uniform(rows, 1)
    assert abs(float(first.mean()) - 0.5) < 0.005
    assert abs(float(first.var()) - 1 / 12) < 0.002
    assert float(torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1].abs()) < 0.02
    assert float(torch.corrcoef(first)[torch.triu(torch.ones(300, 300), 1).bool()].abs().mean()) < 0.06
    # 23 bits: of 90,000 numbers about 480 meet another by chance.
    assert len(first.unique()) > first.numel() - 700


def test_random_negatives_choose_every_negative_equally_often() -> None:
    rows = Rows(same=torch.arange(21).expand(800, 21) == 0, samples=torch.arange(800))
    counts = mined("random_negatives(k=5)", torch.zeros(800, 21), rows).negative.sum(0)
    assert int(counts.sum()) == 5 * 800
    # 200 expected each, with a standard deviation of about 12.
    assert bool(((counts[1:] - 200).abs() < 60).all())


def test_distance_weighted_draws_in_proportion_to_the_inverse_density() -> None:
    d = torch.tensor([0.2, 0.5, 0.7, 0.9, 1.1, 1.3, 1.5], dtype=torch.float64)
    scores = torch.cat([torch.ones(1), 1 - d**2 / 2]).expand(10_000, 8)
    rows = Rows(same=torch.arange(8).expand(10_000, 8) == 0, samples=torch.arange(10_000))
    counts = mined("distance_weighted(dimension=5)", scores, rows).negative[:, 1:].sum(0)
    bounded = d.clamp(min=0.5)
    weight = bounded ** (2 - 5) * (1 - bounded**2 / 4) ** (-(5 - 3) / 2)
    weight[d >= 1.4] = 0
    torch.testing.assert_close(counts / 10_000, (weight / weight.sum()).float(), atol=0.02, rtol=0.0)


def test_distance_weighted_reads_euclidean_scores_alike() -> None:
    x, rows = unit(12), Relation.labels(torch.arange(12) % 3).rows()
    cosine = mined("distance_weighted(dimension=6, k=3)", x @ x.T, rows)
    euclidean = mined("distance_weighted(dimension=6, k=3, score=euclidean)", -torch.cdist(x, x), rows)
    assert torch.equal(cosine.negative, euclidean.negative)


def test_uniform_histogram_thins_full_cells_only() -> None:
    scores = torch.tensor([[0.9, 0.01, 0.02, 0.03, 0.04, 0.55, 1.0, 0.0]])
    rows = Rows(same=torch.tensor([[True] + [False] * 7]))
    kept = mined("uniform_histogram(bins=10, negatives_per_bin=2)", scores, rows)
    assert kept.positive.tolist() == [[True] + [False] * 7]
    assert int(kept.negative[0, [1, 2, 3, 4, 7]].sum()) == 2
    assert bool(kept.negative[0, [5, 6]].all())


def test_gist_leaves_out_the_planted_false_negatives() -> None:
    guide = unit(10, seed=5)
    keys = guide.clone()
    keys[7] = guide[2]  # key 7 repeats the positive of query 2: a false negative
    relation = Relation.pairs(10)
    relation.guide = (guide, keys)
    rows = relation.rows()
    left_out = ~mined("gist", torch.zeros(10, 10), rows).known
    expected = (guide @ keys.T) > (guide * keys).sum(-1, keepdim=True)
    expected.fill_diagonal_(False)
    assert bool(left_out[7, 2]) or bool(expected[7].any())
    assert torch.equal(left_out, expected)
    strict = ~mined("gist(margin=0.1, strategy=relative)", torch.zeros(10, 10), rows).known
    assert bool((strict | ~left_out).all())
    assert int(strict.sum()) >= int(left_out.sum())


def test_gist_with_joined_directions_is_the_guided_loss_written_out() -> None:
    """The loss of GISTEmbedLoss: query-document, query-query and document-document candidates, masked by the guide."""
    queries, documents, gq, gd = (unit(8, seed) for seed in (0, 1, 2, 3))
    documents, gd = normalize(queries + 0.7 * documents, dim=-1), normalize(gq + gd, dim=-1)
    relation = Relation.pairs(8)
    relation.guide = (gq, gd)
    objective = Objective("infonce(temperature=0.1)", miner="gist(margin=0.05)", directions="q2k+q2q+k2k")
    limit = (gq * gd).sum(-1, keepdim=True) - 0.05
    parts = []
    for a, b, ga, gb in ((queries, documents, gq, gd), (queries, queries, gq, gq), (documents, documents, gd, gd)):
        suspect = (ga @ gb.T) > limit
        suspect |= torch.eye(8, dtype=torch.bool) & (a is b)
        parts.append((a @ b.T / 0.1).masked_fill(suspect & ~(torch.eye(8, dtype=torch.bool) & (a is not b)), -1e9))
    expected = cross_entropy(torch.cat(parts, 1), torch.arange(8))
    torch.testing.assert_close(objective(queries, documents, relation), expected)


def test_gist_without_a_guide_says_what_is_missing() -> None:
    with pytest.raises(UserError, match=r"relation\.guide"):
        mined("gist", torch.zeros(2, 2), Relation.pairs(2).rows())


def test_positive_aware_keeps_the_hardest_below_the_positive() -> None:
    scores = torch.tensor([[0.8, 0.79, 0.75, 0.6, 0.5]])
    rows = Rows(same=torch.tensor([[True, False, False, False, False]]))
    kept = mined("positive_aware(margin=0.05, k=2)", scores, rows)  # 95 % of 0.8 is 0.76
    assert kept.known.tolist() == [[True, False, True, True, False]]
    kept = mined("positive_aware(margin=0.1, strategy=absolute)", scores, rows)
    assert kept.known.tolist() == [[True, False, False, True, True]]


def test_false_negatives_are_left_out_or_attracted() -> None:
    scores = torch.tensor([[0.8, 0.95, 0.92, 0.3]])
    rows = Rows(same=torch.tensor([[True, False, False, False]]))
    assert mined("false_negatives", scores, rows).known.tolist() == [[True, False, False, True]]
    attracted = mined("false_negatives(k=1, action=attract)", scores, rows)
    assert attracted.positive.tolist() == [[True, True, False, False]]
    graded = mined("false_negatives(action=attract)", scores, Rows(given_grade=torch.tensor([[0.5, 0.0, 0.0, 0.0]])))
    assert graded.grade.tolist() == [[0.5, 1.0, 1.0, 0.0]]


def test_a_curriculum_admits_harder_negatives_as_training_goes_on() -> None:
    scores = torch.tensor([[0.9, 0.8, 0.6, 0.4, 0.2]])
    rows = Rows(same=torch.tensor([[True, False, False, False, False]]))
    objective = Objective("triplet", miner="curriculum(start=0.25, end=1.0)")
    miner = objective.miner
    assert isinstance(miner, Curriculum)
    assert miner in list(objective.modules())
    for progress, expected in ((0.0, [4]), (1 / 3, [3, 4]), (1.0, [1, 2, 3, 4])):
        miner.set_progress(progress)
        assert miner(scores, rows).negative[0].nonzero().flatten().tolist() == expected
    hardest = Curriculum(start=0.5, k=1)(scores, rows)
    assert hardest.negative[0].nonzero().flatten().tolist() == [3]
