"""Hard negatives found by a search among the documents: by the model itself as it learns, or by words."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from similis.errors import UserError
from similis.registry import Source, register
from similis.training.negatives.base import Search, drawn, known, most_positives
from similis.training.rows.examples import Integers

_BLOCK = 1 << 23  # scores held at once


@register(
    "negatives",
    "hard",
    source=Source(
        "Approximate Nearest Neighbor Negative Contrastive Learning for Dense Text Retrieval",
        "Xiong, Xiong, Li, Tang, Liu, Bennett, Ahmed and Overwijk",
        2021,
    ),
    accepts=("pairs", "triplets"),
    family="searched",
)
class Hard:
    """Documents that the model itself ranks high for the query, searched anew as it learns (ANCE).

    ``every=0`` searches once, with the model before training: the static hard negatives of STAR (Zhan, Mao, Liu,
    Guo, Zhang and Ma, "Optimizing Dense Retrieval Model Training with Hard Negatives", 2021). Checked against copies
    of ANCE's published code: negatives are drawn at random from the ``depth`` best that are not known as relevant.
    ``below`` is the positive-aware rule "TopK-PercPos" of NV-Retriever (Moreira, Osmulski, Xu, Ak, Schifferer and
    Oldridge, "NV-Retriever: Improving text embedding models with effective hard-negative mining", 2024), checked in
    quotations, which have 0.95 too: a document that scores above that share of the row's own positive is probably an
    unmarked positive, and left out. A pass over all documents is the cost.

    Args:
        count: negatives a row.
        depth: best documents they are drawn from.
        below: a negative scores at most this share of its row's positive score; 0 takes all. It has a meaning for
            similarities whose scores are above 0 for what belongs together.
        every: epochs between searches; 0: one search, before the first step.
    """

    def __init__(self, count: int = 1, depth: int = 30, below: float = 0.95, every: int = 1) -> None:
        if count < 1 or depth < count or every < 0 or not 0 <= below <= 1:
            raise UserError(
                f"negatives need count of at least 1, depth of at least count, below in 0..1 and every of at least 0, "
                f"not count={count}, depth={depth}, below={below}, every={every}"
            )
        self.count, self.depth, self.below, self.every = count, depth, below, every

    def __call__(self, search: Search) -> Integers:
        examples = search.examples
        assert examples.keys is not None
        queries, row = np.unique(examples.queries, return_inverse=True)
        # room for the positives that are dropped afterwards
        depth = min(self.depth + most_positives(examples), len(search.pool))
        found, scores = _searched(search, queries, depth)
        found, scores = found[row], scores[row]
        allowed = ~known(examples, search.pool[found])
        if self.below:
            own = _paired(search, examples.queries, examples.keys)
            allowed &= scores <= self.below * own[:, None]
        allowed &= np.cumsum(allowed, 1) <= self.depth
        return drawn(search.pool[found], allowed, self.count, search.generator)


@register(
    "negatives",
    "bm25",
    source=Source(
        "Dense Passage Retrieval for Open-Domain Question Answering",
        "Karpukhin, Oguz, Min, Lewis, Wu, Edunov, Chen and Yih",
        2020,
    ),
    accepts=("pairs", "triplets"),
    family="searched",
)
class ByWords:
    """Documents that share words with the query but are not known as relevant: the best of BM25, searched once.

    Args:
        count: negatives a row; the paper takes one.
        depth: best documents they are drawn from.
    """

    every = 0

    def __init__(self, count: int = 1, depth: int = 30) -> None:
        if count < 1 or depth < count:
            raise UserError(f"count must be at least 1 and depth at least count, not count={count}, depth={depth}")
        self.count, self.depth = count, depth

    def __call__(self, search: Search) -> Integers:
        from similis.indexes import LexicalRetriever

        examples, texts = search.examples, search.examples.table.texts
        queries, row = np.unique(examples.queries, return_inverse=True)
        words = LexicalRetriever.build([str(i) for i in range(len(search.pool))], [texts[c] for c in search.pool])
        depth = min(self.depth + most_positives(examples), len(search.pool))
        hits = words.search([texts[code] for code in queries], depth)
        found = np.full((len(queries), depth), -1, np.int64)
        for number, hit in enumerate(hits):
            ranked = [int(each) for each, score in zip(hit.ids, hit.scores, strict=True) if score > 0]
            found[number, : len(ranked)] = ranked
        found = found[row]
        allowed = (found >= 0) & ~known(examples, search.pool[found])
        allowed &= np.cumsum(allowed, 1) <= self.depth
        return drawn(search.pool[found], allowed, self.count, search.generator)


def _searched(search: Search, queries: Integers, depth: int) -> tuple[Integers, np.ndarray[tuple[int, int], np.dtype]]:
    """Positions in the pool and scores of the best for each query, ``[Q, depth]``."""
    keys = search.similarity.prepare_keys(search.embed(search.pool, False))
    embedded = search.embed(queries, True)
    step = max(1, _BLOCK // max(1, len(search.pool)))
    found, scores = [], []
    with torch.no_grad():
        for start in range(0, len(queries), step):
            part = search.similarity.score(search.similarity.prepare_queries(embedded[start : start + step]), keys)
            best = part.topk(depth, dim=-1)
            found.append(best.indices.cpu().numpy())
            scores.append(best.values.float().cpu().numpy())
    return np.concatenate(found), np.concatenate(scores)


def _paired(search: Search, queries: Integers, keys: Integers) -> np.ndarray[tuple[int], np.dtype]:
    """The present score of each row's own pair, ``[n]``."""
    with torch.no_grad():
        scores: Tensor = search.similarity.paired(search.embed(queries, True), search.embed(keys, False))
    return scores.float().cpu().numpy()
