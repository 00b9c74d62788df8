"""How miners pick among the pairs of a row."""

from __future__ import annotations

import torch
from torch import Tensor

from similis.criteria import ops


def highest(scores: Tensor, mask: Tensor) -> Tensor:
    """``[..., m]`` booleans: the one kept pair of the highest score; none where nothing is kept."""
    return top(scores, mask, 1)


def lowest(scores: Tensor, mask: Tensor) -> Tensor:
    """``[..., m]`` booleans: the one kept pair of the lowest score."""
    return top(-scores, mask, 1)


def top(scores: Tensor, mask: Tensor, k: int, skip: int = 0) -> Tensor:
    """``[..., m]`` booleans: the kept pairs ranked ``skip + 1`` to ``skip + k`` by score."""
    kept = ops.keep(scores, mask)
    if k == 1 and skip == 0:
        index = kept.argmax(-1, keepdim=True)
    else:
        index = kept.topk(min(k + skip, scores.shape[-1])).indices[..., skip:]
    return torch.zeros_like(mask).scatter(-1, index, True) & mask


def within(scores: Tensor, bounds: list[float] | None) -> Tensor:
    """``[..., m]`` booleans: scores between two bounds; everywhere where there are none."""
    if bounds is None:
        return torch.ones_like(scores, dtype=torch.bool)
    return (scores >= bounds[0]) & (scores <= bounds[1])
