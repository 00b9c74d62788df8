"""Hard negatives found by a search among the documents: by the model itself as it learns, or by words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from similis.errors import UserError
from similis.registry import Source, register
from similis.training.negatives.base import Search, drawn, known, most_positives
from similis.training.rows.examples import Integers
from similis.training.teachers.teaching import Teachers

_BLOCK = 1 << 23  # scores, or coordinates of wide embeddings, held at once
#: Coordinates from which embeddings are held as sparse tensors: more than any dense model has.
_WIDE = 8192

Floats: TypeAlias = NDArray[np.float32]


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
    "guided",
    source=Source(
        "NV-Retriever: Improving text embedding models with effective hard-negative mining",
        "Moreira, Osmulski, Xu, Ak, Schifferer and Oldridge",
        2024,
    ),
    accepts=("pairs", "triplets"),
    family="searched",
)
class Guided:
    """Documents that the present model ranks high for the query, and a better model does not find relevant.

    As ``hard``, but which of the found may be unmarked positives is judged by a guide: a document whose score by the
    guide is above ``below`` of the positive's is left out ("TopK-PercPos" of the paper, which searches with the
    teacher too, once; here the search is the learning model's own, anew as it learns). Of a cross-encoder, scores are
    read as probabilities, by a sigmoid. What the guide says is kept on disk.

    Args:
        guide: the guide's folder or name; of any family.
        count: negatives a row.
        depth: best documents they are drawn from, all of which the guide judges.
        below: a negative scores at most this share of its row's positive score.
        every: epochs between searches; 0: one search, before the first step.
    """

    def __init__(self, guide: str, count: int = 1, depth: int = 30, below: float = 0.95, every: int = 1) -> None:
        if count < 1 or depth < count or every < 0 or not 0 < below <= 1:
            raise UserError(
                f"negatives need count of at least 1, depth of at least count, below in 0..1 and every of at least 0, "
                f"not count={count}, depth={depth}, below={below}, every={every}"
            )
        self.count, self.depth, self.below, self.every = count, depth, below, every
        self.teachers = Teachers.of(guide)

    @property
    def fingerprint(self) -> str:
        """Whose judgement this is."""
        return self.teachers.fingerprint

    def __call__(self, search: Search) -> Integers:
        examples, texts = search.examples, search.examples.table.texts
        assert examples.keys is not None
        queries, row = np.unique(examples.queries, return_inverse=True)
        depth = min(self.depth + most_positives(examples), len(search.pool))
        found = search.pool[_searched(search, queries, depth)[0]][row]
        allowed = ~known(examples, found)
        allowed &= np.cumsum(allowed, 1) <= self.depth
        rows, columns = np.nonzero(allowed)
        asked = zip(examples.queries[rows].tolist(), found[rows, columns].tolist(), strict=True)
        own = self._said([(texts[q], texts[k]) for q, k in zip(examples.queries, examples.keys, strict=True)])
        said = self._said([(texts[query], texts[key]) for query, key in asked])
        allowed[rows, columns] = said <= self.below * own[rows]
        return drawn(found, allowed, self.count, search.generator)

    def _said(self, pairs: list[tuple[str, str]]) -> Floats:
        scores = self.teachers.scores(pairs)
        crosses = any(teacher.family == "cross" for teacher in self.teachers.each)
        return np.asarray(1 / (1 + np.exp(-scores)), np.float32) if crosses else scores


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


def _searched(search: Search, queries: Integers, depth: int) -> tuple[Integers, Floats]:
    """Positions in the pool and scores of the best for each query, ``[Q, depth]``.

    What is wide and mostly 0 (a sparse model's words) is held as sparse tensors, and made dense a block at a time.
    """
    keys, embedded = _Held(search, search.pool, False), _Held(search, queries, True)
    found, scores = [], []
    with torch.no_grad():
        for query in embedded.blocks(max(1, _BLOCK // max(1, keys.longest))):
            asked = search.similarity.prepare_queries(query)
            values, places = torch.zeros(len(query), 0), torch.zeros(len(query), 0, dtype=torch.long)
            start = 0
            for key in keys.blocks(len(search.pool)):
                part = search.similarity.score(asked, search.similarity.prepare_keys(key))
                best = part.topk(min(depth, part.shape[1]), dim=-1)
                values = torch.cat([values, best.values.float().cpu()], 1)
                places = torch.cat([places, best.indices.cpu() + start], 1)
                values, order = values.topk(min(depth, values.shape[1]), dim=-1)
                places = places.gather(1, order)
                start += len(key)
            found.append(places.numpy())
            scores.append(values.numpy())
    return np.concatenate(found), np.concatenate(scores)


class _Held:
    """Embeddings of text codes: as they are, or, where they are wide, as sparse blocks of few texts."""

    def __init__(self, search: Search, codes: Integers, queries: bool) -> None:
        first = search.embed(codes[:1], queries)
        self._wide = first.dim() == 2 and first.shape[1] > _WIDE
        step = max(1, _BLOCK // first.shape[1]) if self._wide else len(codes)
        self.longest = min(step, len(codes))
        starts = range(0, len(codes), step)
        found = (search.embed(codes[i : i + step], queries) for i in starts)
        self._parts = [part.to_sparse() if self._wide else part for part in found]

    def blocks(self, most: int) -> Iterator[Tensor]:
        """Dense embeddings of at most ``most`` texts at once, in order."""
        for part in self._parts:
            dense = part.to_dense() if self._wide else part
            yield from dense.split(most)


def _paired(search: Search, queries: Integers, keys: Integers) -> np.ndarray[tuple[int], np.dtype]:
    """The present score of each row's own pair, ``[n]``."""
    first, second = _Held(search, queries, True), _Held(search, keys, False)
    scores: list[Tensor] = []
    with torch.no_grad():
        most = min(first.longest, second.longest)
        for query, key in zip(first.blocks(most), second.blocks(most), strict=True):
            scores.append(search.similarity.paired(query, key).float().cpu())
    return torch.cat(scores).numpy()
