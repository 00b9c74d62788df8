"""What is added to an objective's loss: regularizers and second criteria."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from similis.errors import UserError
from similis.objective.weights import Weight
from similis.registry import bind, is_registered
from similis.relation import Relation
from similis.similarity import Similarity
from similis.text import Call, parse_call


class Penalty(nn.Module):
    """A regularizer, or a second criterion, with its weight and what it reads.

    Args:
        text: as it is written among the ``regularizers``.
        similarity: of the objective it is added to.
        objective: makes an objective of a criterion.

    Raises:
        UserError: an unknown name or argument, or a weight it cannot have.
    """

    def __init__(self, text: str | Call, similarity: Similarity, objective: Callable[..., nn.Module]) -> None:
        super().__init__()
        call = parse_call(text) if isinstance(text, str) else text
        arguments = dict(call.arguments)
        self.weight = Weight.taken(arguments)
        if is_registered("criterion", call.name):
            self.penalty, self.reads = objective(str(Call(call.name, arguments)), similarity=similarity), "relation"
            self.weight.check(call.name, self.reads)
            return
        bound = bind("regularizer", Call(call.name, arguments))
        self.penalty = bound.build()
        self.reads = bound.entry.traits.get("reads", "embeddings")
        self.weight.check(call.name, self.reads)

    def forward(self, queries: Tensor, keys: Tensor, relation: Relation, proxies: Tensor | None) -> Tensor:
        """A number, its weight included, from ``[n, d]`` queries, ``[m, d]`` keys and ``[C, d]`` proxies."""
        if self.reads == "proxies":
            if proxies is None:
                raise UserError("this regularizer reads class proxies, and the objective has none")
            value: Tensor = self.penalty(proxies)
        elif self.reads == "relation":
            value = self.penalty(queries, keys, relation)
        elif self.reads == "pairs":
            value = self.penalty(queries, keys[: len(queries)])
        elif self.reads in ("labels", "labelled_pairs") and relation.query_labels is None:
            raise UserError(f"this regularizer needs labels, and the batch is supervised by {relation.supervision}")
        elif self.reads == "labelled_pairs":
            value = self.penalty(queries, keys[: len(queries)], relation.query_labels)
        elif self.reads == "labels":
            value = self.penalty(queries, relation.query_labels)
        else:
            sides = self.weight.sides(queries, keys)
            value = torch.stack([self.penalty(side) for side in sides]).mean()
        return self.weight.now * value
