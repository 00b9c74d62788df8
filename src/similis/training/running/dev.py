"""Dev sets: one number, higher is better, of held-out examples under the similarity that is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from similis.similarity import Similarity
from similis.similarity.padding import joined
from similis.training.rows.examples import Examples, Integers
from similis.training.running.classes_dev import ClassesDev, new_classes

#: Text codes ``[n]`` → embeddings ``[n, d]``, without a graph; True where the texts are queries.
Embed = Callable[[Integers, bool], Tensor]

_BLOCK = 1 << 22  # scores held at once


class DevSet(Protocol):
    """Held-out examples and the metric they are judged by."""

    @property
    def metric(self) -> str: ...

    def value(self, embed: Embed, similarity: Similarity) -> float: ...


@dataclass(frozen=True, eq=False)
class RetrievalDev:
    """nDCG@10 of dev queries among keys, with binary gains.

    Attributes:
        queries: text codes ``[Q]``.
        keys: text codes ``[K]``.
        relevant: for each query, positions in ``keys``.
    """

    queries: Integers
    keys: Integers
    relevant: list[Integers]
    metric: str = "nDCG@10"

    def value(self, embed: Embed, similarity: Similarity) -> float:
        queries, keys = embed(self.queries, True), embed(self.keys, False)
        depth = min(10, len(self.keys))
        discounts = 1 / np.log2(np.arange(2, depth + 2))
        ideal = np.cumsum(discounts)
        step, gains = max(1, _BLOCK // len(keys)), []
        prepared = similarity.prepare_keys(keys)
        for start in range(0, len(queries), step):
            scores = similarity.score(similarity.prepare_queries(queries[start : start + step]), prepared)
            gains.append(scores.topk(depth, dim=-1).indices.cpu().numpy())
        found = np.concatenate(gains)
        values = [
            discounts[np.isin(row, relevant)].sum() / ideal[min(len(relevant), depth) - 1]
            for row, relevant in zip(found, self.relevant, strict=True)
        ]
        return float(np.mean(values))


@dataclass(frozen=True, eq=False)
class PairsDev:
    """Held-out pairs with grades: Spearman's correlation, or average precision where grades are 0 and 1."""

    first: Integers
    second: Integers
    grades: np.ndarray[tuple[int], np.dtype[np.float32]]
    metric: str

    def value(self, embed: Embed, similarity: Similarity) -> float:
        scores = similarity.paired(embed(self.first, True), embed(self.second, False)).float().cpu().numpy()
        return agreement(scores, self.grades, self.metric)


@dataclass(frozen=True, eq=False)
class LabelsDev:
    """Accuracy of the nearest neighbour's label among reference items."""

    queries: Integers
    labels: Integers
    references: Integers
    reference_labels: Integers
    metric: str = "1-NN accuracy"

    def value(self, embed: Embed, similarity: Similarity) -> float:
        scores = similarity(embed(self.queries, True), embed(self.references, True))
        nearest = scores.argmax(-1).cpu().numpy()
        return float((self.reference_labels[nearest] == self.labels).mean())


def agreement(scores: NDArray[np.float32], grades: NDArray[np.float32], metric: str) -> float:
    """Spearman's correlation of scores ``[n]`` and grades, or the average precision of grades above 0.5."""
    if metric == "spearman":
        from scipy.stats import spearmanr

        value = float(spearmanr(scores, grades).statistic)
        return value if np.isfinite(value) else 0.0  # constant scores order nothing
    order = np.argsort(-scores, kind="stable")
    same = grades[order] > 0.5
    precision = np.cumsum(same) / np.arange(1, len(same) + 1)
    return float(precision[same].mean()) if same.any() else 0.0


def dev_set(dev: Examples, train: Examples, most_keys: int, documents: Integers) -> DevSet:
    """The dev set of held-out examples.

    Args:
        dev: held-out examples; their texts are in the same table as those of ``train``.
        train: its keys are distractors for dev queries, its items the references for labels.
        most_keys: distractors and references taken, spread evenly over the training rows.
        documents: text codes of further documents that are searched too (a corpus).
    """
    if dev.scores is not None:
        assert dev.keys is not None
        metric = "average precision" if dev.supervision == "labeled_pairs" else "spearman"
        return PairsDev(dev.queries, dev.keys, dev.scores, metric)
    if dev.labels is not None:
        assert train.labels is not None
        if new_classes(dev.labels, train.labels):
            return ClassesDev(dev.queries, dev.labels)
        rows = _spread(len(train), most_keys)
        return LabelsDev(dev.queries, dev.labels, train.queries[rows], train.labels[rows])
    assert dev.keys is not None
    assert train.keys is not None
    pool = np.union1d(train.keys, documents)
    return _retrieval(dev, pool[_spread(len(pool), most_keys)])


def _retrieval(dev: Examples, distractors: Integers) -> RetrievalDev:
    assert dev.keys is not None
    folded = dev.table.folded
    given = [dev.keys] if dev.negatives is None else [dev.keys, dev.negatives[dev.negatives >= 0]]
    pool = np.concatenate([*given, distractors])
    _, first = np.unique(folded[pool], return_index=True)
    keys = pool[np.sort(first)]
    place = {int(code): position for position, code in enumerate(folded[keys])}
    queries: dict[int, tuple[int, set[int]]] = {}
    for query, key in zip(dev.queries.tolist(), dev.keys.tolist(), strict=True):
        queries.setdefault(int(folded[query]), (query, set()))[1].add(place[int(folded[key])])
    codes = np.array([query for query, _ in queries.values()], np.int64)
    return RetrievalDev(codes, keys, [np.array(sorted(found), np.int64) for _, found in queries.values()])


def _spread(count: int, most: int) -> Integers:
    """At most ``most`` of ``count`` positions, evenly spread."""
    return np.arange(count) if count <= most else np.linspace(0, count - 1, most).astype(np.int64)


def no_graph(embed: Callable[[Integers, bool], Tensor], block: int) -> Embed:
    """``embed`` in blocks of ``block`` texts without a graph."""

    def blocks(codes: Integers, queries: bool) -> Tensor:
        with torch.no_grad():
            return joined([embed(codes[i : i + block], queries) for i in range(0, len(codes), block)])

    return blocks
