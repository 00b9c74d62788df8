"""Texts that a model reads together: of like length, and no more tokens than a processor's cache holds."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from similis.encoders.library.batching import batches
from similis.training.trainees.transformer import _cuts


@pytest.mark.parametrize("most", [None, 2048, 100])
def test_every_text_is_read_once_in_batches_of_like_length_within_both_bounds(most: int | None) -> None:
    lengths = np.random.default_rng(0).integers(0, 900, 500)
    found = list(batches(lengths, 32, 256, most))
    assert sorted(np.concatenate(found)) == list(range(500))
    assert max(map(len, found)) <= 32
    read = [np.minimum(lengths[rows], 256) for rows in found]
    assert all(earlier.min() >= later.max() for earlier, later in pairwise(read))
    if most is not None:
        assert all(len(each) == 1 or each.max() * len(each) <= most for each in read)


def test_passes_of_training_keep_to_the_bound_where_four_texts_do() -> None:
    lengths = sorted(np.random.default_rng(1).integers(1, 300, 64).tolist(), reverse=True)
    bounds = _cuts(lengths, 2048)
    assert (bounds[0], bounds[-1]) == (0, 64)
    parts = [lengths[start:stop] for start, stop in pairwise(bounds)]
    assert all(part[0] * len(part) <= 2048 or len(part) <= 4 for part in parts)
    assert len(_cuts([256] * 32, None)) == 2  # without a bound nothing is gained by cutting texts of one length
