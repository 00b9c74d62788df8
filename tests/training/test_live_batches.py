"""Batches of clusters and of near classes: what they hold, and that a run which makes them anew resumes exactly."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from training_rows import labelled, pairs

from similis.errors import UserError
from similis.registry import bind
from similis.sampling import Items, epoch_batches
from similis.sampling.clusters import balanced_clusters, class_means
from similis.sampling.grouped import due, named_groups, regrouped
from similis.training import train
from small_runs import interrupted_after


def planted(kinds: int, each: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Vectors around as many directions as there are kinds, in random order, and the kind of each."""
    generator = np.random.default_rng(seed)
    kind = generator.permutation(np.repeat(np.arange(kinds), each))
    return (np.eye(kinds)[kind] + 0.05 * generator.normal(size=(len(kind), kinds))).astype(np.float32), kind


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 200), st.integers(1, 40), st.integers(0, 5))
def test_clusters_hold_equal_numbers_of_rows(count: int, size: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)
    sizes = np.bincount(balanced_clusters(vectors, size, np.random.default_rng(seed)))
    assert sizes.sum() == count
    assert sizes.max() <= size
    assert sizes.max() < 2 * sizes.min() + 2
    assert len(sizes) < 2 * max(1, count / size)


def test_clusters_find_what_was_planted() -> None:
    vectors, kind = planted(2, 16)
    found = balanced_clusters(vectors, 16, np.random.default_rng(1))
    assert len({*zip(found.tolist(), kind.tolist(), strict=True)}) == 2


def test_equal_vectors_are_clustered_too() -> None:
    found = balanced_clusters(np.zeros((9, 3), np.float32), 3, np.random.default_rng(0))
    assert sorted(np.bincount(found).tolist()) == [2, 2, 2, 3]


def test_a_clustered_batch_holds_nearer_rows_than_a_random_one() -> None:
    vectors, _ = planted(16, 16)
    items = Items(256)
    groups = regrouped("clustered(size=16, doubling=0)", items, vectors, 32, seed=0, epoch=0)

    def nearness(sampler: str, items: Items) -> float:
        batches = epoch_batches(sampler, items, 32, seed=0, epoch=0)
        return float(np.mean([(vectors[rows] @ vectors[rows].T).mean() for rows in batches]))

    assert nearness("clustered", Items(256, groups=groups)) > 3 * nearness("shuffle", items)
    assert nearness("clustered", items) < 1.5 * nearness("shuffle", items)  # no groups yet: random


def test_rows_apart_are_of_different_clusters_and_false_negatives_are_fewer() -> None:
    vectors, kind = planted(16, 16)
    groups = regrouped("apart", Items(256), vectors, 16, seed=0, epoch=0)
    assert len(np.unique(groups)) >= 16

    def alike(items: Items, sampler: str) -> float:
        """Share of the pairs of a batch that are of one kind, though the sampler never saw the kinds."""
        batches = epoch_batches(sampler, items, 16, seed=0, epoch=0)
        pairs_ = [kind[a] == kind[b] for rows in batches for a, b in combinations(rows, 2)]
        return float(np.mean(pairs_))

    for rows in epoch_batches("apart", Items(256, groups=groups), 16, seed=0, epoch=0):
        assert len(np.unique(groups[rows])) == len(rows)
    assert alike(Items(256, groups=groups), "apart") < 0.3 * alike(Items(256), "shuffle")


def test_clusters_double_as_the_code_of_the_paper_has_it_and_end_at_the_batch() -> None:
    vectors = np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32)
    sampler = "clustered(size=1, doubling=2)"
    sizes = [
        int(np.bincount(regrouped(sampler, Items(64), vectors, 16, seed=0, epoch=epoch)).max()) for epoch in range(14)
    ]
    assert sizes == [1, 1, 2, 2, 4, 4, 8, 8, 16, 16, 16, 16, 16, 16]


def test_groups_are_due_when_the_sampler_says_so() -> None:
    items = Items(4, labels=np.array([0, 0, 1, 1]))
    assert [due("clustered(every=2)", items, epoch) for epoch in range(4)] == [True, False, True, False]
    assert due("hierarchical", items, 0)
    named = Items(4, labels=items.labels, above=np.zeros(4, np.int64))
    assert not due("hierarchical", named, 0)
    assert not due("shuffle", items, 0)


def test_class_names_say_what_is_above_them() -> None:
    assert named_groups(["tool/saw", "fruit/apple", "tool/axe"]).tolist() == [1, 0, 1]
    assert named_groups(["tool/saw", "apple"]) is None
    assert named_groups([]) is None


def test_the_mean_of_a_class_is_of_its_directions() -> None:
    vectors = np.array([[3, 0], [0, 2], [0, 5]], np.float32)
    classes, means = class_means(vectors, np.array([7, 7, 4]))
    assert classes.tolist() == [4, 7]
    assert means.tolist() == [[0, 1], [0.5, 0.5]]


@settings(max_examples=40, deadline=None)
@given(st.integers(4, 20), st.integers(2, 6), st.integers(2, 5), st.integers(1, 3), st.integers(0, 9))
def test_hierarchical_gives_every_row_once_in_few_groups(
    classes: int, above: int, per_class: int, groups: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), generator.integers(1, 9, classes))
    over = np.arange(classes) % above
    size = per_class * max(2, groups) * 2
    items = Items(len(labels), labels=labels, above=over[labels])
    sampler = f"hierarchical(per_class={per_class}, groups={groups})"
    batches = epoch_batches(sampler, items, size, seed=seed, epoch=1)
    drawn = np.concatenate(batches) if batches else np.zeros(0, np.int64)
    assert len(set(drawn.tolist())) == len(drawn)
    for rows in batches:
        assert len(rows) <= size
        assert len(np.unique(labels[rows])) > 1
        assert np.bincount(labels[rows]).max() <= per_class
        assert len(np.unique(over[labels[rows]])) <= groups
    left = np.setdiff1d(np.arange(len(labels)), drawn)
    assert len(left) <= 8 * above  # blocks of a single class that no other was left to join


def test_hierarchical_batches_hold_pairs_of_super_classes_as_the_reference_sampler_does() -> None:
    from pytorch_metric_learning.samplers import HierarchicalSampler

    labels = np.repeat(np.arange(12), 8)
    above = labels // 3
    theirs = HierarchicalSampler(np.stack([labels, above], 1), batch_size=16, samples_per_class=4)
    wanted = {(len(np.unique(labels[batch])), len(np.unique(above[batch]))) for batch in map(np.array, theirs)}
    ours = epoch_batches("hierarchical", Items(96, labels=labels, above=above), 16, seed=0, epoch=0)
    found = [(len(np.unique(labels[batch])), len(np.unique(above[batch]))) for batch in ours]
    assert max(set(found), key=found.count) == next(iter(wanted)) == (4, 2)


def test_without_names_near_classes_are_found() -> None:
    vectors, kind = planted(4, 24)
    vectors = np.concatenate([vectors, vectors[:, ::2] + vectors[:, 1::2]], 1)  # two kinds each have more in common
    labels = kind * 2 + np.random.default_rng(3).integers(0, 2, len(kind))  # classes 2i and 2i + 1 are near
    items = Items(len(labels), labels=labels)
    groups = regrouped("hierarchical(per_class=4, groups=2)", items, vectors, 16, seed=0, epoch=0)
    of_class = {int(label): set(groups[labels == label].tolist()) for label in np.unique(labels)}
    assert all(len(found) == 1 for found in of_class.values())
    near = [of_class[a] == of_class[b] for a, b in combinations(range(8), 2) if a // 2 == b // 2]
    assert sum(near) == 4


@pytest.mark.parametrize(
    "text",
    [
        "apart(every=0)",
        "clustered(size=0)",
        "clustered(every=0)",
        "hierarchical(per_class=1)",
        "hierarchical(per_class=9)",
    ],
)
def test_senseless_settings_of_live_samplers_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="at least 1"):
        epoch_batches(bind("sampler", text), Items(8, labels=np.arange(8) % 2), 8, seed=0, epoch=0)


def test_a_model_without_embeddings_refuses_them(tiny: Path) -> None:
    with pytest.raises(UserError, match="cross-encoder"):
        train(pairs(12), base=f"cross:{tiny}", sampler="clustered", dev=False, max_steps=1)


@pytest.mark.parametrize("kind", ["apart", "hierarchical", "negatives"])
def test_a_run_whose_batches_are_made_anew_resumes_exactly(kind: str, tmp_path: Path) -> None:
    data = labelled(48, 8) if kind == "hierarchical" else pairs(48)
    samplers = {"apart": "apart", "hierarchical": "hierarchical(per_class=2)"}
    sampler = samplers.get(kind, "clustered(size=2)")
    given = {"sampler": sampler, "dev": False, "epochs": 3, "batch_size": 8, "dimension": 8, "save_steps": 1}
    if kind == "negatives":
        given["negatives"] = "hard(depth=4)"
    texts = data["text"] if isinstance(data, dict) else [query for query, _ in data]
    whole = train(data, output=tmp_path / "whole", **given).encoder.encode(texts)
    plain = train(data, **{**given, "sampler": "shuffle"}).encoder.encode(texts)
    assert not np.array_equal(whole, plain)
    with interrupted_after(9):
        train(data, output=tmp_path / "cut", **given)
    resumed = train(data, output=tmp_path / "cut", **given).encoder.encode(texts)
    assert np.array_equal(whole, resumed)
    assert torch.isfinite(torch.from_numpy(resumed)).all()
