"""Learning-rate schedules as factors of the highest rate."""

from __future__ import annotations

import math


def factor(kind: str, step: int, total: int, warmup: float) -> float:
    """The factor 0..1 for optimiser step ``step`` (from 0) of ``total``.

    Linear warm-up, then ``linear`` or ``cosine`` decay to 0 at ``total``, or ``constant``.

    Args:
        warmup: steps; below 1, the share of ``total``.
    """
    rise = warmup * total if warmup < 1 else warmup
    if step < rise:
        return (step + 1) / (math.floor(rise) + 1)
    if kind == "constant":
        return 1.0
    left = max(0.0, (total - step) / max(1.0, total - rise))
    return left if kind == "linear" else 0.5 * (1 - math.cos(math.pi * left))
