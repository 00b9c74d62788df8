"""Masked arithmetic on the last dimension, finite in value and gradient whatever the mask."""

from __future__ import annotations

import torch
from torch import Tensor


def low(scores: Tensor) -> float:
    """A value that softmax and max ignore, finite so that gradients stay finite."""
    return torch.finfo(scores.dtype).min / 4


def keep(scores: Tensor, mask: Tensor) -> Tensor:
    """Scores where ``mask``, :func:`low` elsewhere: for a maximum or a log-sum-exp over the kept."""
    return scores.masked_fill(~mask, low(scores))


def drop(scores: Tensor, mask: Tensor) -> Tensor:
    """Scores outside ``mask``, :func:`low` inside; :func:`keep` with the mask the other way round."""
    return scores.masked_fill(mask, low(scores))


def logsumexp(scores: Tensor, mask: Tensor) -> Tensor:
    """``[..., m]`` → ``[...]``: log Σ exp over the kept; about :func:`low` where nothing is kept."""
    return keep(scores, mask).logsumexp(-1)


def total(values: Tensor, mask: Tensor) -> Tensor:
    """``[..., m]`` → ``[...]``: sum over the kept."""
    return values.masked_fill(~mask, 0.0).sum(-1)


def mean(values: Tensor, mask: Tensor) -> Tensor:
    """``[..., m]`` → ``[...]``: mean over the kept; 0 where nothing is kept."""
    return total(values, mask) / mask.sum(-1).clamp_min(1)


def hardest(scores: Tensor, mask: Tensor) -> Tensor:
    """``[..., m]`` → ``[...]``: the highest kept score."""
    return keep(scores, mask).amax(-1)


def easiest(scores: Tensor, mask: Tensor) -> Tensor:
    """``[..., m]`` → ``[...]``: the lowest kept score."""
    return scores.masked_fill(~mask, -low(scores)).amin(-1)


def gather_positives(positive: Tensor) -> tuple[Tensor, Tensor]:
    """Where the positives of each row are.

    Returns:
        ``[..., P]`` indices and ``[..., P]`` booleans (False = padding), P the most positives of any row.
    """
    most = max(1, int(positive.sum(-1).max())) if positive.numel() else 1
    found, index = positive.to(torch.uint8).topk(most, -1)
    return index, found.bool()


def normalized_grade(grade: Tensor, positive: Tensor) -> Tensor:
    """Grades of the positives divided by their sum in each row; 0 elsewhere and in rows without positives."""
    kept = grade.masked_fill(~positive, 0.0)
    return kept / kept.sum(-1, keepdim=True).clamp_min(torch.finfo(kept.dtype).tiny)
