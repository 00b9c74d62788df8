"""Dev sets of models that read pairs: candidates in the order of their scores, or the scores of held-out pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from similis.similarity import Similarity
from similis.training.rows.examples import Examples, Integers
from similis.training.running.dev import DevSet, Embed, agreement

#: Queries that are judged, and pairs made of labelled texts: a pair costs a pass of the model.
_QUERIES, _PAIRS = 100, 800


@dataclass(frozen=True, eq=False)
class CandidatesDev:
    """nDCG@10 of dev queries, each among its own candidates, with binary gains.

    Attributes:
        queries: text codes ``[Q]``.
        candidates: text codes ``[Q, C]``, -1 where a query has fewer.
        relevant: ``[Q, C]`` True for positives.
    """

    queries: Integers
    candidates: Integers
    relevant: NDArray[np.bool_]
    metric: str = "nDCG@10"

    def value(self, embed: Embed, similarity: Similarity) -> float:
        """As :class:`~.dev.DevSet`; ``embed`` gives the scores ``[n, C]`` of queries with lists."""
        scores = cast(Any, embed)(self.queries, self.candidates)
        scores = scores.masked_fill(torch.from_numpy(self.candidates < 0).to(scores.device), float("-inf"))
        # candidates come in no order of merit, so ties help nobody
        order = scores.argsort(dim=-1, descending=True, stable=True).cpu().numpy()[:, :10]
        discounts = 1 / np.log2(np.arange(2, order.shape[1] + 2))
        gains = np.take_along_axis(self.relevant, order, 1) @ discounts
        ideal = np.append(0, np.cumsum(discounts))[np.minimum(self.relevant.sum(1), order.shape[1])]
        return float((gains / ideal).mean())


@dataclass(frozen=True, eq=False)
class PairScoresDev:
    """Held-out pairs with grades; as :class:`~similis.training.running.dev.PairsDev`, of scores."""

    first: Integers
    second: Integers
    grades: NDArray[np.float32]
    metric: str

    def value(self, embed: Embed, similarity: Similarity) -> float:
        scores = cast(Any, embed)(self.first, self.second[:, None])[:, 0]
        return agreement(scores.float().cpu().numpy(), self.grades, self.metric)


def cross_dev_set(dev: Examples, train: Examples, most: int, documents: Integers) -> DevSet:
    """The dev set of held-out examples for a model that reads pairs.

    Args:
        dev: held-out examples; their texts are in the same table as those of ``train``.
        train: its keys may be candidates.
        most: candidates a query, its positives and given negatives among them.
        documents: text codes of further documents that are searched.
    """
    if dev.scores is not None:
        assert dev.keys is not None
        metric = "average precision" if dev.supervision == "labeled_pairs" else "spearman"
        return PairScoresDev(dev.queries, dev.keys, dev.scores, metric)
    if dev.labels is not None:
        return _labelled(dev, train)
    return _candidates(dev, train, most, documents)


def _labelled(dev: Examples, train: Examples) -> DevSet:
    """Pairs of a dev text and a training text, half of them of one class where there are as many."""
    assert dev.labels is not None
    assert train.labels is not None
    generator = np.random.default_rng(0)
    own = generator.integers(len(dev), size=_PAIRS)
    other = generator.integers(len(train), size=_PAIRS)
    for place in range(0, _PAIRS, 2):
        kin = np.flatnonzero(train.labels == dev.labels[own[place]])
        if len(kin):
            other[place] = generator.choice(kin)
    same = (dev.labels[own] == train.labels[other]).astype(np.float32)
    return PairScoresDev(dev.queries[own], train.queries[other], same, "average precision")


def _candidates(dev: Examples, train: Examples, most: int, documents: Integers) -> CandidatesDev:
    assert dev.keys is not None
    assert train.keys is not None
    folded, texts = dev.table.folded, dev.table.texts
    positives: dict[int, list[int]] = {}
    asked: dict[int, int] = {}
    for row, query in enumerate(dev.queries.tolist()):
        name = int(folded[query])
        asked.setdefault(name, query)
        known = positives.setdefault(name, [])
        if folded[dev.keys[row]] not in folded[known]:
            known.append(int(dev.keys[row]))
    names = list(asked)[:: max(1, -(-len(asked) // _QUERIES))]
    queries = np.array([asked[name] for name in names], np.int64)
    found = _by_words([texts[code] for code in queries], np.concatenate([dev.keys, train.keys, documents]), dev, most)
    candidates = np.full((len(names), most), -1, np.int64)
    relevant = np.zeros(candidates.shape, bool)
    generator = np.random.default_rng(0)
    for row, (name, near) in enumerate(zip(names, found, strict=True)):
        own = positives[name][: max(1, most // 2)]
        out = {name, *folded[positives[name]].tolist()}
        both = [(code, True) for code in own] + [(code, False) for code in near if folded[code] not in out]
        both = [both[place] for place in generator.permutation(min(most, len(both)))]
        candidates[row, : len(both)] = [code for code, _ in both]
        relevant[row, : len(both)] = [good for _, good in both]
    return CandidatesDev(queries, candidates, relevant)


def _by_words(queries: list[str], pool: Integers, dev: Examples, most: int) -> list[list[int]]:
    """For each query the codes of the documents that BM25 puts first, then others at random, ``2 * most`` in all."""
    from similis.indexes import LexicalRetriever

    _, first = np.unique(dev.table.folded[pool], return_index=True)
    pool = pool[np.sort(first)]
    words = LexicalRetriever.build([str(i) for i in range(len(pool))], [dev.table.texts[code] for code in pool])
    generator = np.random.default_rng(0)
    found = []
    for hit in words.search(queries, min(2 * most, len(pool))):
        near = [int(place) for place in hit.ids]
        more = generator.integers(len(pool), size=2 * most - len(near)).tolist()
        found.append(pool[list(dict.fromkeys([*near, *more]))].tolist())
    return found
