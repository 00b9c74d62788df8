"""Batches in which no text occurs twice."""

from __future__ import annotations

import numpy as np

from similis.registry import Source, register
from similis.sampling.base import Integers, Items, first_fit


@register(
    "sampler",
    "no_duplicates",
    source=Source("Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks", "Reimers and Gurevych", 2019),
    family="order",
    needs=("texts",),
)
def no_duplicates(items: Items, batch_size: int, generator: np.random.Generator) -> list[Integers]:
    """Every row once an epoch; no text stands in two rows of a batch.

    The ``no_duplicates`` batch sampler of sentence-transformers, by first fit in one pass and without dropping the
    last rows. Repeats are never negatives here in any case (the relation leaves them out); this sampler gives every
    row the most negatives. A text of r rows needs r batches, so some batches may be small.

    Args:
        items: n rows with texts ``[n, c]``.
        batch_size: most rows of a batch.
        generator: all randomness.

    Returns:
        Arrays of row numbers.
    """
    assert items.texts is not None
    order = generator.permutation(items.count)
    codes = [{code for code in row if code >= 0} for row in items.texts[order].tolist()]
    batches = [order[np.array(units)] for units in first_fit([tuple(c) for c in codes], batch_size)]
    return [batches[i] for i in generator.permutation(len(batches))]
