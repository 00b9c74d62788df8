"""Weights between those before training and those after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

#: Shares of the trained weights that are tried on dev; 1 is what training ended with.
SHARES = (0.25, 0.5, 0.75)


def between(start: Mapping[str, Tensor], end: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """``(1 - share) · start + share · end`` for every tensor of real numbers; others as in ``end``."""
    return {
        name: torch.lerp(start[name], value, share) if value.is_floating_point() and name in start else value
        for name, value in end.items()
    }


def best_between(
    start: Mapping[str, Tensor],
    end: Mapping[str, Tensor],
    judged: float,
    judge: Callable[[Mapping[str, Tensor]], float],
) -> tuple[float, float]:
    """The share of ``end`` that is best on dev, and its dev value.

    Fine-tuning on a few rows forgets some of what the model knew; on the way back part of that is found again while
    little of what was learnt is lost. The share is chosen on dev, where nothing else was fitted to the ways between.
    Source: "Robust fine-tuning of zero-shot models", Wortsman, Ilharco, Kim, Li, Kornblith, Roelofs, Lopes, Hajishirzi,
    Farhadi, Namkoong and Schmidt, 2022.

    Args:
        start: the weights before training.
        end: after it.
        judged: dev value of ``end``.
        judge: dev value of any weights.
    """
    found = {share: judge(between(start, end, share)) for share in SHARES}
    share = max(found, key=found.__getitem__)
    return (share, found[share]) if found[share] > judged else (1.0, judged)
