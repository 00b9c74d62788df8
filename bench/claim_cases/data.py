"""Data that needs no download: scikit-learn's digits, and generators that plant what a claim is about."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor


@cache
def digits() -> tuple[Tensor, Tensor]:
    """1,797 images of handwritten digits ``[n, 64]`` in -1..1, and their labels ``[n]``."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return torch.tensor(images, dtype=torch.float32) / 8 - 1, torch.tensor(labels)


@dataclass(frozen=True)
class Parts:
    """Labelled data for training and judging; the two share classes or do not, as the maker says."""

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor


def split_digits(seed: int, train: int = 1000) -> Parts:
    """All ten digits in both parts, divided at random."""
    images, labels = digits()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    first, rest = order[:train], order[train:]
    return Parts(images[first], labels[first], images[rest], labels[rest])


def flipped(labels: Tensor, share: float, classes: int, seed: int) -> Tensor:
    """Labels of which a ``share`` is replaced by another class at random."""
    draw = torch.Generator().manual_seed(seed + 1000)
    wrong = torch.rand(len(labels), generator=draw) < share
    moved = (labels + torch.randint(1, classes, (len(labels),), generator=draw)) % classes
    return torch.where(wrong, moved, labels)


def voices(seed: int, *, classes: int = 120, items: int = 12, uneven: bool = False) -> Parts:
    """Synthetic speakers ``[n, 40]``: 10 dimensions of identity drowned in 30 of channel, mixed without linearity.

    Half of the classes are to learn from, the other half, unseen, to judge by. ``uneven`` gives every speaker a
    variance of his own.
    """
    draw = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw)

    labels = torch.arange(classes).repeat_interleave(items)
    own = random(classes, 10)[labels]
    spread = torch.exp(random(classes, 1))[labels] if uneven else torch.ones(1)
    latent = torch.cat([own + 0.3 * spread * random(len(labels), 10), random(len(labels), 30)], 1)
    features = torch.tanh(latent @ random(40, 40) / 6)
    seen = labels < classes // 2
    return Parts(features[seen], labels[seen], features[~seen], labels[~seen] - classes // 2)


@dataclass(frozen=True)
class Pairs:
    """Queries ``[n, f]`` that belong with keys ``[n, g]``, for training and judging, and each pair's topic ``[n]``."""

    queries: Tensor
    keys: Tensor
    topics: Tensor
    test_queries: Tensor
    test_keys: Tensor
    test_topics: Tensor


def two_views(seed: int, *, n: int = 1500, topics: int = 300, noise: float = 0.5, near: float = 0.6) -> Pairs:
    """Two noisy views of hidden vectors ``[16]`` that lie in tight topics: the others of a topic are hard negatives.

    Args:
        seed: of everything.
        n: pairs in all; a third is to judge by.
        topics: the fewer, the more hard negatives.
        noise: of each view, in units of its signal.
        near: how far an item lies from its topic's centre.
    """
    draw = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw)

    topic = torch.randint(topics, (n,), generator=draw)
    hidden = random(topics, 16)[topic] + near * random(n, 16)
    left = torch.tanh(hidden @ random(16, 48) / 4) + noise * random(n, 48) / 2
    right = torch.tanh(hidden @ random(16, 32) / 4) + noise * random(n, 32) / 2
    cut = n * 2 // 3
    return Pairs(left[:cut], right[:cut], topic[:cut], left[cut:], right[cut:], topic[cut:])
