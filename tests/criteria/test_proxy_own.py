"""Criteria over class proxies whose own class is known beforehand are those that search for it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from similis.criteria.proxy.angular import plus_angle
from similis.objective import Objective
from similis.registry import bind
from similis.relation import Codes, Numbered, Relation, Rows

LABELS = torch.tensor([2, 0, 1, 1, 2, 0])


def related(times: int) -> Relation:
    """Rows of labels against three classes of proxies, ``times`` of each."""
    return Relation(Numbered(LABELS, torch.arange(3).repeat(times), 3), "labels")


def scores_of(columns: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return (2 * torch.rand(len(LABELS), columns, generator=generator, dtype=torch.float64) - 1).requires_grad_()


@pytest.mark.parametrize("times", [1, 2])
def test_numbered_keys_are_equal_where_their_codes_are(times: int) -> None:
    keys = torch.arange(3).repeat(times)
    for start, stop in ((0, 6), (2, 5)):
        rows = related(times).rows(start, stop)
        assert rows.own is not None
        assert torch.equal(rows.positive, Codes(LABELS, keys).equal(start, stop))
        assert torch.equal(Numbered(LABELS, keys, 3).equal(start, stop), rows.positive)
        assert bool(rows.positive.gather(-1, rows.own).all())
        assert rows.own.shape[-1] == times


def test_rows_that_leave_pairs_out_do_not_claim_to_know_their_own() -> None:
    rows = related(1).rows()
    assert rows.with_all(("positive", "negative")) is None
    narrowed = rows.without(torch.eye(6, 3, dtype=torch.bool))
    assert narrowed.own is None
    assert narrowed.with_all(("positive", "negative")).tolist() == [True] * 6  # type: ignore[union-attr]
    assert rows.where(rows.negative).with_all(("positive",)).tolist() == [False] * 6  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "text",
    [
        "normalized_softmax",
        "proxy_nca",
        "cosface",
        "arcface",
        "sphereface",
        "combined_margin",
        "p2sgrad",
        "subcenter_arcface",
        "soft_triple",
    ],
)
def test_the_own_class_known_or_searched_for_gives_the_same_loss_and_gradient(text: str) -> None:
    times = 2 if text in ("subcenter_arcface", "soft_triple") else 1
    known, searched = related(times).rows(), Rows(same=related(times).rows().positive)
    assert searched.own is None
    criterion = bind("criterion", text).build()
    weight = torch.arange(1.0, 7.0, dtype=torch.float64)
    found = []
    for rows in (known, searched):
        leaf = scores_of(3 * times)
        losses = criterion(leaf, rows)
        (gradient,) = torch.autograd.grad((losses * weight).sum(), leaf)
        found.append((losses.detach(), gradient))
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-9)


def test_a_turned_angle_has_the_slope_of_its_cosine() -> None:
    cosine = torch.linspace(-0.999, 0.999, 41, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda c: plus_angle(c, 0.5), (cosine,))
    ends = torch.tensor([-1.0, 1.0], requires_grad=True)
    (slope,) = torch.autograd.grad(plus_angle(ends, 0.5).sum(), ends)
    assert slope.tolist() == pytest.approx([1.0, math.cos(0.5)])


def test_an_unlabelled_item_changes_no_loss_over_proxies() -> None:
    objective = Objective("cosface", keys="proxies(classes=3, dimension=4)")
    embeddings = torch.randn(7, 4, generator=torch.Generator().manual_seed(1))
    labels = torch.cat([LABELS, torch.tensor([-1])])
    with_it = objective(embeddings, relation=Relation.labels(labels))
    assert (objective.last_rows, objective.last_valid) == (7, 6)
    torch.testing.assert_close(with_it, objective(embeddings[:6], relation=Relation.labels(LABELS)))
    assert (objective.last_rows, objective.last_valid) == (6, 6)
