"""Holding out a dev part by hash, near-identical texts on the same side."""

from __future__ import annotations

import hashlib
import re

import numpy as np

from similis.training.rows.examples import Examples, Integers

FEWEST, MOST = 50, 1000
_WORD = re.compile(r"\w+")


def same_side(text: str) -> str:
    """A key that near-identical texts share: their distinct words, whatever case, order and punctuation."""
    return " ".join(sorted(set(_WORD.findall(text.casefold())))) or text


def split(examples: Examples, share: float) -> tuple[Examples, Examples | None]:
    """Examples to train on, and held-out ones (None where there are too few to spare any).

    Rows are grouped by their query text (near-identical ones together); groups are held out in the order of a hash
    of that text until ``share`` of the rows is, at least 50 and at most 1,000, and never more than a fifth. The
    split depends on the texts alone, not on their order. A query that stands on one side is never on the other.

    Args:
        share: 0..0.5; 0 holds out nothing.
    """
    n = len(examples)
    wanted = min(max(round(share * n), FEWEST), MOST, n // 5)
    if share == 0 or wanted < 4:
        return examples, None
    keys = [same_side(examples.table.texts[code]) for code in examples.queries]
    digests = {key: hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest() for key in set(keys)}
    order = sorted(range(n), key=lambda row: (digests[keys[row]], row))
    held = _whole_groups(order, keys, wanted)
    mask = np.zeros(n, bool)
    mask[held] = True
    if not len(held) or mask.all():
        return examples, None
    return examples.subset(np.flatnonzero(~mask)), examples.subset(np.flatnonzero(mask))


def _whole_groups(order: list[int], keys: list[str], wanted: int) -> Integers:
    """The first groups of ``order``, as long as they fit into ``wanted`` rows."""
    held: list[int] = []
    start = 0
    while start < len(order) and len(held) < wanted:
        stop = start
        while stop < len(order) and keys[order[stop]] == keys[order[start]]:
            stop += 1
        if stop - start <= wanted:
            held += order[start:stop]
        start = stop
    return np.array(held, np.int64)
