"""Geometry of embeddings against closed forms, brute force and data of known dimension."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist, pdist

from similis.errors import UserError
from similis.evaluation import evaluate_embeddings
from similis.metrics import parse

RNG = np.random.default_rng(0)
CLOUD = RNG.standard_normal((120, 6)) * [5, 3, 2, 1, 1, 0.2] + 1.0
UNIT = CLOUD / np.linalg.norm(CLOUD, axis=1, keepdims=True)


def value(name: str, *data: Any) -> float:
    return float(parse(name).compute(*data))


def rotated(vectors: np.ndarray) -> np.ndarray:
    return vectors @ np.linalg.qr(RNG.standard_normal((vectors.shape[1],) * 2))[0]


def test_rankme_is_the_entropy_of_the_singular_values() -> None:
    assert value("RankMe", np.eye(7)) == pytest.approx(7.0, abs=1e-4)
    assert value("RankMe", np.outer(np.arange(1, 9), np.ones(5))) == pytest.approx(1.0, abs=1e-4)
    singular = np.sqrt(np.linalg.eigvalsh(CLOUD.T @ CLOUD))
    assert value("RankMe", CLOUD) == pytest.approx(np.exp(stats.entropy(singular / singular.sum())), abs=1e-4)


def test_stable_rank_and_first_component_share_follow_from_the_covariance() -> None:
    spectrum = np.linalg.eigvalsh(np.cov(CLOUD.T))
    assert value("StableRank", CLOUD) == pytest.approx(spectrum.sum() / spectrum[-1])
    assert value("PC1", CLOUD) == pytest.approx(spectrum[-1] / spectrum.sum())


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.3])
def test_alpha_is_the_exponent_of_a_power_law(alpha: float) -> None:
    basis = np.linalg.qr(RNG.standard_normal((200, 80)) - 0.0)[0]
    basis = np.linalg.qr(basis - basis.mean(axis=0))[0]
    vectors = basis * np.arange(1, 81) ** (-alpha / 2.0)
    assert value("alphaReQ", vectors) == pytest.approx(alpha, abs=1e-6)


def test_isoscore_is_one_for_a_ball_zero_for_a_line_and_the_share_of_directions_between() -> None:
    cross = np.concatenate([np.eye(9), -np.eye(9)])
    assert value("IsoScore", cross) == pytest.approx(1.0)
    assert value("IsoScore", np.outer(RNG.standard_normal(30), np.ones(9))) == pytest.approx(0.0, abs=1e-9)
    for k in (2, 5):  # k of d directions used evenly: (k - 1) / (d - 1), as the paper states
        assert value("IsoScore", cross * (np.arange(9) < k)) == pytest.approx((k - 1) / 8)
    assert value("IsoScore", rotated(CLOUD)) == pytest.approx(value("IsoScore", CLOUD))


def test_mean_cosine_and_uniformity_equal_the_loop_over_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert value("MeanCosine", CLOUD) == pytest.approx(1.0 - pdist(CLOUD, "cosine").mean())
    expected = np.log(np.mean(np.exp(-2.0 * pdist(UNIT) ** 2)))
    assert value("Uniformity", CLOUD) == pytest.approx(expected)
    monkeypatch.setattr("similis.metrics.geometry.sphere._BLOCK", 500)
    assert value("Uniformity", CLOUD) == pytest.approx(expected)
    assert value("Uniformity(t=3.0)", CLOUD) == pytest.approx(np.log(np.mean(np.exp(-3.0 * pdist(UNIT) ** 2))))


def test_alignment_is_the_mean_squared_distance_of_partners() -> None:
    assert value("Alignment", CLOUD, CLOUD) == 0.0
    assert value("Alignment", CLOUD, -CLOUD) == pytest.approx(4.0)
    assert value("Alignment(alpha=1.0)", CLOUD, -CLOUD) == pytest.approx(2.0)


@pytest.mark.parametrize("dimension", [2, 5])
@pytest.mark.parametrize("name", ["TwoNN", "LID"])
def test_the_dimension_of_a_flat_sheet_in_a_larger_space_is_found(name: str, dimension: int) -> None:
    sheet = np.random.default_rng(1).random((1500, dimension))
    vectors = sheet @ np.linalg.qr(np.random.default_rng(2).standard_normal((30, 30)))[0][:dimension]
    assert value(name, vectors) == pytest.approx(dimension, rel=0.12)
    assert value(name, np.concatenate([vectors, vectors[:50]])) == pytest.approx(value(name, vectors))


def test_mle_dimension_equals_its_formula() -> None:
    distances = np.sort(cdist(CLOUD, CLOUD), axis=1)[:, 1:6]
    inverse = [np.mean(np.log(row[-1] / row[:-1])) for row in distances]
    assert value("LID(k=5)", CLOUD) == pytest.approx(1.0 / np.mean(inverse))


def test_hubness_is_the_skewness_of_neighbour_counts() -> None:
    order = np.argsort(cdist(UNIT, UNIT), axis=1)[:, 1:6]
    counts = np.bincount(order.ravel(), minlength=120)
    assert value("Hubness@5", CLOUD) == pytest.approx(stats.skew(counts))


def test_cka_equals_its_kernel_form_and_ignores_rotation_and_scale() -> None:
    other = CLOUD @ RNG.standard_normal((6, 9)) + RNG.standard_normal((120, 9))
    centring = np.eye(120) - 1.0 / 120
    k, m = centring @ CLOUD @ CLOUD.T @ centring, centring @ other @ other.T @ centring
    expected = np.sum(k * m) / np.sqrt(np.sum(k * k) * np.sum(m * m))
    assert value("CKA", CLOUD, other) == pytest.approx(expected)
    assert value("CKA", CLOUD, 3.0 * rotated(CLOUD) + 7.0) == pytest.approx(1.0)


def test_neighbourhood_overlap_equals_sets() -> None:
    other = CLOUD + RNG.standard_normal(CLOUD.shape)
    unit = other / np.linalg.norm(other, axis=1, keepdims=True)
    first, second = (np.argsort(cdist(v, v), axis=1)[:, 1:8] for v in (UNIT, unit))
    sets = [(set(a), set(b)) for a, b in zip(first.tolist(), second.tolist(), strict=True)]
    assert value("MutualKNN@7", CLOUD, other) == pytest.approx(np.mean([len(a & b) / 7 for a, b in sets]))
    assert value("Jaccard@7", CLOUD, other) == pytest.approx(np.mean([len(a & b) / len(a | b) for a, b in sets]))


def test_a_report_of_geometry_has_the_usual_measures() -> None:
    report = evaluate_embeddings(CLOUD)
    assert report["RankMe"].mean == pytest.approx(value("RankMe", CLOUD))
    assert evaluate_embeddings(CLOUD, other=rotated(CLOUD))["CKA"].mean == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("vectors", "metrics", "message"),
    [
        (CLOUD[:2], None, "at least 3 rows"),
        (np.full((4, 2), np.nan), None, "row 1 is not finite"),
        (CLOUD, "CKA", "needs two embeddings of the same items"),
        (CLOUD, "nDCG@10", "needs a ranking"),
        (CLOUD[:5], "Hubness@10", "more than 10 items"),
        (CLOUD[:, :5], "alphaReQ", "no three positive eigenvalues"),
        (CLOUD, "LID(k=2)", "at least 3"),
        (np.ones((5, 2)), "TwoNN", "3 distinct embeddings"),
    ],
)
def test_mistakes_in_embeddings_are_one_sentence(vectors: Any, metrics: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        evaluate_embeddings(vectors, metrics)
