"""Learning-rate schedules as factors of the highest rate."""

from __future__ import annotations

import math

#: Of ``one_cycle``: the first rate as a share of the highest, the last as a share of the first, and the momenta.
_START, _END = 1 / 25, 1e-4
_MOMENTA = (0.95, 0.85, 0.95)


def factor(kind: str, step: int, total: int, warmup: float) -> float:
    """The factor 0..1 for optimiser step ``step`` (from 0) of ``total``.

    Linear warm-up, then ``linear`` or ``cosine`` decay to 0 at ``total``, or ``constant``. ``one_cycle`` rises over the
    warm-up along a cosine from 1/25 to 1, then falls to 1/250,000 at the last step: "Super-Convergence: Very Fast
    Training of Neural Networks Using Large Learning Rates", Smith and Topin, 2019, with the phases and the ends of
    torch's OneCycleLR (a rise over 0.3 of the run is its default).

    Args:
        warmup: steps; below 1, the share of ``total``.
    """
    if kind == "one_cycle":
        return _cycle(step, total, warmup, (_START, 1.0, _START * _END))
    rise = warmup * total if warmup < 1 else warmup
    if step < rise:
        return (step + 1) / (math.floor(rise) + 1)
    if kind == "constant":
        return 1.0
    left = max(0.0, (total - step) / max(1.0, total - rise))
    return left if kind == "linear" else 0.5 * (1 - math.cos(math.pi * left))


def momentum(kind: str, step: int, total: int, warmup: float) -> float | None:
    """The first moment's decay at optimiser step ``step``: of ``one_cycle`` 0.95 to 0.85 and back; None: as it is."""
    return _cycle(step, total, warmup, _MOMENTA) if kind == "one_cycle" else None


def _cycle(step: int, total: int, warmup: float, values: tuple[float, float, float]) -> float:
    """From the first value to the second and on to the third along half cosines; the second phase begins at the rise's
    last step."""
    rise = (warmup * total if warmup < 1 else warmup) - 1
    last = total - 1
    first, peak, end = values
    if step <= rise or last <= rise:
        return _cosine(first, peak, step / rise if rise > 0 else 1.0)
    return _cosine(peak, end, (step - rise) / (last - rise))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * min(1.0, share)))
