"""Class proxies beside the batch's own items."""

from __future__ import annotations

import torch
from torch import Tensor

from similis.keys.proxies import Proxies
from similis.registry import Source, register
from similis.relation import Codes, Relation


@register(
    "keys",
    "proxies_and_batch",
    source=Source(
        "Unified Negative Pair Generation toward Well-discriminative Feature Space for Face Recognition",
        "Jung, Lee and Oh",
        2022,
    ),
    accepts=("labels",),
)
class ProxiesAndBatch(Proxies):
    """Proxies of every class, then the batch's keys: ``[C + m, d]``.

    The positive is the own proxy; keys of other classes in the batch are negatives besides the other proxies, keys
    of the own class are left out. Where the queries are their own keys each unordered pair stands once.
    """

    def forward(self, queries: Tensor, keys: Tensor, relation: Relation) -> tuple[Tensor, Relation]:
        weight, related = super().forward(queries, keys, relation)
        labels = related.query_labels
        assert labels is not None
        assert related.key_labels is not None
        key_labels = labels if relation.key_labels is None else relation.key_labels
        nothing = torch.full_like(key_labels, -1)
        none_else = torch.full_like(related.key_labels, -1)
        apart: tuple[Tensor | Codes, ...] = (Codes(labels, torch.cat([none_else, key_labels])),)
        if relation.apart:
            once = torch.ones(len(labels), len(key_labels), dtype=torch.bool, device=labels.device).tril()
            proxies = once.new_zeros(len(labels), len(weight))
            apart = (*apart, torch.cat([proxies, once], -1))
        joined = Relation(
            Codes(labels, torch.cat([related.key_labels, nothing])),
            "labels",
            apart=apart,
            row_weight=relation.row_weight,
            samples=relation.samples,
            query_labels=labels,
        )
        return torch.cat([weight.to(keys.dtype), keys]), joined
