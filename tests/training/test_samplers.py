"""Properties of the samplers: every item, the right counts, no repeats, the same for the same seed."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from similis.errors import UserError
from similis.registry import entries
from similis.sampling import Items, epoch_batches

ONCE = ("shuffle", "length_grouped", "no_duplicates", "clustered", "apart")


def items_of(count: int, seed: int, kinds: int) -> Items:
    generator = np.random.default_rng(seed)
    texts = generator.integers(-1, kinds, (count, 3))
    labels, lengths = generator.integers(0, max(2, kinds // 3), count), generator.integers(1, 99, count)
    return Items(count, texts, labels, lengths, groups=generator.integers(0, 1 + kinds // 5, count))


def test_every_sampler_is_covered_here() -> None:
    assert {e.name for e in entries("sampler")} == {*ONCE, "pk", "hierarchical"}


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(ONCE), st.integers(1, 200), st.integers(1, 40), st.integers(0, 9), st.integers(2, 60))
def test_each_item_comes_once_an_epoch(name: str, count: int, size: int, seed: int, kinds: int) -> None:
    batches = epoch_batches(name, items_of(count, seed, kinds), size, seed=seed, epoch=1)
    assert sorted(np.concatenate(batches).tolist()) == list(range(count))
    assert all(1 <= len(batch) <= size for batch in batches)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 150), st.integers(1, 20), st.integers(0, 9), st.integers(2, 80))
def test_no_duplicates_never_repeats_a_text_between_rows(count: int, size: int, seed: int, kinds: int) -> None:
    items = items_of(count, seed, kinds)
    assert items.texts is not None
    for batch in epoch_batches("no_duplicates", items, size, seed=seed, epoch=0):
        seen = Counter(code for row in items.texts[batch].tolist() for code in set(row) - {-1})
        assert max(seen.values(), default=1) == 1


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 12), st.integers(2, 5), st.integers(0, 9))
def test_pk_gives_k_of_every_class_and_every_item(classes: int, per_class: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    sizes = generator.integers(per_class, 30, classes)
    labels = generator.permutation(np.repeat(np.arange(classes), sizes))
    size = per_class * max(2, classes - 1)
    batches = epoch_batches(f"pk(per_class={per_class})", Items(len(labels), labels=labels), size, seed=seed, epoch=3)
    k = max(per_class, size // classes)
    for batch in batches:
        assert set(Counter(labels[batch].tolist()).values()) == {k}
        assert 2 <= len(batch) // k <= size // k
        assert len(set(batch.tolist())) == len(batch)
    drawn = set(np.concatenate(batches).tolist())
    missing = {int(label) for label in labels[sorted(set(range(len(labels))) - drawn)]}
    assert len(missing) <= classes - 1  # only classes whose groups no second class was left to join


def test_pk_draws_every_item_of_balanced_classes() -> None:
    labels = np.repeat(np.arange(20), 10)
    batches = epoch_batches("pk", Items(200, labels=labels), 40, seed=0, epoch=0)
    assert set(np.concatenate(batches).tolist()) == set(range(200))


def test_an_epoch_can_be_drawn_again_and_epochs_differ() -> None:
    items = items_of(100, 0, 30)
    for name in (*ONCE, "pk", "hierarchical"):
        first, again, other = (epoch_batches(name, items, 16, seed=5, epoch=e) for e in (2, 2, 3))
        assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
        assert [b.tolist() for b in first] != [b.tolist() for b in other]


def test_length_grouped_pads_less_than_shuffle() -> None:
    lengths = np.random.default_rng(0).integers(1, 500, 2000)
    items = Items(2000, lengths=lengths)

    def padding(name: str) -> int:
        return sum(int((lengths[b].max() - lengths[b]).sum()) for b in epoch_batches(name, items, 32, seed=0, epoch=0))

    assert padding("length_grouped") < 0.1 * padding("shuffle")


def test_a_sampler_says_what_the_data_lacks() -> None:
    with pytest.raises(UserError, match="needs labels"):
        epoch_batches("pk", Items(9), 4, seed=0, epoch=0)
    with pytest.raises(UserError, match="no_duplicates"):
        epoch_batches("no_duplicate", Items(9), 4, seed=0, epoch=0)
    with pytest.raises(UserError, match="2 to 4 items a class"):
        epoch_batches("pk(per_class=5)", Items(9, labels=np.arange(9)), 8, seed=0, epoch=0)
