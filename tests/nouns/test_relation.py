"""Relation says of every pair what its supervision means, however it is stored."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from similis.relation import Relation

codes = st.lists(st.integers(0, 3), min_size=1, max_size=7)


def test_pairs_are_the_diagonal_and_given_negatives_follow() -> None:
    rows = Relation.pairs(2, 4).rows()
    assert rows.positive.tolist() == [[True, False, False, False], [False, True, False, False]]
    assert rows.known.all()


@given(codes, st.data())
def test_repeated_texts_are_never_negatives_of_each_other(queries: list[int], data: st.DataObject) -> None:
    n = len(queries)
    keys = data.draw(st.lists(st.integers(0, 5), min_size=n, max_size=n + 4))
    rows = Relation.pairs(n, len(keys), query_ids=torch.tensor(queries), key_ids=torch.tensor(keys)).rows()
    for i in range(n):
        own = {keys[j] for j in range(n) if j == i}
        for j, key in enumerate(keys):
            shares_query = j < n and queries[j] == queries[i]
            assert bool(rows.positive[i, j]) == shares_query
            if not shares_query:
                assert bool(rows.known[i, j]) == (key not in own and key != queries[i])


def test_in_batch_negatives_can_be_turned_off() -> None:
    rows = Relation.triplets(2, 2, in_batch=False).rows()
    assert rows.known.tolist() == [[True, False] * 3, [False, True] * 3]
    assert rows.negative[0].tolist() == [False, False, True, False, True, False]


@given(codes)
def test_labels_agree_with_brute_force(labels: list[int]) -> None:
    rows = Relation.labels(torch.tensor(labels)).rows()
    for i, a in enumerate(labels):
        for j, b in enumerate(labels):
            assert bool(rows.known[i, j]) == (i != j)
            assert bool(rows.positive[i, j]) == (a == b and i != j)
            assert bool(rows.negative[i, j]) == (a != b)


def test_hierarchy_grades_by_shared_ancestors() -> None:
    paths = torch.tensor([[0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0]])
    grade = Relation.hierarchy(paths).rows().grade
    assert grade[0].tolist() == pytest.approx([1, 2 / 3, 1 / 3, 0])


@given(codes, st.integers(0, 6), st.integers(1, 7))
def test_rows_of_a_tile_are_rows_of_the_whole(labels: list[int], start: int, length: int) -> None:
    relation = Relation.labels(torch.tensor(labels))
    whole, tile = relation.rows(), relation.rows(start, start + length)
    assert torch.equal(tile.positive, whole.positive[start : start + length])
    assert torch.equal(tile.known, whole.known[start : start + length])


@pytest.mark.parametrize(
    "relation",
    [
        Relation.pairs(3, 5, query_ids=torch.tensor([0, 1, 0]), key_ids=torch.tensor([5, 6, 7, 6, 1])),
        Relation.labels(torch.tensor([0, 1, 1])),
        Relation.graded(torch.rand(3, 4), torch.rand(3, 4) > 0.3),
        Relation.triplets(3, 1, in_batch=False),
    ],
)
def test_transpose_is_the_transposed_matrix(relation: Relation) -> None:
    rows, flipped = relation.rows(), relation.transpose().rows()
    assert torch.equal(flipped.positive, rows.positive.T)
    assert torch.equal(flipped.known, rows.known.T)


def test_unjudged_pairs_are_neither_positive_nor_negative() -> None:
    rows = Relation.graded(torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[True, True, False]])).rows()
    assert rows.positive.tolist() == [[True, False, False]]
    assert rows.negative.tolist() == [[False, True, False]]


def test_queries_among_themselves_leave_out_equal_queries() -> None:
    rows = Relation.pairs(3, query_ids=torch.tensor([4, 4, 2])).among_queries().rows()
    assert rows.known.tolist() == [[False, False, True], [False, False, True], [True, True, False]]
    assert not rows.positive.any()


def test_scored_pairs_are_one_list() -> None:
    relation = Relation.scored(torch.tensor([0.1, 0.9]))
    assert relation.shape == (1, 2)
    assert relation.layout == "list"


def test_too_few_keys_are_refused() -> None:
    with pytest.raises(ValueError, match="a key for every query"):
        Relation.pairs(3, 2)


def test_texts_are_known_where_both_sides_are_named_and_turn_with_the_pairs() -> None:
    queries, keys = torch.tensor([0, 1]), torch.tensor([7, 8, 9])
    relation = Relation.pairs(2, 3, query_ids=queries, key_ids=keys).to("cpu")
    assert relation.texts is not None
    assert [t.tolist() for t in relation.texts] == [[0, 1], [7, 8, 9]]
    flipped = relation.transpose().texts
    assert flipped is not None
    assert [t.tolist() for t in flipped] == [[7, 8, 9], [0, 1]]
    assert Relation.pairs(2, 3, key_ids=keys).texts is None


def test_keys_weigh_as_the_pairs_they_belong_to() -> None:
    weight = torch.tensor([1.0, 2.0, 6.0])
    ids = {"query_ids": torch.tensor([4, 4, 2]), "key_ids": torch.tensor([5, 6, 7, 8])}  # the first queries repeat
    for relation in (Relation.pairs(3, 4), Relation.pairs(3, 4, **ids)):
        flipped = replace(relation, row_weight=weight).transpose()
        assert flipped.row_weight is not None
        assert flipped.row_weight.tolist() == [1.0, 2.0, 6.0, 3.0]  # the given negative as the mean
        assert flipped.transpose().row_weight.tolist() == weight.tolist()  # type: ignore[union-attr]
        assert replace(relation, row_weight=weight).among_keys().row_weight.tolist() == [1.0, 2.0, 6.0, 3.0]  # type: ignore[union-attr]
        assert relation.transpose().row_weight is None


def test_keys_of_no_pair_weigh_as_the_mean_of_the_rows_they_are_positives_of() -> None:
    weight = torch.tensor([1.0, 2.0, 6.0])
    items = replace(Relation.labels(torch.tensor([0, 0, 3])), row_weight=weight)
    assert items.transpose().row_weight.tolist() == [1.0, 2.0, 6.0]  # type: ignore[union-attr]
    classes = replace(Relation.labels(torch.tensor([0, 0, 3]), torch.tensor([3, 1, 0])), row_weight=weight)
    assert classes.transpose().row_weight.tolist() == [6.0, 3.0, 1.5]  # type: ignore[union-attr]
    graded = Relation.graded(torch.tensor([[0.0, 2.0], [0.0, 0.5], [0.0, 0.0]]))
    assert replace(graded, row_weight=weight).transpose().row_weight.tolist() == [3.0, 1.5]  # type: ignore[union-attr]
