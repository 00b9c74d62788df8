"""Near duplicates agree with brute-force Jaccard similarity."""

from __future__ import annotations

import random

import numpy as np
import pytest

from similis.data import dedupe
from similis.errors import UserError


def shingles(text: str, size: int = 3) -> frozenset[tuple[str, ...]]:
    words = text.casefold().split()
    return frozenset(tuple(words[i : i + size]) for i in range(max(1, len(words) - size + 1)))


def jaccard(a: frozenset[tuple[str, ...]], b: frozenset[tuple[str, ...]]) -> float:
    return len(a & b) / len(a | b)


def family_texts(seed: int, families: int = 60) -> list[str]:
    """Families of texts, each with 0 to 12 words changed, so that similarities cover 0.2 to 1."""
    rng = random.Random(seed)
    words = [f"w{i}" for i in range(3000)]
    texts = []
    for _ in range(families):
        base = rng.choices(words, k=rng.randint(5, 60))
        for _ in range(rng.randint(1, 6)):
            copy = list(base)
            for _ in range(rng.choice((0, 0, 1, 2, 4, 12))):
                copy[rng.randrange(len(copy))] = rng.choice(words)
            texts.append(" ".join(copy).replace("w1", "W1"))
    rng.shuffle(texts)
    return texts


def brute_force(texts: list[str], threshold: float) -> list[int]:
    """The least index of each text's connected component, by comparing all pairs."""
    sets = [shingles(text) for text in texts]
    labels = list(range(len(texts)))
    for i in range(len(texts)):
        for j in range(i):
            if jaccard(sets[i], sets[j]) >= threshold and labels[i] != labels[j]:
                low, high = sorted((labels[i], labels[j]))
                labels = [low if label == high else label for label in labels]
    return labels


@pytest.mark.parametrize("threshold", [0.5, 0.8, 1.0])
def test_near_duplicates_are_the_components_of_brute_force_jaccard(threshold: float) -> None:
    texts = family_texts(seed=1)
    expected = brute_force(texts, threshold)
    assert len(set(expected)) < len(texts) - 15
    assert dedupe.near_duplicates(texts, threshold).tolist() == expected


@pytest.mark.parametrize("threshold", [0.5, 0.8])
def test_overlap_is_that_of_brute_force(threshold: float) -> None:
    texts = family_texts(seed=2)
    train, test = texts[::2], texts[1::2]
    sets = [shingles(t) for t in train]
    expected = [i for i, t in enumerate(test) if any(jaccard(shingles(t), s) >= threshold for s in sets)]
    assert 10 < len(expected) < len(test) - 10
    assert dedupe.overlap(train, test, threshold).tolist() == expected


def test_exact_duplicates_fold_case_and_blanks() -> None:
    assert dedupe.exact_duplicates(["A b", "c", "a\n B ", "C", "d"]).tolist() == [0, 1, 0, 1, 4]


def test_groups_list_members_of_two_or_more() -> None:
    assert dedupe.groups(np.array([0, 1, 0, 3, 1, 0])) == [[0, 2, 5], [1, 4]]


def test_texts_without_blanks_between_words_are_compared_by_characters() -> None:
    a = "日本語の文章はふつう単語の間に空白を置かないので文字ごとに比べることになります"
    labels = dedupe.near_duplicates([a, a.replace("ふつう", "つねに"), "まったく別の内容がここに書いてある文です"], 0.7)
    assert labels.tolist() == [0, 0, 2]


def test_empty_and_single_inputs() -> None:
    assert dedupe.near_duplicates([]).tolist() == []
    assert dedupe.near_duplicates(["one text"]).tolist() == [0]
    assert dedupe.overlap([], ["a b c d"]).tolist() == []
    assert dedupe.overlap(["a b c d"], []).tolist() == []
    assert dedupe.near_duplicates(["...", "...", "!!!"]).tolist() == [0, 0, 2]


def test_a_threshold_out_of_range_is_refused() -> None:
    for threshold in (0.0, 1.1, float("nan")):
        with pytest.raises(UserError, match="threshold"):
            dedupe.near_duplicates(["a", "b"], threshold)


def test_many_texts_with_the_same_boilerplate_stay_apart() -> None:
    rng = random.Random(3)
    boilerplate = " ".join(f"b{i}" for i in range(40))
    texts = [f"{boilerplate} {' '.join(f'w{rng.randrange(10**6)}' for _ in range(40))}" for _ in range(400)]
    assert len(set(dedupe.near_duplicates(texts, 0.8).tolist())) == 400
