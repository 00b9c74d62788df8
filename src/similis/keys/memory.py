"""Keys remembered from earlier batches: more negatives (and positives) than one batch holds, at no encoding."""

from __future__ import annotations

import torch
from torch import Tensor

from similis.errors import UserError
from similis.keys.base import KeySource
from similis.keys.extended import extended
from similis.registry import Source, register
from similis.relation import Codes, Relation

#: What is remembered of each key beside its embedding: its class, its text, the text of the query it belonged to.
LABEL, TEXT, OWNER = 0, 1, 2


class Memory(KeySource):
    """The last ``size`` keys, first in, first out; embeddings without a graph, all state in buffers.

    A batch is remembered in training only. Checkpoints carry the memory, so a resumed run goes on with it.

    Args:
        size: keys remembered.
        warmup: steps before the memory is used: early embeddings drift too fast to be keys.
        dimension: d. None: taken from the encoder, or from the first batch.

    Raises:
        UserError: a size below 1 or a negative warm-up.
    """

    memory: Tensor
    codes: Tensor
    #: Next slot, slots filled, steps seen.
    position: Tensor

    def __init__(self, size: int, warmup: int, dimension: int | None) -> None:
        super().__init__()
        if size < 1 or warmup < 0:
            raise UserError(f"a memory needs a size of at least 1 and a warmup of at least 0, not {size} and {warmup}")
        self.size, self.warmup, self.dimension = size, warmup, dimension
        self.register_buffer("memory", torch.zeros(size, dimension or 0))
        self.register_buffer("codes", torch.full((size, 3), -1))
        self.register_buffer("position", torch.zeros(3, dtype=torch.long))

    def prepare(self, *, dimension: int, classes: int | None, rows: int | None) -> None:
        if self.dimension is None:
            self.dimension = dimension
            self.memory = self.memory.new_zeros(self.size, dimension)

    def check(self, keys: Tensor, relation: Relation) -> None:
        """Allocate for the first keys; refuse what cannot be remembered."""
        if relation.layout != "matrix" or keys.dim() != 2:
            raise UserError(
                f"a memory holds single vectors scored against every query, not keys of shape {list(keys.shape)} "
                f"supervised by {relation.supervision}"
            )
        self.prepare(dimension=keys.shape[1], classes=None, rows=None)
        if keys.shape[1] != self.dimension:
            raise UserError(f"the memory holds vectors of dimension {self.dimension}, the batch's have {keys.shape[1]}")
        if self.memory.device != keys.device:
            self.to(keys.device)

    @property
    def filled(self) -> int:
        return int(self.position[1])

    @property
    def warm(self) -> bool:
        return int(self.position[2]) >= self.warmup

    @torch.no_grad()
    def remember(self, keys: Tensor, codes: Tensor) -> Tensor:
        """Store keys ``[m, d]`` and codes ``[m, 3]``, the last ones where there are more than slots; the slots used."""
        keys, codes = keys[-self.size :], codes[-self.size :]
        slots = (self.position[0] + torch.arange(len(keys), device=keys.device)) % self.size
        self.memory[slots] = keys.to(self.memory.dtype)
        self.codes[slots] = codes
        following = (int(self.position[0]) + len(keys)) % self.size
        filled = min(self.size, self.filled + len(keys))
        self.position.copy_(torch.tensor([following, filled, int(self.position[2]) + 1]))
        return slots

    def recall(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Remembered embeddings ``[s, d]`` in the keys' precision, and their codes ``[s, 3]``."""
        return self.memory[: self.filled].to(keys.dtype, copy=True), self.codes[: self.filled].clone()


def _key_codes(relation: Relation, keys: Tensor) -> Tensor:
    """``[m, 3]`` class, text and owner of the batch's keys, -1 where unknown."""
    codes = torch.full((len(keys), 3), -1, device=keys.device)
    if relation.key_labels is not None:
        codes[:, LABEL] = relation.key_labels
    if relation.texts is not None:
        queries, texts = relation.texts
        codes[:, TEXT] = texts
        codes[: len(queries), OWNER] = queries
    return codes


@register(
    "keys",
    "queue",
    source=Source(
        "Momentum Contrast for Unsupervised Visual Representation Learning", "He, Fan, Wu, Xie and Girshick", 2020
    ),
    accepts=("pairs", "triplets", "labels"),
)
class Queue(Memory):
    """The batch's keys and the keys of the last batches ``[m + s, d]``; the batch joins the queue after it is scored.

    Remembered keys are negatives, or positives where labels say so. Where texts are known (they are when training
    from a file), a remembered key is left out that repeats the query's own positive or the query, or was another
    positive of the same query. ``Relation.pairs(in_batch=False)`` gives MoCo's own loss, whose negatives are the
    queue's alone; keys made by a momentum encoder give its consistency.

    Args:
        size: keys remembered.
        warmup: steps before the queue is used.
        dimension: d. None: taken from the encoder.
    """

    def __init__(self, size: int = 4096, warmup: int = 0, dimension: int | None = None) -> None:
        super().__init__(size, warmup, dimension)

    def forward(self, queries: Tensor, keys: Tensor, relation: Relation) -> tuple[Tensor, Relation]:
        self.check(keys, relation)
        scored, related = keys, relation
        if self.warm and self.filled:
            recalled, codes = self.recall(keys)
            labels = None if relation.key_labels is None else codes[:, LABEL]
            scored = torch.cat([keys, recalled])
            related = extended(relation, len(recalled), labels, _repeats(relation, codes))
        if self.training:
            self.remember(keys.detach(), _key_codes(relation, keys))
        return scored, related


def _repeats(relation: Relation, codes: Tensor) -> tuple[Codes, ...]:
    """Remembered keys that are no negatives of a query: its positive's text, its own text, a positive it once had."""
    if relation.texts is None:
        return ()
    queries, keys = relation.texts
    return Codes(keys[: len(queries)], codes[:, TEXT]), Codes(queries, codes[:, TEXT]), Codes(queries, codes[:, OWNER])


@register(
    "keys",
    "xbm",
    source=Source("Cross-Batch Memory for Embedding Learning", "Wang, Zhang, Huang and Scott", 2020),
    accepts=("labels",),
)
class CrossBatchMemory(Memory):
    """The memory alone, with this batch in it ``[s, d]``: queries are pulled and pushed by what they were and are.

    The batch is remembered first, then every query is compared with the whole memory but itself; gradients flow
    through the queries only. Equals pytorch-metric-learning's CrossBatchMemory around the same loss; the paper adds
    the batch's own loss.

    Args:
        size: keys remembered, at least a batch of them.
        warmup: steps in which the batch alone is used.
        dimension: d. None: taken from the encoder.
    """

    def __init__(self, size: int = 1024, warmup: int = 0, dimension: int | None = None) -> None:
        super().__init__(size, warmup, dimension)

    def forward(self, queries: Tensor, keys: Tensor, relation: Relation) -> tuple[Tensor, Relation]:
        self.check(keys, relation)
        if relation.query_labels is None or relation.key_labels is None:
            raise UserError(
                f"xbm compares by labels, and this batch is supervised by {relation.supervision}; "
                "keys=queue takes pairs"
            )
        if len(keys) > self.size:
            raise UserError(f"xbm(size={self.size}) cannot hold a batch of {len(keys)}; give a larger size")
        warm = self.warm
        slots = self.remember(keys.detach(), _key_codes(relation, keys)) if self.training else None
        if not warm or not self.filled:
            return keys, relation
        recalled, codes = self.recall(keys)
        related = Relation.labels(relation.query_labels, codes[:, LABEL], exclude_self=False)
        if relation.apart and slots is not None:
            items = torch.full((self.size,), -1, device=keys.device)
            items[slots] = torch.arange(len(keys), device=keys.device)
            own = torch.arange(len(queries), device=keys.device)
            related.apart = (Codes(own, items[: self.filled]),)
        related.row_weight, related.samples = relation.row_weight, relation.samples
        return recalled, related
