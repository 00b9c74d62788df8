"""What a source of negatives reads and gives, and what all of them share. May import the rows and the registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from similis.registry import bind
from similis.similarity import Similarity
from similis.training.rows.examples import Examples, Integers
from similis.training.running.dev import Embed

Booleans: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Search:
    """What a source of negatives reads.

    Attributes:
        examples: pairs or triplets.
        pool: text codes of the documents negatives are taken from, ``[K]``, distinct when folded.
        embed: the present model.
        similarity: the one that is trained.
        generator: all randomness.
    """

    examples: Examples
    pool: Integers
    embed: Embed
    similarity: Similarity
    generator: np.random.Generator


class Negatives(Protocol):
    """A source of negatives; ``every`` is the number of epochs between searches, 0 for one at the start alone."""

    every: int

    def __call__(self, search: Search) -> Integers: ...


def negatives(text: str) -> Negatives:
    """The source that a recipe names, such as ``"hard(count=2)"``.

    Raises:
        UserError: an unknown name or argument.
    """
    return bind("negatives", text).build()  # type: ignore[no-any-return]


def most_positives(examples: Examples) -> int:
    folded = examples.table.folded
    assert examples.keys is not None
    pairs = np.unique(np.stack([folded[examples.queries], folded[examples.keys]], 1), axis=0)
    return int(np.bincount(pairs[:, 0]).max())


def known(examples: Examples, candidates: Integers) -> Booleans:
    """``[n, depth]`` True where a candidate is a positive of the row's query anywhere, or the query itself."""
    folded = examples.table.folded
    assert examples.keys is not None
    most = int(folded.max()) + 1
    positives = folded[examples.queries] * most + folded[examples.keys]
    own = folded[examples.queries][:, None]
    found: Booleans = np.isin(own * most + folded[candidates], positives)
    return np.asarray(found | (folded[candidates] == own))


def drawn(
    codes: Integers,
    allowed: Booleans,
    count: int,
    generator: np.random.Generator,
) -> Integers:
    """``count`` of the allowed codes of each row, at random: ``[n, count]``, -1 where there are fewer."""
    order = np.argsort(np.where(allowed, generator.random(allowed.shape), 2.0), axis=1)[:, :count]
    found = np.where(np.take_along_axis(allowed, order, 1), np.take_along_axis(codes, order, 1), -1)
    short = count - found.shape[1]
    return np.pad(found, ((0, 0), (0, short)), constant_values=-1) if short else found
