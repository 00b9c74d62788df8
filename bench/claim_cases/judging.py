"""Measures of embeddings by the similarity they were trained for."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from similis.metrics.scored.scored import Scored
from similis.metrics.scored.verification import equal_error_rate
from similis.objective import Objective


def scores_between(objective: Objective, queries: Tensor, keys: Tensor) -> Tensor:
    """``[n, m]`` scores by the objective's similarity."""
    with torch.no_grad():
        made: Tensor = objective.similarity(queries, keys)
    return made


def neighbours(scores: Tensor, labels: Tensor) -> dict[str, float]:
    """Recall@1 and mean average precision of ``[n, n]`` scores, each item searched among the others."""
    others = scores.clone().fill_diagonal_(-float("inf"))
    order = others.argsort(dim=1, descending=True)[:, :-1]
    hit = (labels[order] == labels[:, None]).double()
    ranks = torch.arange(1, hit.shape[1] + 1)
    precision = (hit.cumsum(1) / ranks * hit).sum(1) / hit.sum(1).clamp_min(1)
    return {"recall@1": float(hit[:, 0].mean()), "map": float(precision.mean())}


def knn_accuracy(train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor, k: int = 5) -> Tensor:
    """``[n]`` 1 where the majority of the k nearest training items by cosine has the item's label, else 0."""
    near = (normalize(test, dim=1) @ normalize(train, dim=1).T).topk(k, dim=1).indices
    return (train_labels[near].mode(1).values == test_labels).double()


def paired_ranks(scores: Tensor) -> Tensor:
    """``[n]`` rank from 1 of key i for query i among ``[n, m]`` scores; equal scores count against it."""
    own = scores.diagonal().unsqueeze(1)
    return (scores >= own).sum(1).double()


def verification(scores: Tensor, labels: Tensor, alarms: float = 0.01) -> dict[str, float]:
    """Equal error rate, and the share of true pairs accepted at a false-alarm rate of ``alarms``."""
    pairs = torch.triu_indices(len(labels), len(labels), 1)
    values, same = scores[pairs[0], pairs[1]].double(), labels[pairs[0]] == labels[pairs[1]]
    false = values[~same].sort(descending=True).values
    threshold = false[int(alarms * len(false))]
    judged = Scored(values.numpy(), same.double().numpy())
    eer = equal_error_rate(judged, np.ones((1, len(values))))[0]
    return {"eer": float(eer), "tar@far=1%": float((values[same] > threshold).double().mean())}


def ndcg(scores: Tensor, grades: Tensor, k: int = 10) -> float:
    """Mean nDCG@k of ``[n, m]`` scores with exponential gains of ``grades``."""
    discount = 1 / torch.arange(2, k + 2).double().log2()
    gains = torch.exp2(grades.double()) - 1
    found = gains.gather(1, scores.topk(k, dim=1).indices) @ discount
    best = gains.topk(k, dim=1).values @ discount
    return float((found / best.clamp_min(1e-12)).mean())


def threshold_inconsistency(scores: Tensor, labels: Tensor, thresholds: int = 50) -> float:
    """OPIS: variance across classes of a threshold's utility, averaged over the thresholds of FAR 0.1 to 10 %.

    Source: "Threshold-Consistent Margin Loss for Open-World Deep Metric Learning", Zhang et al., 2024. The utility is
    the harmonic mean of a class's sensitivity (its true pairs accepted) and specificity (its false ones refused).
    """
    off = ~torch.eye(len(labels), dtype=torch.bool)
    same = (labels[:, None] == labels) & off
    false = scores[~same & off].sort(descending=True).values
    chosen = torch.logspace(-3, -1, thresholds)
    levels = false[(chosen * len(false)).long().clamp_max(len(false) - 1)]
    utilities = []
    for label in labels.unique():
        rows = labels == label
        inside, outside = scores[rows][same[rows]], scores[rows][~same[rows] & off[rows]]
        accepted = (inside[None] >= levels[:, None]).double().mean(1)
        refused = (outside[None] < levels[:, None]).double().mean(1)
        utilities.append(2 * accepted * refused / (accepted + refused).clamp_min(1e-12))
    return float(torch.stack(utilities).var(0, unbiased=False).mean())


def variance_ratio(embeddings: Tensor, labels: Tensor) -> float:
    """Variance within classes over that between their means."""
    means = torch.stack([embeddings[labels == c].mean(0) for c in labels.unique()])
    within = torch.stack([embeddings[labels == c].var(0).sum() for c in labels.unique()]).mean()
    return float(within / means.var(0).sum())
