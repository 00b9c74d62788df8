"""k-nearest-neighbour classification: do an item's neighbours vote for its class?"""

from __future__ import annotations

import numpy as np

from similis.metrics.family import measure
from similis.metrics.labelled.neighbours import Labelled
from similis.metrics.ranked import Floats, Ints
from similis.registry import Source


@measure(
    "kNN",
    "labels",
    registered="knn_accuracy",
    aliases=("knn_acc",),
    source=Source("Nearest neighbor pattern classification", "Cover, Hart", 1967),
)
def knn_accuracy(data: Labelled, *, cutoff: int) -> Floats:
    """1 where most of the k nearest others have the item's class, else 0 -> ``[n]``.

    Of classes with equally many votes, the one with the nearer first member wins.
    """
    voters = data.classes[data.neighbours[:, :cutoff]]
    votes = (voters[:, :, None] == voters[:, None, :]).sum(axis=2) if voters.shape[1] <= 64 else _many(voters)
    winner = voters[np.arange(data.size), votes.argmax(axis=1)]
    return np.asarray(winner == data.classes, np.float64)


def _many(voters: Ints) -> Ints:
    """Votes for each voter's class, row by row: for large k the k x k comparison would not fit."""
    return np.stack([np.bincount(row)[row] for row in voters])
