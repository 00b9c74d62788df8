"""The relation of a batch: repeats and several positives are never negatives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from similis.data.dataset import Dataset
from similis.errors import UserError
from similis.training.rows.columns import dataset_of, examples_of
from similis.training.rows.examples import Batch, Examples, TextTable, fold


def examples(data: object) -> Examples:
    return examples_of(dataset_of(data), TextTable())


def batch(data: object, rows: list[int] | None = None) -> Batch:
    made = examples(data)
    return made.batch(np.array(rows if rows is not None else range(len(made))))


def as_lists(mask: torch.Tensor) -> list[list[int]]:
    return mask.int().tolist()


def test_repeated_texts_and_several_positives_are_never_negatives() -> None:
    rows = [("q1", "a"), ("q2", "b"), ("Q1 ", "c"), ("q3", "A"), ("q4", "d")]
    relation = batch(rows).relation.rows()
    assert as_lists(relation.positive) == [
        [1, 0, 1, 0, 0],  # q1 and Q1 are one query with the positives a and c
        [0, 1, 0, 0, 0],
        [1, 0, 1, 0, 0],
        [0, 0, 0, 1, 0],
        [0, 0, 0, 0, 1],
    ]
    assert as_lists(relation.negative) == [
        [0, 1, 0, 0, 1],  # A repeats a
        [1, 0, 1, 1, 1],
        [0, 1, 0, 0, 1],
        [0, 1, 1, 0, 1],  # a repeats A
        [1, 1, 1, 1, 0],
    ]


def test_a_positive_from_elsewhere_in_the_data_is_not_a_negative() -> None:
    rows = [("q1", "a"), ("q1", "b"), ("q2", "b"), ("q3", "c")]
    relation = batch(rows, [0, 2, 3]).relation.rows()
    assert as_lists(relation.positive) == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert as_lists(relation.negative) == [[0, 0, 1], [1, 0, 1], [1, 1, 0]]


def test_a_brute_force_reading_of_the_data_agrees() -> None:
    generator = np.random.default_rng(0)
    rows = [(f"q{generator.integers(12)}", f"d{generator.integers(15)}") for _ in range(60)]
    made = examples(rows)
    known = {(fold(q), fold(d)) for q, d in rows}
    for _ in range(20):
        picked = generator.choice(60, 16, replace=False)
        relation = made.batch(picked).relation.rows()
        for i, row in enumerate(picked):
            for j, other in enumerate(picked):
                belongs = (rows[row][0], rows[other][1]) in known
                assert bool(relation.negative[i, j]) == (not belongs)
                assert not relation.positive[i, j] or belongs
            assert relation.positive[i, i]


def test_given_negatives_of_any_number_follow_the_positives() -> None:
    data = {"anchor": ["q1", "q2"], "positive": ["a", "b"], "negatives": [["x", "b"], ["y"]]}
    made = batch(data)
    assert made.keys is not None
    table = examples(data).table
    assert [table.texts[k] for k in made.keys] == ["a", "b", "x", "y", "b"]
    assert made.relation.supervision == "triplets"
    relation = made.relation.rows()
    assert as_lists(relation.positive) == [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0]]
    assert as_lists(relation.negative) == [[0, 1, 1, 1, 1], [1, 0, 1, 1, 0]]


def test_labels_are_positives_and_self_is_left_out() -> None:
    relation = batch({"text": ["a", "b", "c"], "label": ["x", "y", "x"]}).relation.rows()
    assert as_lists(relation.positive) == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]
    assert as_lists(relation.negative) == [[0, 1, 0], [1, 0, 1], [0, 1, 0]]


def test_scores_come_on_a_scale_from_0_to_1() -> None:
    made = examples([("a", "b", 5.0), ("c", "d", 0.0), ("e", "f", 2.5)])
    assert made.supervision == "scored"
    assert made.scores is not None
    assert made.scores.tolist() == [1.0, 0.0, 0.5]
    assert examples([("a", "b", 0.9), ("c", "d", 0.1)]).scores.tolist() == pytest.approx([0.9, 0.1])  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("labels", "supervision", "grades"),
    [
        ([1, 0], "labeled_pairs", [1, 0]),
        (["true", "False"], "labeled_pairs", [1, 0]),
        (["entailment", "neutral", "contradiction"], "scored", [1, 0.5, 0]),
    ],
)
def test_labels_of_pairs_are_read_by_name(labels: list[object], supervision: str, grades: list[float]) -> None:
    count = len(labels)
    made = examples({"sentence1": ["a"] * count, "sentence2": ["b"] * count, "label": labels})
    assert made.supervision == supervision
    assert made.scores is not None
    assert made.scores.tolist() == grades


def test_documents_alone_give_title_or_first_sentence_against_the_rest() -> None:
    texts = ["Cats sleep a lot. They dream too.", "One sentence", "Dogs bark loudly! And they run.\nFast."]
    made = examples(texts)
    pairs = [(made.table.texts[q], made.table.texts[k]) for q, k in zip(made.queries, made.keys, strict=True)]  # type: ignore[arg-type]
    assert pairs == [("Cats sleep a lot.", "They dream too."), ("Dogs bark loudly!", "And they run.\nFast.")]
    titled = {"text": ["body one", "body two"], "title": ["The title one", "The title two"]}
    assert examples(titled).table.texts[:2] == ["The title one", "The title two"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (7, "int is no training data"),
        ([("a",)], "tuples of one length"),
        ([("a", "b")], "one row is no training data"),
        ({"query": ["a", "b"]}, "carry no supervision"),
        (["x", "y"], "fewer than two texts have a title"),
        ({"sentence1": ["a", "b"], "sentence2": ["c", "d"], "label": ["cat", "dog"]}, "neither same nor different"),
    ],
)
def test_what_cannot_be_learned_from_is_said(data: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        examples(data)


def test_a_dataset_is_taken_as_it_is() -> None:
    from pathlib import Path

    data = Dataset(Path("x"), "pairs", "", {"anchor": ["a", "b"], "positive": ["c", "d"]})
    assert dataset_of(data) is data
