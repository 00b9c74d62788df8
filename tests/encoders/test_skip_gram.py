"""Skip-gram vectors: the loss by its definition, what is left out, and the optimum that is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from similis.encoders import create
from similis.encoders.static.init import initial_weights
from similis.encoders.static.skip_gram import _pairs, kept_with, sgns_loss, skip_gram
from similis.encoders.static.tokenized import TokenizedTexts
from similis.errors import UserError


def texts(rows: list[list[int]]) -> TokenizedTexts:
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    return TokenizedTexts(np.concatenate(rows).astype(np.int32), offsets)


def test_the_loss_is_that_of_the_paper() -> None:
    generator = torch.Generator().manual_seed(0)
    centres, contexts, noise = (torch.randn(n, 4, generator=generator, dtype=torch.float64) for n in (3, 3, 7))

    def log_sigma(x: float) -> float:
        return -float(np.log1p(np.exp(-x)))

    expected = 0.0
    for v, u in zip(centres, contexts, strict=True):
        expected -= log_sigma(float(u @ v)) + 5 * np.mean([log_sigma(float(-n @ v)) for n in noise])
    assert float(sgns_loss(centres, contexts, noise, 5)) == pytest.approx(expected / 3)


def test_frequent_tokens_are_left_out_as_the_paper_says() -> None:
    counts = np.array([9000.0, 900.0, 100.0, 0.0])
    expected = [np.sqrt(0.01 / 0.9), np.sqrt(0.01 / 0.09), 1.0, 1.0]
    assert np.allclose(kept_with(counts, 0.01), expected)
    assert np.array_equal(kept_with(counts, 0), np.ones(4))
    ids = np.random.default_rng(0).permutation(np.repeat(np.arange(3), [9000, 900, 100]))
    pairs = np.concatenate(list(_pairs(texts([ids.tolist()]), counts, 1, 0.01, np.random.default_rng(1))))
    seen = np.bincount(pairs[:, 0], minlength=3) / 2
    assert np.allclose(seen, [9000 * expected[0], 900 * expected[1], 100], rtol=0.1)


def test_pairs_are_near_in_one_text_and_rarer_the_farther_they_are() -> None:
    rows = [list(range(k * 20, k * 20 + 20)) for k in range(300)]
    given = texts(rows)
    found = np.concatenate(list(_pairs(given, np.ones(6000), 4, 0, np.random.default_rng(0))))
    assert (found[:, 0] // 20 == found[:, 1] // 20).all()
    distances = np.bincount(np.abs(found[:, 0] - found[:, 1]), minlength=5)[1:5]
    # at distance o a token reaches with probability (window - o + 1) / window, to either side where there is one
    expected = [300 * 2 * (20 - o) * (4 - o + 1) / 4 for o in range(1, 5)]
    assert np.allclose(distances, expected, rtol=0.06)


def test_products_come_to_the_shifted_pointwise_mutual_information() -> None:
    """Levy and Goldberg, "Neural Word Embedding as Implicit Matrix Factorization", 2014, with the noise as it is."""
    generator = np.random.default_rng(0)
    steps = generator.dirichlet(np.ones(4) * 2, 4)
    chain = [0]
    for _ in range(20_000):
        chain.append(int(generator.choice(4, p=steps[chain[-1]])))
    given = texts([chain])
    caught: list[torch.nn.Embedding] = []
    real = torch.nn.Embedding.from_pretrained

    def catch(*args: object, **options: object) -> torch.nn.Embedding:
        caught.append(real(*args, **options))  # type: ignore[arg-type]
        return caught[-1]

    torch.nn.Embedding.from_pretrained = catch  # type: ignore[method-assign, assignment]
    try:
        vectors = skip_gram(given, 4, 4, window=1, negatives=2, sample=0, power=1.0, epochs=20, learning_rate=0.1)
    finally:
        torch.nn.Embedding.from_pretrained = real  # type: ignore[method-assign]
    near = np.zeros((4, 4))
    np.add.at(near, (chain[:-1], chain[1:]), 1)
    near = near + near.T
    share = np.bincount(chain) / len(chain)
    expected = np.log(near / (2 * near.sum(1)[:, None] * share))
    found = vectors @ caught[1].weight.detach().numpy().T
    assert np.abs(found - expected).max() < 0.4
    assert np.abs(found - expected).mean() < 0.15  # without the shift it would be log 2


def test_the_same_seed_gives_the_same_vectors_and_no_texts_leave_the_start() -> None:
    rows = texts([[0, 1, 2, 3], [3, 2, 1, 0]])
    assert np.array_equal(skip_gram(rows, 5, 3, seed=1), skip_gram(rows, 5, 3, seed=1))
    assert not np.array_equal(skip_gram(rows, 5, 3, seed=1), skip_gram(rows, 5, 3, seed=2))
    assert skip_gram(texts([[]]), 5, 3).shape == (5, 3)
    with pytest.raises(UserError, match="at least 1"):
        skip_gram(rows, 5, 3, window=0)


def test_a_static_encoder_starts_from_them() -> None:
    generator = np.random.default_rng(0)
    rows = [(generator.integers(0, 10, 30) + 10 * (k % 2)).tolist() for k in range(400)]
    weights = initial_weights(texts(rows), 8, method="skip_gram", vocabulary=20)
    unit = weights / np.linalg.norm(weights, axis=1, keepdims=True)
    cosines, same = unit @ unit.T, np.arange(20)[:, None] // 10 == np.arange(20) // 10
    assert cosines[same].mean() > cosines[~same].mean() + 0.3
    encoder = create("static", dimension=8, corpus_texts=["one two three"] * 5, initialisation="skip_gram")
    assert encoder.encode(["one"]).shape == (1, 8)


def test_fit_takes_them_where_the_recipe_says_so() -> None:
    from similis.training import train

    rows = [(f"word{k} near", f"word{k} far away of word{k + 1}") for k in range(30)]
    given = {"dimension": 8, "max_steps": 1, "dev": False}
    chosen, usual = (train(rows, initialisation=name, **given).start for name in ("skip_gram", None))  # type: ignore[arg-type]
    assert chosen is not None
    assert usual is not None
    assert not np.allclose(chosen.encode(["word3 far"]), usual.encode(["word3 far"]))
    with pytest.raises(UserError, match="no initialisation 'skipgram'; did you mean 'skip_gram'"):
        train(rows, initialisation="skipgram", **given)  # type: ignore[arg-type]
