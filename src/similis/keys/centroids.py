"""Centroids of the batch's classes as keys."""

from __future__ import annotations

import torch
from torch import Tensor

from similis.errors import UserError
from similis.keys.base import KeySource
from similis.registry import Source, register
from similis.relation import Codes, Relation


@register(
    "keys",
    "centroids",
    source=Source("Prototypical Networks for Few-shot Learning", "Snell, Swersky and Zemel", 2017),
    accepts=("labels", "hierarchy"),
)
class Centroids(KeySource):
    """Mean embeddings of the classes of the batch, the query's own item left out of its class's.

    With queries that are their own keys there is one key for each of the batch's C classes and one for each query,
    the centroid of its class without it: ``[C + n, d]``. A query's positive is the latter, its negatives are the
    other classes' centroids. A class of one item has no such centroid, and its row no positive. With separate keys
    (a support set) the keys are the C centroids of the keys' classes.
    """

    def forward(self, queries: Tensor, keys: Tensor, relation: Relation) -> tuple[Tensor, Relation]:
        labels, key_labels = relation.query_labels, relation.key_labels
        if labels is None:
            raise UserError(f"class centroids need labels, and this batch is supervised by {relation.supervision}")
        own = bool(relation.apart) and len(labels) == len(keys)
        classes, place = torch.unique(labels if key_labels is None else key_labels, return_inverse=True)
        sums = keys.new_zeros(len(classes), keys.shape[-1]).index_add(0, place, keys)
        sizes = torch.bincount(place, minlength=len(classes)).to(keys.dtype)
        centroids = sums / sizes.unsqueeze(-1)
        if not own:
            related = Relation.labels(labels, classes, exclude_self=False)
            return centroids, _carry(related, relation)
        rest = (sums[place] - keys) / (sizes[place] - 1).clamp_min(1).unsqueeze(-1)
        return torch.cat([centroids, rest]), _carry(_left_out(labels, place, sizes), relation)


def _left_out(labels: Tensor, place: Tensor, sizes: Tensor) -> Relation:
    """Query i's positive is the i-th key after the C centroids; the rest of those and its own centroid are unknown."""
    n, count = len(labels), len(sizes)
    device = labels.device
    items = torch.arange(n, device=device)
    nothing = torch.full((count,), -1, device=device)
    none_else = torch.full((n,), -1, device=device)
    alone = sizes[place] < 2
    positive = Codes(items.masked_fill(alone, -1), torch.cat([nothing, items]))
    others = Codes(torch.zeros_like(items), torch.cat([nothing, torch.zeros_like(items)]))
    centroid = Codes(place, torch.cat([torch.arange(count, device=device), none_else]))
    return Relation(positive, "labels", unknown=(others, centroid), query_labels=labels)


def _carry(made: Relation, given: Relation) -> Relation:
    made.row_weight, made.samples = given.row_weight, given.samples
    return made
