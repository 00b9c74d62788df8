"""Batches of P classes with K items each."""

from __future__ import annotations

import numpy as np

from similis.errors import UserError
from similis.registry import Source, register
from similis.sampling.base import Integers, Items, first_fit


@register(
    "sampler",
    "pk",
    source=Source("In Defense of the Triplet Loss for Person Re-Identification", "Hermans, Beyer and Leibe", 2017),
    family="classes",
    needs=("labels",),
)
def pk(items: Items, batch_size: int, generator: np.random.Generator, *, per_class: int = 4) -> list[Integers]:
    """P classes with K items of each in a batch (section 2 of the paper), every item at least once an epoch.

    The items of a class are shuffled and cut into groups of K; a short last group is filled up with other items of
    the class. A class with fewer than K items gives all it has. Groups then share batches of
    P = ``batch_size // K`` distinct classes; where there are fewer than P classes, K grows to fill the batch.

    Args:
        items: n rows with labels.
        batch_size: most rows of a batch.
        generator: all randomness.
        per_class: K.

    Returns:
        Arrays of row numbers. Groups that are left over when only one class has any are left out: a batch of one
        class has no negatives.

    Raises:
        UserError: ``per_class`` is below 2 or above half the batch.
    """
    assert items.labels is not None
    if not 2 <= per_class <= batch_size // 2:
        raise UserError(
            f"pk needs 2 to {batch_size // 2} items a class for batches of {batch_size}, not {per_class}: "
            "fewer have no positives, more leave no room for a second class"
        )
    classes = np.unique(items.labels)
    size = max(per_class, batch_size // max(2, len(classes)))
    groups, place = [], []
    for label in classes:
        own = _groups(generator.permutation(np.flatnonzero(items.labels == label)), size)
        groups += own
        # spread each class evenly over the epoch, so that none is left over alone at its end
        place.append((np.arange(len(own)) + generator.random(len(own))) / len(own))
    groups = [groups[i] for i in np.argsort(np.concatenate(place), kind="stable")]
    units = first_fit([(int(items.labels[g[0]]),) for g in groups], batch_size // size)
    batches = [np.concatenate([groups[u] for u in batch]) for batch in units if len(batch) > 1 or len(classes) == 1]
    return [batches[i] for i in generator.permutation(len(batches))]


def _groups(members: Integers, size: int) -> list[Integers]:
    """``members`` in groups of ``size``; the last is filled up from the others, where there are enough."""
    if len(members) <= size:
        return [members]
    whole = len(members) // size * size
    groups = list(members[:whole].reshape(-1, size))
    if whole < len(members):
        groups.append(np.concatenate([members[whole:], members[: size - (len(members) - whole)]]))
    return groups
