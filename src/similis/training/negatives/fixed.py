"""Negatives from a search in every batch, among document vectors that stay as they are (ADORE)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from similis.errors import UserError
from similis.registry import Source, register
from similis.relation import Relation
from similis.similarity import Similarity
from similis.training.negatives.base import Search, most_positives
from similis.training.rows.examples import Batch, Examples, Integers
from similis.training.running.dev import Embed

#: Gives the present model without dropout or a graph.
Judging = Callable[[], AbstractContextManager[Embed]]


@register(
    "negatives",
    "adore",
    source=Source(
        "Optimizing Dense Retrieval Model Training with Hard Negatives", "Zhan, Mao, Liu, Guo, Zhang and Ma", 2021
    ),
    accepts=("pairs", "triplets"),
    family="every_batch",
    fixed_documents=True,
)
class Adore:
    """The best documents for each query of a batch, by the present queries' vectors; documents' vectors stay fixed.

    The documents are embedded once, by the model before training; only the side that reads queries learns, so an
    index of the documents stays valid. Each query's list is its positive and the ``depth`` documents that it ranks
    highest at that very step, other positives of the query left out; a ranking objective then presses on exactly the
    documents that a search returns. Checked against the authors' code: an exact search in every batch, 200 deep,
    vectors of documents read from before. Their objective there weights pairs by the change of the reciprocal rank:
    ``lambda_rank(metric=mrr), similarity=dot``. The search here reads queries without dropout.

    Args:
        depth: documents in a query's list beside its positive.
    """

    every = 0

    def __init__(self, depth: int = 200) -> None:
        if depth < 1:
            raise UserError(f"depth must be at least 1, not {depth}")
        self.depth = depth

    def __call__(self, search: Search) -> Integers:
        raise AssertionError("negatives of every batch are searched by Fixed")

    def examples(self, plain: Examples, pool: Integers, similarity: Similarity, judging: Judging) -> Fixed:
        """The examples whose batches search among the vectors that the present model gives the pool.

        Args:
            plain: pairs; given negatives are searched among too.
            pool: text codes of the documents, distinct when folded.
            similarity: the one that is trained.
            judging: gives the present model.

        Raises:
            UserError: the model gives more than one dense vector a text.
        """
        with judging() as embed:
            vectors = embed(pool, False).detach().float()
        if vectors.dim() != 2:
            raise UserError("adore keeps one dense vector a document, and the model gives several: use hard")
        own = {each.name: getattr(plain, each.name) for each in fields(Examples)}
        depth = min(self.depth, max(1, len(pool) - most_positives(plain)))
        return Fixed(**own, pool=pool, vectors=vectors, depth=depth, similarity=similarity, judging=judging)


@dataclass(frozen=True, eq=False)
class Fixed(Examples):
    """Pairs of which each batch searches its own negatives among fixed vectors.

    Attributes:
        pool: text codes of the documents ``[K]``, distinct when folded.
        vectors: of the documents ``[K, d]``.
        depth: negatives of a query.
        similarity: by which they are searched.
        judging: gives the present model.
    """

    pool: Any = None
    vectors: Any = None
    depth: int = 1
    similarity: Any = None
    judging: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pool is None or self.keys is None:
            return
        folded = self.table.folded
        place = {int(fold): number for number, fold in enumerate(folded[self.pool])}
        known: dict[int, set[int]] = {}
        for query, key in zip(folded[self.queries].tolist(), folded[self.keys].tolist(), strict=True):
            known.setdefault(query, {place[query]} if query in place else set()).add(place[key])
        object.__setattr__(self, "_known_places", {query: sorted(found) for query, found in known.items()})
        learns = any(parameter.requires_grad for parameter in self.similarity.parameters())
        object.__setattr__(self, "_prepared", None if learns else self.similarity.prepare_keys(self.vectors))
        object.__setattr__(self, "_key_places", np.array([place[int(fold)] for fold in folded[self.keys]]))

    def batch(self, rows: Integers) -> Batch:
        """The rows' queries, and their lists of vectors ``[n, 1 + depth, d]``, the positive first."""
        queries = self.queries[rows]
        places = np.concatenate([self._key_places[rows][:, None], self.found(rows)], 1)  # type: ignore[attr-defined]
        grade = torch.zeros(places.shape)
        grade[:, 0] = 1
        relation = Relation.graded(grade, torch.from_numpy(places >= 0), layout="lists")
        relation = replace(relation, supervision=self.supervision, samples=torch.from_numpy(self.samples[rows]))
        return Batch(queries, None, relation, self.vectors[torch.from_numpy(places.clip(0))])

    def found(self, rows: Integers) -> Integers:
        """Places in the pool of the best documents for the rows' queries by the present model, ``[n, depth]``.

        -1 where fewer than ``depth`` documents are no positives of the query and not the query itself.
        """
        queries = self.queries[rows]
        with self.judging() as embed:
            vectors: Tensor = embed(queries, True).float()
            keys = self._prepared  # type: ignore[attr-defined]
            if keys is None:
                keys = self.similarity.prepare_keys(self.vectors)
            scores = self.similarity.score(self.similarity.prepare_queries(vectors), keys).cpu()
        folds = self.table.folded[queries].tolist()
        for row, fold in enumerate(folds):
            scores[row, self._known_places[fold]] = -torch.inf  # type: ignore[attr-defined]
        best = scores.topk(self.depth, dim=-1)
        return np.where(np.isfinite(best.values.numpy()), best.indices.numpy(), -1)
