"""Exact search against a full sort, and reductions against the definitions of their similarities."""

from __future__ import annotations

import subprocess
import sys

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from index_samples import clustered, ranked

from similis.errors import UserError
from similis.indexes import ExactIndex
from similis.indexes import exact as exact_module
from similis.indexes.exact import best, longest
from similis.indexes.reduction import REDUCTIONS, reduction


def _definition(name: str, queries: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """``[q, n]`` scores in double precision, written out pair by pair."""
    q, k = queries.astype(np.float64)[:, None], keys.astype(np.float64)[None]
    if name == "cosine":
        return (q * k).sum(-1) / (np.linalg.norm(q, axis=-1) * np.linalg.norm(k, axis=-1))
    if name == "dot":
        return (q * k).sum(-1)
    if name == "euclidean":
        return -np.linalg.norm(q - k, axis=-1)
    return -(q - k).var(-1) / q.var(-1)


@pytest.mark.parametrize("count", [1, 3, 40, 300])
@pytest.mark.parametrize("k", [1, 10, 137])
def test_finds_what_a_full_sort_finds_whatever_the_batch(count: int, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact_module, "SCORES", 1 << 16)  # many blocks
    keys, queries = clustered(5000, 24), clustered(count, 24, seed=1)
    scores, positions = ExactIndex(keys).search(queries, k)
    truth = queries.astype(np.float64) @ keys.astype(np.float64).T
    # In double precision no two of these scores are closer than float32 can tell apart only by chance of order.
    np.testing.assert_allclose(scores, -np.sort(-truth, axis=1)[:, :k], atol=2e-7)
    np.testing.assert_allclose(np.take_along_axis(truth, positions, 1), scores, atol=2e-7)
    assert all(len(set(row)) == k for row in positions.tolist())


def test_agrees_with_faiss_flat() -> None:
    keys, queries = clustered(3000, 32), clustered(20, 32, seed=2)
    flat = faiss.IndexFlatIP(32)
    flat.add(keys)
    theirs, their_positions = flat.search(queries, 10)
    scores, positions = ExactIndex(keys).search(queries, 10)
    np.testing.assert_allclose(scores, theirs, atol=1e-6)
    assert (positions == their_positions).mean() > 0.999


@pytest.mark.parametrize("count", [1, 9, 64])
def test_equal_vectors_tie_and_the_lower_position_comes_first(count: int) -> None:
    unique = clustered(400, 48)
    keys = np.concatenate([unique, unique[::-1], unique])
    scores, positions = ExactIndex(keys).search(clustered(count, 48, seed=5), 30)
    for row_scores, row in zip(scores, positions, strict=True):
        assert (np.diff(row_scores) <= 0).all()
        for a, b, first, second in zip(row_scores, row_scores[1:], row, row[1:], strict=False):
            assert a > b or first < second
        # Each of the first ten documents comes with both its copies, bit for bit the same score.
        originals = [p if p < 400 else 799 - p if p < 800 else p - 800 for p in row.tolist()]
        assert all(originals.count(original) == 3 for original in originals)


@pytest.mark.parametrize("name", ["cosine", "euclidean"])
@pytest.mark.parametrize("spare", [0, 1000])
def test_products_in_bf16_change_no_bit_of_the_result(name: str, spare: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    near = clustered(60, 40)
    # Fifty copies of each vector within what bf16 can tell apart, and some exactly equal.
    keys = np.concatenate([near + rng.normal(0, 1e-4, near.shape).astype(np.float32) for _ in range(50)] + [near, near])
    similarity = reduction(name)
    mapped, queries = similarity.key(keys), similarity.query(clustered(130, 40, seed=3))
    monkeypatch.setattr(exact_module, "SCORES", 1 << 16)
    monkeypatch.setattr(exact_module, "SPARE", spare)
    results = []
    for half in (False, True):
        monkeypatch.setattr(exact_module, "usable", lambda *_, half=half: half)
        index = ExactIndex(mapped)
        results.append([index.search(queries, k, similarity.score) for k in (1, 10, 70)])
        assert (index._half is not None) is half
    for plain, rounded in zip(*results, strict=True):
        np.testing.assert_array_equal(plain[1], rounded[1])
        np.testing.assert_array_equal(plain[0], rounded[0])


def test_a_zero_query_gives_the_first_documents() -> None:
    scores, positions = ExactIndex(clustered(9000, 8)).search(np.zeros((20, 8), np.float32), 5)
    assert (positions == np.arange(5)).all()
    assert not scores.any()


def test_k_beyond_the_number_of_documents_gives_all_of_them() -> None:
    scores, positions = ExactIndex(clustered(7, 8)).search(clustered(2, 8, seed=1), 50)
    assert scores.shape == positions.shape == (2, 7)
    assert (np.sort(positions, 1) == np.arange(7)).all()


def test_reads_a_memory_map(tmp_path: object) -> None:
    keys = clustered(2000, 16)
    path = f"{tmp_path}/keys.npy"
    np.save(path, keys)
    mapped = np.load(path, mmap_mode="r")
    queries = clustered(30, 16, seed=3)
    assert (ExactIndex(mapped).search(queries, 5)[1] == ExactIndex(keys).search(queries, 5)[1]).all()


@given(
    st.lists(st.integers(-3, 3), min_size=1, max_size=400),
    st.integers(1, 40),
    st.sampled_from([-np.inf, 0.0, 1.5]),
)
@settings(max_examples=200, deadline=None)
def test_best_is_a_stable_sort(values: list[int], k: int, above: float) -> None:
    scores = np.array(values, np.float32)
    order = np.argsort(-scores, kind="stable")
    assert best(scores, k, above).tolist() == order[scores[order] > above][:k].tolist()


def test_longest_is_the_largest_norm() -> None:
    keys = np.random.default_rng(0).standard_normal((500, 9)).astype(np.float32)
    assert longest(keys) == pytest.approx(np.linalg.norm(keys, axis=1).max(), rel=1e-6)


@pytest.mark.parametrize("name", sorted(REDUCTIONS))
@pytest.mark.parametrize("count", [2, 20])
def test_order_from_the_reduction_is_the_order_of_the_definition(name: str, count: int) -> None:
    rng = np.random.default_rng(11)
    keys = rng.standard_normal((600, 20)).astype(np.float32) * rng.uniform(0.2, 3, (600, 1)).astype(np.float32)
    queries = rng.standard_normal((count, 20)).astype(np.float32)
    similarity = reduction(name)
    index = ExactIndex(similarity.key(keys))
    scores, positions = index.search(similarity.query(queries), 25, similarity.score)
    truth = _definition(name, queries, keys)
    assert (positions == ranked(truth, 25)).all()
    np.testing.assert_allclose(scores, np.take_along_axis(truth, positions, 1), rtol=2e-5, atol=1e-6)


def test_a_distance_between_nearly_equal_vectors_far_from_the_origin_keeps_its_digits() -> None:
    rng = np.random.default_rng(4)
    base = (1000 + rng.standard_normal((200, 12))).astype(np.float32)
    similarity = reduction("euclidean")
    scores, positions = ExactIndex(similarity.key(base)).search(similarity.query(base[:5]), 1, similarity.score)
    assert positions[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert (scores == 0).all()


def test_zero_vectors_have_cosine_zero_not_nan() -> None:
    similarity = reduction("cosine")
    keys = similarity.key(np.array([[0, 0], [3, 4]], np.float32))
    scores, positions = ExactIndex(keys).search(similarity.query(np.array([[1, 0]], np.float32)), 2, similarity.score)
    assert positions.tolist() == [[1, 0]]
    np.testing.assert_allclose(scores, [[0.6, 0.0]], atol=1e-7)


def test_an_unknown_similarity_is_named_with_a_suggestion() -> None:
    with pytest.raises(UserError, match="did you mean 'euclidean'"):
        reduction("euclidian")


def test_searching_loads_neither_torch_nor_bm25s_nor_faiss() -> None:
    code = (
        "import sys, numpy as np\n"
        "from similis.indexes import ExactIndex, LexicalRetriever\n"
        "ExactIndex(np.eye(4, dtype=np.float32)).search(np.eye(4, dtype=np.float32), 2)\n"
        "print([m for m in ('torch', 'sentence_transformers', 'bm25s', 'numba', 'faiss', 'scipy') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
