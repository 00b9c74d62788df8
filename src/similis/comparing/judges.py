"""Judges: what a trained encoder, or any retriever, is worth on rows that nobody learnt from."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from similis.comparing.material import Material
from similis.data.dataset import Dataset
from similis.errors import UserError
from similis.evaluation import evaluate_labels, evaluate_run, evaluate_scores
from similis.indexes.pairs import pair_scores, retriever_of
from similis.indexes.reduction import reduction
from similis.metrics.parsing import parse_all
from similis.training.rows.columns import examples_of
from similis.training.rows.examples import TextTable

#: Measures by kind of judge; systems are compared by the first.
USUAL: dict[str, tuple[str, ...]] = {
    "ranking": ("nDCG@10", "MRR@10", "Recall@100"),
    "labels": ("MAP@R", "Recall@1", "kNN@5"),
    "scored": ("Spearman", "Pearson"),
    "labeled_pairs": ("PairAP", "BestF1", "ROC-AUC"),
}
_SHOWN = 3
_TIMED = 200


@dataclass(frozen=True)
class Judged:
    """What one system is worth.

    Attributes:
        mean: of the first measure.
        values: its value for each query, in the judge's order; for a correlation each pair's share of it; None for
            other statistics of all pairs.
        scores: of each pair, where pairs are judged.
        metrics: all measures.
        ms_per_query: to encode and search one query (to score one pair), in milliseconds.
        bytes_per_item: what an index keeps of one item.
        dimension: of the vectors, None where there are none.
    """

    mean: float
    values: list[float] | None
    scores: list[float] | None
    metrics: dict[str, float]
    ms_per_query: float
    bytes_per_item: float | None
    dimension: int | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Judge(Protocol):
    """Held-out rows and the measures taken on them.

    Attributes:
        metrics: as text, the first decides.
        queries: the text of each query, item or pair.
        whole: whether the first measure is a statistic of all rows, without a value for each.
        gold: of each pair; None where no pairs are judged.
    """

    metrics: tuple[str, ...]
    queries: list[str]
    whole: bool

    @property
    def gold(self) -> npt.NDArray[np.float64] | None: ...

    def judge(self, system: Any) -> Judged: ...

    def found(self, system: Any, rows: Sequence[int]) -> list[list[str]]:
        """The first texts that a system finds for some queries."""
        ...

    def right(self, row: int) -> list[str]:
        """What would be right for a query."""
        ...


def judge_of(material: Material, part: Dataset, metrics: Sequence[str] | None = None) -> Judge:
    """The judge that the supervision calls for.

    Raises:
        UserError: an unknown measure, or one that these data cannot give.
    """
    if material.supervision in ("pairs", "triplets"):
        return RankingJudge(material, part, _chosen(metrics, "ranking", ["ranking"]))
    if material.supervision == "labels":
        return LabelsJudge(part, _chosen(metrics, "labels", ["ranking", "labels"]))
    return PairsJudge(part, _chosen(metrics, material.supervision, ["scores"]))


def _chosen(metrics: Sequence[str] | None, kind: str, needs: list[Any]) -> tuple[str, ...]:
    return tuple(str(metric) for metric in parse_all(metrics or USUAL[kind], needs))


class RankingJudge:
    """Queries among documents: the corpus of the data, or all distinct positives of all parts."""

    whole = False
    gold = None

    def __init__(self, material: Material, part: Dataset, metrics: tuple[str, ...]) -> None:
        self.metrics = metrics
        self.ids, self.texts = material.corpus or _all_positives(material)
        place = {text: name for name, text in zip(self.ids, self.texts, strict=True)}
        names: dict[str, str] = {}
        self.qrels: dict[str, dict[str, float]] = {}
        grades = part.rows.get("score") or [1.0] * len(part)
        keys = part.rows.get("id") or [place[text] for text in part.column("positive")]
        for text, key, grade in zip(part.column("anchor"), keys, grades, strict=True):
            name = names.setdefault(text, f"q{len(names):06d}")
            self.qrels.setdefault(name, {})[key] = float(grade)
        self.names, self.queries = list(names.values()), list(names)
        self._text = dict(zip(self.ids, self.texts, strict=True))

    def search(self, system: Any, queries: Sequence[str], k: int) -> Any:
        """The hits of an encoder, or of anything with ``search``."""
        return self._retriever(system).search(queries, k)

    def judge(self, system: Any) -> Judged:
        retriever = self._retriever(system)
        depth = max(metric.depth or 1000 for metric in parse_all(self.metrics, ["ranking"]))
        started = time.perf_counter()
        hits = retriever.search(self.queries, min(depth, len(self.ids)))
        spent = time.perf_counter() - started
        report = evaluate_run(hits.run(self.names), self.qrels, self.metrics, resamples=0)
        values = report[self.metrics[0]].per_query
        without = next((text for text, name in zip(self.queries, self.names, strict=True) if name not in values), None)
        if without is not None:
            raise UserError(
                f"{self.metrics[0]} has no value for the query {without!r}, so systems are not compared by it"
            )
        return Judged(
            report[self.metrics[0]].mean,
            [values[name] for name in self.names],
            None,
            {name: score.mean for name, score in report.metrics.items()},
            1000 * spent / len(self.queries),
            _bytes_per_item(retriever, len(self.ids)),
            getattr(system, "dimension", None),
        )

    def found(self, system: Any, rows: Sequence[int]) -> list[list[str]]:
        hits = self.search(system, [self.queries[row] for row in rows], _SHOWN)
        return [[self._text[name] for name in hit.ids] for hit in hits]

    def right(self, row: int) -> list[str]:
        judged = self.qrels[self.names[row]]
        return [self._text[name] for name in sorted(judged, key=lambda name: -judged[name])][:_SHOWN]

    def _retriever(self, system: Any) -> Any:
        return system if hasattr(system, "search") else retriever_of(system, self.ids, self.texts)


class LabelsJudge:
    """Labelled texts: each among the others."""

    gold = None

    def __init__(self, part: Dataset, metrics: tuple[str, ...]) -> None:
        self.metrics = metrics
        self.labels = [str(label) for label in part.column("label")]
        self.texts = list(part.column("text"))
        counts = {label: self.labels.count(label) for label in set(self.labels)}
        if max(counts.values()) < 2 or len(counts) < 2:
            raise UserError(f"{part.path}: {len(self.labels)} rows of a held-out part hold no two items of one class")
        self.rows = [row for row, label in enumerate(self.labels) if counts[label] > 1]
        self.queries = [self.texts[row] for row in self.rows]
        probe = np.random.default_rng(0).standard_normal((len(self.labels), 2)).astype(np.float32)
        report = evaluate_labels(probe, self.labels, self.metrics[:1], resamples=0)
        if len(report[self.metrics[0]].values) != len(self.rows):
            raise UserError(
                f"{self.metrics[0]} has no value for a single item, so systems cannot be told apart by it; "
                "name one that has first, such as MAP@R or Recall@1"
            )
        self.whole = False

    def judge(self, system: Any) -> Judged:
        vectors = system.encode(self.texts)
        report = evaluate_labels(vectors, self.labels, self.metrics, similarity=system.similarity_name, resamples=0)
        return Judged(
            report[self.metrics[0]].mean,
            np.asarray(report[self.metrics[0]].values).tolist(),
            None,
            {name: score.mean for name, score in report.metrics.items()},
            _ms_of_one(system, self.texts),
            4.0 * vectors.shape[1],
            int(vectors.shape[1]),
        )

    def found(self, system: Any, rows: Sequence[int]) -> list[list[str]]:
        chosen = reduction(system.similarity_name)
        vectors = system.encode(self.texts)
        keys, queries = chosen.key(vectors), chosen.query(vectors[[self.rows[row] for row in rows]])
        scores = np.asarray(queries @ keys.T)
        scores[np.arange(len(rows)), [self.rows[row] for row in rows]] = -np.inf
        nearest = np.argsort(-scores, axis=1, kind="stable")[:, :_SHOWN]
        return [[f"{self.labels[i]}: {self.texts[i]}" for i in row] for row in nearest.tolist()]

    def right(self, row: int) -> list[str]:
        return [self.labels[self.rows[row]]]


class PairsJudge:
    """Pairs of texts with a score or a label of same and different."""

    whole = True

    def __init__(self, part: Dataset, metrics: tuple[str, ...]) -> None:
        self.metrics = metrics
        self.first, self.second = list(part.column("sentence1")), list(part.column("sentence2"))
        examples = examples_of(part, TextTable())
        assert examples.scores is not None
        self.gold: npt.NDArray[np.float64] = np.asarray(examples.scores, np.float64)
        self.queries = [f"{a} / {b}" for a, b in zip(self.first, self.second, strict=True)]

    def judge(self, system: Any) -> Judged:
        scores, spent, dimension = self._scores(system)
        report = evaluate_scores(scores, self.gold, self.metrics, resamples=0)
        return Judged(
            report[self.metrics[0]].mean,
            shares(self.metrics[0], scores, self.gold),
            scores.tolist(),
            {name: score.mean for name, score in report.metrics.items()},
            spent,
            4.0 * dimension,
            dimension,
        )

    def _scores(self, system: Any) -> tuple[npt.NDArray[np.float64], float, int]:
        started = time.perf_counter()
        scores = np.asarray(pair_scores(system, self.first, self.second), np.float64)
        return scores, 1000 * (time.perf_counter() - started) / len(scores), int(system.dimension)

    def found(self, system: Any, rows: Sequence[int]) -> list[list[str]]:
        scores, _, _ = self._scores(system)
        place = percentiles(scores)
        return [[f"similarity {scores[row]:.2f}, above {place[row]:.0%} of the pairs"] for row in rows]

    def right(self, row: int) -> list[str]:
        return [f"gold {self.gold[row]:g}, above {percentiles(self.gold)[row]:.0%} of the pairs"]


def percentiles(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The share of values below each of ``[n]``, ties in the middle, 0..1."""
    from scipy.stats import rankdata

    return np.asarray((rankdata(values) - 0.5) / len(values), np.float64)


def shares(metric: str, scores: npt.NDArray[np.float64], gold: npt.NDArray[np.float64]) -> list[float] | None:
    """Each pair's share of a correlation ``[n]``; their mean is the correlation. None for other measures."""
    if metric not in ("Spearman", "Pearson"):
        return None
    both = [percentiles(scores), percentiles(gold)] if metric == "Spearman" else [scores, gold]
    first, second = ((values - values.mean()) / values.std() for values in both)
    return list((first * second).tolist())


def _all_positives(material: Material) -> tuple[list[str], list[str]]:
    parts = (material.test, material.dev, material.train)
    texts = list(dict.fromkeys(text for part in parts for text in part.column("positive")))
    return [f"d{i:07d}" for i in range(len(texts))], texts


def _bytes_per_item(retriever: Any, items: int) -> float | None:
    """What the index keeps: vectors, or postings."""
    postings = getattr(retriever, "postings", None)
    if postings is not None:
        return float((postings.data.nbytes + postings.indices.nbytes + postings.indptr.nbytes) / items)
    return float(np.asarray(retriever.index.vectors).nbytes / items)


def _ms_of_one(system: Any, texts: Sequence[str]) -> float:
    """Milliseconds to encode one text, in a batch."""
    some = list(texts[:_TIMED])
    started = time.perf_counter()
    system.encode(some)
    return 1000 * (time.perf_counter() - started) / len(some)
