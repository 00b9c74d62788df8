"""Several data sets learnt at once: every batch has rows of one of them and is judged by that one's objective."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch import nn

from similis.errors import UserError
from similis.objective import Objective
from similis.sampling import Items, epoch_batches
from similis.similarity import Similarity
from similis.training.rows.examples import Examples, Integers
from similis.training.running.dev import DevSet, Embed


@dataclass(eq=False)
class Part:
    """One data set of a run.

    Attributes:
        name: what it is called where there are several.
        examples: its rows; of all parts in one table.
        objective: prepared for its sizes.
        sampler: text of a registered sampler.
        items: its rows as the sampler sees them.
        share: of all batches, where it is fixed (data that is replayed); None: by its size.
    """

    name: str
    examples: Examples
    objective: Objective
    sampler: str
    items: Items
    share: float | None = None


class Drawn(NamedTuple):
    """A batch: which part it is of, and which of its rows."""

    part: Part
    rows: Integers


def mixed(parts: Sequence[Part], batch_size: int, *, exponent: float, seed: int, epoch: int) -> list[Drawn]:
    """The batches of an epoch, those of the parts in random order.

    An epoch has as many batches as all parts have together, and beside them those of parts with a fixed share, which
    are read in turns. Else a part's share of them is in proportion to its own number
    to the power of ``exponent``: at 1 every row is read once; at 0 all parts have equal shares, small ones are read
    several times and large ones in turns (the sampling of "Massively Multilingual Neural Machine Translation in the
    Wild: Findings and Challenges", Arivazhagan, Bapna, Firat, Lepikhin, Johnson, Krikun et al., 2019, with exponent =
    1 / temperature).

    Raises:
        UserError: a part gives no batch.
    """
    own = [epoch_batches(p.sampler, p.items, batch_size, seed=seed, epoch=epoch) for p in parts]
    for part, batches in zip(parts, own, strict=True):
        if not batches:
            where = f" of {part.name}" if len(parts) > 1 else ""
            raise UserError(f"the sampler made no batch{where}; it needs at least two rows (two classes) a batch")
    if len(parts) == 1:
        return [Drawn(parts[0], rows) for rows in own[0]]
    counts = [len(batches) for batches in own]
    drawn = [
        Drawn(part, rows)
        for part, count, wanted in zip(parts, counts, _wanted(parts, counts, exponent), strict=True)
        for rows in _taken(part, batch_size, count, wanted, seed=seed, epoch=epoch)
    ]
    return [drawn[i] for i in np.random.default_rng([seed, epoch, len(drawn)]).permutation(len(drawn))]


def _wanted(parts: Sequence[Part], counts: Sequence[int], exponent: float) -> list[int]:
    """How many batches of an epoch each part gives, fixed shares being of all of them; at least one."""
    free = [n for n, part in enumerate(parts) if part.share is None]
    found = dict(zip(free, _shares([counts[n] for n in free], exponent), strict=True))
    total = sum(found.values()) / (1 - math.fsum(part.share or 0.0 for part in parts))
    return [found.get(n, max(1, round(total * (part.share or 0.0)))) for n, part in enumerate(parts)]


def _shares(counts: Sequence[int], exponent: float) -> list[int]:
    """How many batches of an epoch each part gives; at least one."""
    weights = np.asarray(counts, np.float64) ** exponent
    return [max(1, round(sum(counts) * float(weight))) for weight in weights / weights.sum()]


def _taken(part: Part, batch_size: int, count: int, wanted: int, *, seed: int, epoch: int) -> list[Integers]:
    """``wanted`` batches that go on where those of the epoch before ended, through epochs of the part's own."""
    if wanted == count:
        return epoch_batches(part.sampler, part.items, batch_size, seed=seed, epoch=epoch)
    first = epoch * wanted
    laps = range(first // count, (first + wanted - 1) // count + 1)
    # an epoch's number of batches may differ by a few where the sampler draws it: each lap counts as the first did
    every = [epoch_batches(part.sampler, part.items, batch_size, seed=seed, epoch=lap) for lap in laps]
    padded = [batches[i % len(batches)] for batches in every for i in range(count)]
    start = first - laps.start * count
    return padded[start : start + wanted]


def objectives(parts: Sequence[Part]) -> nn.Module:
    """What is learnt besides the encoder: the one part's objective, or all of them."""
    return parts[0].objective if len(parts) == 1 else nn.ModuleList([part.objective for part in parts])


@dataclass(frozen=True)
class MeanDev:
    """The mean of several dev sets' values: each counts alike, whatever its size and metric."""

    sets: Sequence[DevSet]

    @property
    def metric(self) -> str:
        return "mean of " + ", ".join(each.metric for each in self.sets)

    def value(self, embed: Embed, similarity: Similarity) -> float:
        return math.fsum(each.value(embed, similarity) for each in self.sets) / len(self.sets)
