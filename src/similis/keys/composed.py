"""Keys that are put together from the embeddings of a text's parts."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from similis.errors import UserError
from similis.keys.base import KeySource
from similis.registry import Source, register
from similis.relation import Codes, Relation


@register(
    "keys",
    "composed",
    source=Source("Composition-contrastive Learning for Sentence Embeddings", "Chanchani and Huang", 2023),
    accepts=("pairs",),
)
class Composed(KeySource):
    """One key a query, the mean of its parts' embeddings: a text is drawn to the composition of its phrases.

    The keys of a batch of n are blocks of n: part r of query i is key ``r*n + i``, as ``Relation.pairs(n, parts * n)``
    counts them; they become ``[n, d]``. Other queries' compositions are the negatives. It needs no parameters; where
    texts are cut (in the middle, at commas) is the data's business. Pooling a set of items into one key (set-wise
    contrast) is the same. Checked against the authors' published composer, of which this is the mean of two halves
    (the others are a maximum and a concatenation of half the coordinates); there an MLP follows the mean.

    Args:
        parts: parts of each text, at least 1.

    Raises:
        UserError: the batch's keys are not ``parts`` blocks of its queries.
    """

    def __init__(self, parts: int = 2) -> None:
        super().__init__()
        if parts < 1:
            raise UserError(f"composed needs at least one part, as in composed(parts=2), not {parts}")
        self.parts = parts

    def forward(self, queries: Tensor, keys: Tensor, relation: Relation) -> tuple[Tensor, Relation]:
        n = len(queries)
        if relation.layout != "matrix" or len(keys) != self.parts * n or not isinstance(relation.graded_by, Codes):
            raise UserError(
                f"composed(parts={self.parts}) needs {self.parts} keys a query, part after part: "
                f"{self.parts * n} for {n} queries, not {len(keys)} supervised by {relation.supervision}"
            )
        cut = replace(
            relation,
            graded_by=_first(relation.graded_by, n),
            unknown=tuple(_first(rule, n) for rule in relation.unknown),
            apart=tuple(_first(rule, n) for rule in relation.apart),
            own=None if relation.own is None else Codes(relation.own.rows, relation.own.keys[:n]),
            pair_weight=None if relation.pair_weight is None else relation.pair_weight[:, :n],
            guide=None if relation.guide is None else (relation.guide[0], relation.guide[1][:n]),
            key_labels=None if relation.key_labels is None else relation.key_labels[:n],
            texts=None,
        )
        return keys.unflatten(0, (self.parts, n)).mean(0), cut


def _first(rule: Tensor | Codes, n: int) -> Tensor | Codes:
    """The rule for the first n keys only."""
    return Codes(rule.rows, rule.keys[:n]) if isinstance(rule, Codes) else rule[:, :n]
