"""Criteria for wrong labels and uneven sampling equal their definitions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

from similis.registry import bind
from similis.relation import Rows

N, C = 5, 4


def scores_of(step: int) -> Tensor:
    return torch.rand(N, C, generator=torch.Generator().manual_seed(step), dtype=torch.float64) * 2 - 1


LABELS = torch.tensor([0, 1, 2, 3, 1])
SAME = one_hot(LABELS, C).bool()


def test_elr_follows_the_published_algorithm_over_epochs() -> None:
    criterion = bind("criterion", "elr(temperature=0.5, weight=3.0, memory=0.7)").build()
    criterion.prepare(dimension=3, classes=C, rows=9)
    criterion.double()
    samples = torch.tensor([8, 2, 0, 5, 3])
    target = torch.zeros(N, C, dtype=torch.float64)
    for step in range(3):
        scores = scores_of(step).requires_grad_()
        found = criterion(scores, Rows(same=SAME, samples=samples))
        share = (scores / 0.5).softmax(-1).clamp(1e-4, 1 - 1e-4)
        target = 0.7 * target + 0.3 * (share / share.sum(-1, keepdim=True)).detach()
        expected = cross_entropy(scores / 0.5, LABELS, reduction="none")
        expected = expected + 3.0 * (1 - (target * share).sum(-1)).log()
        torch.testing.assert_close(found, expected)
        weights = torch.arange(1.0, N + 1, dtype=torch.float64)
        gradients = [torch.autograd.grad((v * weights).sum(), scores, retain_graph=True)[0] for v in (found, expected)]
        torch.testing.assert_close(*gradients)
    with torch.no_grad():
        before = criterion.averages.clone()
        criterion(scores_of(9), Rows(same=SAME, samples=samples))
    assert torch.equal(criterion.averages, before)


def test_symmetric_cross_entropy_is_bounded_in_its_reverse_part() -> None:
    scores = scores_of(0)
    share = (scores / 0.5).softmax(-1)
    reverse = -(share * torch.where(SAME, 0.0, -4.0)).sum(-1)
    expected = 0.3 * cross_entropy(scores / 0.5, LABELS, reduction="none") + 2.0 * reverse
    found = bind("criterion", "symmetric_cross_entropy(temperature=0.5, alpha=0.3, beta=2.0)")(scores, Rows(same=SAME))
    torch.testing.assert_close(found, expected)


def test_truncation_drops_confident_contradictions_and_keeps_undecided_rows() -> None:
    scores = torch.tensor([[0.0, 0.0, 0.0, 0.0], [-1.0, 1.0, -1.0, -1.0]], dtype=torch.float64, requires_grad=True)
    rows = Rows(same=torch.tensor([[True, False, False, False]]).expand(2, 4))
    found = bind("criterion", "error_norm_truncation(temperature=0.2, threshold=1.3)")(scores, rows)
    assert found[0].item() == pytest.approx(math.log(4))
    assert found[1].item() == 0.0
    kept = bind("criterion", "error_norm_truncation(temperature=0.2, threshold=1.5)")(scores, rows)
    torch.testing.assert_close(kept, bind("criterion", "infonce(temperature=0.2)")(scores, rows))


def test_log_q_correction_makes_a_sampled_softmax_unbiased() -> None:
    # A corpus of 3 items drawn unevenly and often: the corrected loss tends to that of the uniform corpus.
    scores = torch.tensor([0.3, -0.2, 0.6], dtype=torch.float64)
    chances = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)
    drawn = torch.multinomial(chances, 20000, replacement=True, generator=torch.Generator().manual_seed(0))
    listed = torch.cat([scores[:1], scores[drawn]]).unsqueeze(0)
    same = torch.zeros_like(listed, dtype=torch.bool)
    same[0, 0] = True
    weight = torch.cat([chances[:1], chances[drawn]]).unsqueeze(0)
    found = bind("criterion", "sampled_softmax(temperature=1.0)")(listed, Rows(same=same, weight=weight))
    whole = math.log(len(drawn) * scores.exp().sum().item())
    assert found.item() == pytest.approx(whole - (scores[0] - chances[0].log()).item(), abs=0.02)


def test_asymmetric_focal_equals_its_definition_and_has_binary_cross_entropy_inside() -> None:
    scores, rows = scores_of(3), Rows(same=SAME)
    chance = torch.sigmoid(scores / 0.5)
    shifted = (chance - 0.1).clamp_min(0)
    terms = torch.where(SAME, -((1 - chance) ** 2) * chance.log(), -(shifted**3) * (1 - shifted).log())
    text = "asymmetric_focal(temperature=0.5, positive_focus=2, negative_focus=3, shift=0.1)"
    torch.testing.assert_close(bind("criterion", text)(scores, rows), terms.sum(-1))
    plain = bind("criterion", "asymmetric_focal(temperature=0.5, negative_focus=0, shift=0)")(scores, rows)
    expected = binary_cross_entropy_with_logits(scores / 0.5, SAME.double(), reduction="none").sum(-1)
    torch.testing.assert_close(plain, expected)
