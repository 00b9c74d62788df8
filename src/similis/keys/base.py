"""The protocol of a key source: where the keys come from that queries are scored against."""

from __future__ import annotations

from torch import Tensor, nn

from similis.relation import Relation


class KeySource(nn.Module):
    """Turns a batch's keys and relation into those that are scored.

    In-batch keys need none. Class proxies replace the keys; a memory queue appends to them; mixed points add
    interpolated keys with interpolated grades.
    """

    def prepare(self, *, dimension: int, classes: int | None, rows: int | None) -> None:
        """Fix the sizes that data decides: embedding dimension, number of classes, rows of the data set."""

    def forward(self, queries: Tensor, keys: Tensor, relation: Relation) -> tuple[Tensor, Relation]:
        """``[n, d]`` queries, ``[m, d]`` keys → ``[m', d]`` keys and a relation of shape ``(n, m')``."""
        return keys, relation
