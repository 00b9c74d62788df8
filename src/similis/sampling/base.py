"""What samplers read of the data, and the batches of an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from similis.errors import UserError
from similis.registry import Bound, bind

Integers: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Items:
    """The rows of a data set as samplers see them.

    Attributes:
        count: number of rows, n.
        texts: codes of the texts of each row, int64 ``[n, c]``, -1 where a row has fewer; equal code = equal text.
        labels: class of each row, int64 ``[n]``, or None.
        lengths: length of each row's texts together, in any unit, ``[n]``, or None.
        above: the class above each row's class, int64 ``[n]``, or None where class names tell none.
        groups: group of each row or of its class that the present model embeds near each other, int64 ``[n]``, or
            None where there are none yet.
    """

    count: int
    texts: Integers | None = None
    labels: Integers | None = None
    lengths: Integers | None = None
    above: Integers | None = None
    groups: Integers | None = None


def epoch_batches(sampler: str | Bound, items: Items, batch_size: int, *, seed: int, epoch: int) -> list[Integers]:
    """The batches of one epoch, each an int64 array of row numbers; the same for the same seed and epoch.

    Raises:
        UserError: an unknown sampler, a batch size below 1, or data without what the sampler needs.
    """
    bound = bind("sampler", sampler) if isinstance(sampler, str) else sampler
    if batch_size < 1:
        raise UserError(f"batch_size must be at least 1, not {batch_size}")
    for needed in bound.entry.traits.get("needs", ()):
        if getattr(items, needed) is None:
            raise UserError(f"sampler {bound.entry.name!r} needs {needed}, which this data does not have")
    found: list[Integers] = bound(items, batch_size, np.random.default_rng([seed, epoch]))
    return found


def setting(bound: Bound, name: str) -> Any:
    """The value of a sampler's parameter: as given, or its default."""
    default = next(p.default for p in bound.entry.parameters if p.name == name)
    return bound.arguments.get(name, default)


def even_cuts(rows: Integers, batch_size: int) -> list[Integers]:
    """``rows`` in order, in the fewest batches of at most ``batch_size``, whose sizes differ by one at most.

    A short last batch would have few negatives; sizes that differ by one have no such batch.
    """
    return np.array_split(rows, -(-len(rows) // batch_size)) if len(rows) else []


def first_fit(codes: Sequence[Sequence[int]], capacity: int) -> list[list[int]]:
    """Put units, in order, into batches of at most ``capacity`` in which no code occurs twice.

    Each unit goes to the first batch with room that comes after every batch which has one of its codes already:
    one pass, close to linear (full batches are skipped by a path-halving search).
    """
    batches: list[list[int]] = []
    free: list[int] = []  # free[b]: the first batch from b on that may have room
    after: dict[int, int] = {}

    def open_from(batch: int) -> int:
        while batch < len(free) and free[batch] != batch:
            if free[batch] < len(free):
                free[batch] = free[free[batch]]
            batch = free[batch]
        return batch

    for unit, own in enumerate(codes):
        target = open_from(max((after.get(code, 0) for code in own), default=0))
        while target >= len(batches):
            free.append(len(batches))
            batches.append([])
        batches[target].append(unit)
        for code in own:
            after[code] = target + 1
        if len(batches[target]) == capacity:
            free[target] = target + 1
    return batches
