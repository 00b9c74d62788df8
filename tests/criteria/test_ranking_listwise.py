"""Listwise criteria against sentence-transformers, and what they say of ties."""

from __future__ import annotations

import itertools
import math
from functools import partial

import pytest
import torch
from ranking_lists import SHAPES, assert_equal_to_peer, assert_padding_is_ignored, distinct, lists, rows_of
from sentence_transformers.cross_encoder import losses
from torch import Tensor

from similis.criteria.ranking.listwise import list_mle, list_net, p_list_mle, poly1_softmax, rank_n_contrast
from similis.criteria.softmax.infonce import infonce
from similis.objective import Objective
from similis.relation import Relation, Rows


@pytest.mark.parametrize("shape", SHAPES)
def test_list_net_is_that_of_sentence_transformers(shape: tuple[int, int]) -> None:
    assert_equal_to_peer(list_net, losses.ListNetLoss, *lists(*shape))


@pytest.mark.parametrize("shape", [*SHAPES, (2, 200)])
def test_list_mle_is_that_of_sentence_transformers_for_falling_grades(shape: tuple[int, int]) -> None:
    assert_equal_to_peer(list_mle, losses.ListMLELoss, *distinct(*shape))
    assert_equal_to_peer(p_list_mle, losses.PListMLELoss, *distinct(*shape))


def test_list_mle_of_ties_at_the_bottom_is_the_likelihood_summed_over_their_orders() -> None:
    scores, _ = lists(1, 6)
    grade = torch.tensor([[0.0, 2.0, 0.0, 1.0, 0.0, 0.0]])
    likelihood = 0.0
    for order in itertools.permutations([0, 2, 4, 5]):
        rest, probability = [1, 3, *order], 1.0
        for place, key in enumerate(rest):
            probability *= float(scores[0, key].exp() / scores[0, rest[place:]].exp().sum())
        likelihood += probability
    assert float(list_mle(scores, rows_of(grade))) == pytest.approx(-math.log(likelihood))


def test_ties_share_a_denominator_and_their_mean_weight() -> None:
    scores, _ = lists(1, 4)
    grade = torch.tensor([[1.0, 2.0, 0.0, 2.0]])
    s = scores[0]
    high, middle = s.logsumexp(0), s[[0, 2]].logsumexp(0)
    terms = torch.stack([middle - s[0], high - s[1], high - s[3]])
    assert float(list_mle(scores, rows_of(grade))) == pytest.approx(float(terms.sum()))
    weights = torch.tensor([1.0, (7 + 3) / 2, (7 + 3) / 2], dtype=torch.float64) / (7 + 3 + 1)
    assert float(p_list_mle(scores, rows_of(grade))) == pytest.approx(float((terms * weights).sum()))


def test_one_positive_makes_list_mle_and_poly1_without_its_term_infonce() -> None:
    scores, _ = lists(5, 7)
    rows = Rows(same=torch.eye(5, 7, dtype=torch.bool))
    expected = infonce(scores, rows, temperature=0.5)
    torch.testing.assert_close(list_mle(scores, rows, temperature=0.5), expected)
    torch.testing.assert_close(poly1_softmax(scores, rows, epsilon=0.0, temperature=0.5), expected)
    share = (scores / 0.5).softmax(-1).diagonal()
    torch.testing.assert_close(poly1_softmax(scores, rows, epsilon=2.0, temperature=0.5), expected + 2 * (1 - share))


def rank_n_contrast_by_loops(embeddings: Tensor, targets: Tensor) -> Tensor:
    n = len(embeddings)
    total = torch.zeros((), dtype=embeddings.dtype)
    for i in range(n):
        others = [j for j in range(n) if j != i]
        logit = {j: -torch.linalg.vector_norm(embeddings[i] - embeddings[j]) / 2 for j in others}
        for j in others:
            farther = [k for k in others if abs(targets[i] - targets[k]) >= abs(targets[i] - targets[j])]
            total = total - (logit[j] - torch.stack([logit[k] for k in farther]).logsumexp(0)) / (n * (n - 1))
    return total


@pytest.mark.parametrize("n", [3, 6, 9])
def test_rank_n_contrast_equals_loops_over_its_definition(n: int) -> None:
    generator = torch.Generator().manual_seed(n)
    embeddings = torch.randn(n, 4, generator=generator, dtype=torch.float64)
    targets = torch.randint(0, 2 * n, (n,), generator=generator).double()
    found = []
    for loss in (
        lambda e: Objective("rank_n_contrast")(e, e, Relation.distances(targets)),
        lambda e: rank_n_contrast_by_loops(e, targets),
    ):
        leaf = embeddings.clone().requires_grad_()
        value = loss(leaf)
        value.backward()
        found.append((value.detach(), leaf.grad))
    torch.testing.assert_close(found[0], found[1], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("ours", [list_net, list_mle, p_list_mle, rank_n_contrast, poly1_softmax])
def test_padding_is_ignored_in_lists(ours: object) -> None:
    assert_padding_is_ignored(ours, *lists(3, 6))  # type: ignore[arg-type]


def test_binary_and_graded_forms_of_one_list_agree() -> None:
    scores, grade = lists(4, 9, levels=2)
    for ours in (list_mle, p_list_mle, rank_n_contrast, partial(poly1_softmax, temperature=0.3)):
        torch.testing.assert_close(ours(scores, Rows(same=grade > 0)), ours(scores, rows_of(grade)))
