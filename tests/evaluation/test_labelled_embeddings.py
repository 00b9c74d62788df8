"""Labelled embeddings against pytorch-metric-learning, scikit-learn and plain loops."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN

from similis.errors import UserError
from similis.evaluation import compare_reports
from similis.evaluation.labels import evaluate_labels


def blobs(n: int = 150, classes: int = 8, spread: float = 1.2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, n, p=np.arange(1, classes + 1) / sum(range(1, classes + 1)))
    return (rng.standard_normal((classes, 6))[labels] + spread * rng.standard_normal((n, 6))).astype("f4"), labels


@pytest.mark.parametrize("seed", [0, 1])
def test_rankings_equal_pytorch_metric_learning(seed: int) -> None:
    vectors, labels = blobs(seed=seed)
    vectors[-1], labels[-1] = 0.0, 99  # an item alone in its class
    theirs = AccuracyCalculator(
        include=("precision_at_1", "r_precision", "mean_average_precision_at_r", "mean_reciprocal_rank"),
        k="max_bin_count",
        knn_func=CustomKNN(LpDistance(normalize_embeddings=False)),
    ).get_accuracy(torch.tensor(vectors), torch.tensor(labels))
    ours = evaluate_labels(vectors, labels, "R@1,P@1,Rprec,MAP@R", similarity="euclidean", resamples=100)
    assert ours["R@1"].mean == pytest.approx(theirs["precision_at_1"], abs=1e-6)
    assert ours["P@1"].mean == pytest.approx(theirs["precision_at_1"], abs=1e-6)
    assert ours["Rprec"].mean == pytest.approx(theirs["r_precision"], abs=1e-6)
    assert ours["MAP@R"].mean == pytest.approx(theirs["mean_average_precision_at_r"], abs=1e-6)
    assert ours.excluded == ("149",)
    assert ours["R@1"].n == 149


@pytest.mark.parametrize("k", [1, 2, 5, 100])
def test_knn_accuracy_equals_voting_by_hand(k: int) -> None:
    vectors, labels = blobs()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    right = []
    for i, row in enumerate(unit @ unit.T):
        near = [int(labels[j]) for j in np.argsort(-row) if j != i][:k]
        right.append(collections.Counter(near).most_common(1)[0][0] == labels[i])  # ties: first met, the nearest
    assert evaluate_labels(vectors, labels, f"kNN@{k}", resamples=0)[f"kNN@{k}"].mean == pytest.approx(np.mean(right))


def test_recall_at_k_is_metric_learnings_and_it_is_said() -> None:
    vectors, labels = blobs()
    report = evaluate_labels(vectors, labels, "R@4,HitRate@4", resamples=0)
    assert report["R@4"].mean == report["HitRate@4"].mean
    assert "metric learning" in " ".join(report.notes)


def test_clusters_of_separate_classes_are_the_classes_and_of_noise_are_not() -> None:
    vectors, labels = blobs(spread=0.01)
    apart = evaluate_labels(vectors, labels, "NMI,AMI")
    noise = evaluate_labels(np.random.default_rng(0).standard_normal((150, 6)), labels, "NMI,AMI")
    assert apart["NMI"].mean == pytest.approx(1.0)
    assert apart["AMI"].mean == pytest.approx(1.0)
    assert abs(noise["AMI"].mean) < 0.1 < noise["NMI"].mean


def test_reports_of_labels_can_be_compared_item_by_item() -> None:
    (tight, labels), (loose, _) = blobs(spread=0.8), blobs(spread=3.0)
    result = compare_reports(evaluate_labels(tight, labels, "MAP@R"), evaluate_labels(loose, labels, "MAP@R"), "MAP@R")
    assert result.better == "first"


@pytest.mark.parametrize(
    ("vectors", "labels", "message"),
    [
        (np.zeros((2, 3)), [0], r"shape \[1, d\]"),
        (np.zeros((2, 3)), [0, 0], "at least two classes"),
        (np.zeros((2, 3)), [0, 1], "no class has two items"),
        (np.array([[1.0], [np.nan], [1.0]]), [0, 0, 1], "row 2 is not finite"),
    ],
)
def test_mistakes_in_labels_are_one_sentence(vectors: Any, labels: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        evaluate_labels(vectors, labels)
