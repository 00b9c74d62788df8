"""4-bit codes with rescoring: recall against exact search, honest scores, every similarity, save and load."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from index_samples import clustered

from similis.errors import UserError
from similis.indexes import ApproximateIndex, ExactIndex, choose
from similis.indexes.approximate import Settings
from similis.indexes.reduction import reduction


@pytest.fixture(scope="module")
def built() -> ApproximateIndex:
    return ApproximateIndex.build(clustered(6000, 32), clustered(120, 32, seed=1), reduction("cosine"))


def _recall(found: np.ndarray, true: np.ndarray) -> float:
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found.tolist(), true.tolist(), strict=True)]))


def test_recall_on_fresh_queries_is_what_was_promised(built: ApproximateIndex) -> None:
    queries = clustered(300, 32, seed=7)
    recall = _recall(built.search(queries, 10)[1], ExactIndex(built.vectors).search(queries, 10)[1])
    assert recall >= 0.985
    assert built.settings.recall >= 0.985
    assert built.settings.queries == 60


def test_scores_are_exact_though_the_candidates_are_not(built: ApproximateIndex) -> None:
    queries = clustered(20, 32, seed=8)
    scores, positions = built.search(queries, 10)
    truth = np.einsum("qd,qkd->qk", queries.astype(np.float64), built.vectors[positions].astype(np.float64))
    np.testing.assert_allclose(scores, truth, atol=1e-6)
    assert (np.diff(scores, axis=1) <= 0).all()


def test_a_deep_search_is_exact(built: ApproximateIndex) -> None:
    queries = clustered(3, 32, seed=9)
    assert (built.search(queries, 4000)[1] == ExactIndex(built.vectors).search(queries, 4000)[1]).all()


def test_saved_and_loaded_it_gives_the_same(built: ApproximateIndex, tmp_path: Path) -> None:
    built.save(tmp_path / "codes")
    again = ApproximateIndex.load(tmp_path / "codes", built.vectors, built.settings, built.squared)
    queries = clustered(30, 32, seed=3)
    assert (again.search(queries, 10)[1] == built.search(queries, 10)[1]).all()


def test_a_damaged_code_file_is_named(built: ApproximateIndex, tmp_path: Path) -> None:
    (tmp_path / "codes").write_bytes(b"not an index at all")
    with pytest.raises(UserError, match=r"codes cannot be read as a faiss index"):
        ApproximateIndex.load(tmp_path / "codes", built.vectors, built.settings, built.squared)
    built.save(tmp_path / "whole")
    with pytest.raises(UserError, match="6000 codes for 10 vectors"):
        ApproximateIndex.load(tmp_path / "whole", built.vectors[:10], built.settings, False)


@pytest.mark.parametrize("name", ["euclidean", "dot"])
def test_other_similarities_and_odd_dimensions_are_found_too(name: str) -> None:
    rng = np.random.default_rng(2)
    similarity = reduction(name)
    stretch = rng.uniform(0.5, 2, (4000, 1)).astype(np.float32)
    keys = similarity.key(clustered(4000, 21) * stretch)
    queries = similarity.query(clustered(80, 21, seed=4))
    made = ApproximateIndex.build(keys, queries, similarity)
    true = ExactIndex(keys).search(queries, 10, similarity.score)
    found = made.search(queries, 10, similarity.score)
    assert _recall(found[1], true[1]) >= 0.97
    same = found[1] == true[1]
    np.testing.assert_array_equal(found[0][same], true[0][same])


def test_lists_are_probed_until_the_recall_is_reached(tmp_path: Path) -> None:
    keys = clustered(4000, 16)
    made = ApproximateIndex.build(keys, clustered(100, 16, seed=1), reduction("cosine"), kind="ivf")
    assert 1 <= made.settings.probes <= made.settings.lists
    assert made.settings.lists == 252
    queries = clustered(100, 16, seed=5)
    assert _recall(made.search(queries, 10)[1], ExactIndex(keys).search(queries, 10)[1]) >= 0.97
    made.save(tmp_path / "codes")
    again = ApproximateIndex.load(tmp_path / "codes", keys, made.settings, False)
    assert (again.search(queries, 10)[1] == made.search(queries, 10)[1]).all()


def test_too_few_probes_give_fewer_hits_marked_as_missing() -> None:
    keys = clustered(4000, 16)
    made = ApproximateIndex.build(keys, clustered(100, 16, seed=1), reduction("cosine"), kind="ivf")
    from similis.indexes.approximate import set_probes

    set_probes(made.codes, 1)
    made.settings = Settings(4, 20, 252, 1, 0.0, 0)
    scores, positions = made.search(clustered(50, 16, seed=2), 100)
    assert (positions == -1).any()
    assert np.isneginf(scores[positions == -1]).all()
    assert np.isfinite(scores[positions >= 0]).all()


@pytest.mark.parametrize(
    ("n", "d", "kind", "chosen"),
    [
        (49_999, 384, "auto", "exact"),
        (50_000, 384, "auto", "pq"),
        (2_000_000, 384, "auto", "ivf"),
        (2_000_000, 8, "auto", "exact"),
        (100, 384, "approximate", "pq"),
        (2_000_000, 384, "exact", "exact"),
    ],
)
def test_kind_goes_by_size(n: int, d: int, kind: str, chosen: str) -> None:
    assert choose(n, d, kind) == chosen


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UserError, match="did you mean 'exact'"):
        choose(10, 10, "exakt")
