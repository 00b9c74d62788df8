"""Samplers by order alone: shuffled, and shuffled within groups of like length."""

from __future__ import annotations

import numpy as np

from similis.registry import Source, register
from similis.sampling.base import Integers, Items, even_cuts


@register(
    "sampler",
    "shuffle",
    source=Source("A Stochastic Approximation Method", "Robbins and Monro", 1951),
    family="order",
)
def shuffle(items: Items, batch_size: int, generator: np.random.Generator) -> list[Integers]:
    """Every row once an epoch, in random order.

    Args:
        items: n rows.
        batch_size: most rows of a batch; sizes differ by one at most.
        generator: all randomness.

    Returns:
        ``ceil(n / batch_size)`` arrays of row numbers.
    """
    return even_cuts(generator.permutation(items.count), batch_size)


@register(
    "sampler",
    "length_grouped",
    source=Source("Attention Is All You Need", "Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez et al.", 2017),
    family="order",
    needs=("lengths",),
)
def length_grouped(items: Items, batch_size: int, generator: np.random.Generator, *, span: int = 50) -> list[Integers]:
    """Every row once an epoch; rows of a batch are of like length, so that little is padded.

    Section 5.1 of the paper batches sequences "by approximate sequence length"; here rows are shuffled, sorted by
    length within windows of ``span`` batches, cut, and the batches shuffled, as Hugging Face's trainer does.

    Args:
        items: n rows with lengths.
        batch_size: most rows of a batch.
        generator: all randomness.
        span: batches sorted together; 1 is plain shuffling, more groups more tightly.

    Returns:
        Arrays of row numbers.
    """
    assert items.lengths is not None
    order = generator.permutation(items.count)
    batches: list[Integers] = []
    for window in even_cuts(order, max(1, span) * batch_size):
        by_length = window[np.argsort(items.lengths[window], kind="stable")]
        batches += even_cuts(by_length, batch_size)
    return [batches[i] for i in generator.permutation(len(batches))]
