"""A block of the score matrix: rows against keys, scored whole or tile by tile with hand-carried gradients."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from similis.relation import Relation
from similis.similarity import InnerProduct, Similarity


@dataclass
class Shared:
    """What the directions of one loss have in common.

    Attributes:
        prepared: the queries and the keys, each prepared by the similarity once.
        scores: ``[n, m]`` all of them, once a direction has asked.
    """

    prepared: tuple[tuple[Tensor, ...], tuple[Tensor, ...]] | None = None
    scores: Tensor | None = None


@dataclass
class Block:
    """Prepared queries against prepared keys.

    Attributes:
        similarity: scores them.
        queries: prepared queries, tensors of first dimension n.
        keys: prepared keys, tensors of first dimension m.
        relation: of shape ``(n, m)``, or ``(m, n)`` where flipped.
        flipped: the rows are the keys: the same scores, transposed.
        gradients: of ``queries`` then ``keys``, filled by :meth:`Tile.carry`.
        shared: where the whole matrix is kept for the other direction, or None.
    """

    similarity: Similarity
    queries: tuple[Tensor, ...]
    keys: tuple[Tensor, ...]
    relation: Relation
    flipped: bool = False
    gradients: list[Tensor] = field(default_factory=list)
    shared: Shared | None = None

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return (*self.queries, *self.keys)

    @property
    def rows(self) -> int:
        return len(self.keys[0] if self.flipped else self.queries[0])

    @property
    def columns(self) -> int:
        return len(self.queries[0] if self.flipped else self.keys[0])

    @property
    def weight(self) -> Tensor | None:
        """``[rows]`` weights of the rows' losses."""
        weight = self.relation.row_weight
        return None if weight is None else weight[: self.rows]

    def detached(self) -> Block:
        """The same block without a graph and with zero gradients to fill."""
        queries = tuple(t.detach() for t in self.queries)
        keys = tuple(t.detach() for t in self.keys)
        zeros = [torch.zeros_like(t) for t in (*queries, *keys)]
        return Block(self.similarity, queries, keys, self.relation, self.flipped, zeros)

    def scores(self, start: int = 0, stop: int | None = None) -> Tensor:
        """``[stop - start, columns]`` scores."""
        if self.shared is not None and start == 0 and stop is None:
            if self.shared.scores is None:
                self.shared.scores = self.similarity.score(self.queries, self.keys)
            scores = self.shared.scores
        else:
            scores = self.similarity.score(*self._cut(start, stop))
        return scores.mT if self.flipped else scores

    def tile(self, start: int, stop: int) -> Tile:
        """Scores of rows ``start:stop`` with a graph that ends at leaves of the tile."""
        queries, keys = self._cut(start, stop)
        if isinstance(self.similarity, InnerProduct):
            product = queries[0] @ keys[0].mT
            leaves = [t.detach().requires_grad_() for t in (product, *queries[1:])]
            scores = self.similarity.finish(leaves[0], leaves[1] if len(leaves) > 1 else None)
        else:
            leaves = [t.detach().requires_grad_() for t in (*queries, *keys)]
            scores = self.similarity.score(tuple(leaves[: len(queries)]), tuple(leaves[len(queries) :]))
        return Tile(self, start, stop, scores.mT if self.flipped else scores, leaves)

    def _cut(self, start: int, stop: int | None) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        if start == 0 and stop is None:  # a slice of everything would still be copied in the backward pass
            return self.queries, self.keys
        if self.flipped:
            return self.queries, tuple(t[start:stop] for t in self.keys)
        return tuple(t[start:stop] for t in self.queries), self.keys


@dataclass
class Tile:
    """Rows ``start:stop`` of a block, with the leaves their scores hang on."""

    block: Block
    start: int
    stop: int
    scores: Tensor
    leaves: list[Tensor]

    def carry(self, gradients: list[Tensor | None]) -> None:
        """Add the leaves' gradients to the block's: through the matrix product by hand, in place."""
        block = self.block
        cut = slice(self.start, self.stop)
        own, other = (slice(None), cut) if block.flipped else (cut, slice(None))
        if not isinstance(block.similarity, InnerProduct):
            spans = [own] * len(block.queries) + [other] * len(block.keys)
            for total, span, part in zip(block.gradients, spans, gradients, strict=True):
                if part is not None:
                    total[span] += part
            return
        product = gradients[0]
        if product is not None:
            for_keys = block.gradients[len(block.queries)]
            block.gradients[0][own].addmm_(product, block.keys[0][other])
            for_keys[other].addmm_(product.mT, block.queries[0][own])
        if len(gradients) > 1 and gradients[1] is not None:
            block.gradients[1][own] += gradients[1]


def blocks_of(
    similarity: Similarity, direction: str, queries: Tensor, keys: Tensor, relation: Relation, shared: Shared
) -> list[Block]:
    """The blocks of a direction; those joined by ``+`` have a row for each query."""
    parts = [part.strip() for part in direction.split("+")]
    made = [_block(similarity, part, queries, keys, relation, shared) for part in parts]
    if len(made) == 1:
        return made
    n = len(queries)
    return [_first_rows(block, n) for block in made]


def _block(
    similarity: Similarity, direction: str, queries: Tensor, keys: Tensor, relation: Relation, shared: Shared
) -> Block:
    if direction in ("q2q", "k2k"):
        side, among = (queries, relation.among_queries) if direction == "q2q" else (keys, relation.among_keys)
        return Block(similarity, *similarity.prepare_both(side), among())
    if shared.prepared is None and keys is queries:
        shared.prepared = similarity.prepare_both(queries)
    elif shared.prepared is None:
        shared.prepared = similarity.prepare_queries(queries), similarity.prepare_keys(keys)
    flipped = direction == "k2q"
    related = relation.transpose() if flipped else relation
    return Block(similarity, *shared.prepared, related, flipped=flipped, shared=shared)


def _first_rows(block: Block, n: int) -> Block:
    """Only the first ``n`` rows of a block: in a joined direction, row i is query i and its own key."""
    if block.rows == n:
        return block
    if block.flipped:
        return replace(block, keys=tuple(t[:n] for t in block.keys), shared=None)
    return replace(block, queries=tuple(t[:n] for t in block.queries), shared=None)
