"""The compiled step of :class:`RowAdam` on a processor; imported where it is called, as numba loads slowly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from similis.compiled import compiled

Floats = NDArray[np.float32]


@compiled
def update_rows(
    value: Floats,
    mean: Floats,
    square: Floats,
    steps: Floats,
    rows: NDArray[np.int64],
    gradient: Floats,
    settings: tuple[float, float, float, float, float],
) -> None:  # pragma: no cover - compiled
    """One step in place: a row is read once and written once, where array operations pass over it a dozen times.

    Args:
        value: ``[V, d]``; ``mean`` and ``square``, the moments, likewise.
        steps: ``[V]`` steps of each row so far.
        rows: ``[u]`` distinct rows.
        gradient: ``[u, d]``.
        settings: learning rate, decay of the first and of the second moment, epsilon, weight decay.
    """
    rate, beta1, beta2, epsilon, decay = settings
    one1, beta2_, one2 = np.float32(1 - beta1), np.float32(beta2), np.float32(1 - beta2)
    kept, eps, by = np.float32(1 - rate * decay), np.float32(epsilon), np.float32(rate)
    for place in range(len(rows)):
        row = rows[place]
        steps[row] += 1
        # in double: 1 - beta2**1 loses four digits in single precision
        correct1 = np.float32(1 - beta1 ** np.float64(steps[row]))
        correct2 = np.float32(np.sqrt(1 - beta2 ** np.float64(steps[row])))
        values, means, squares, slopes = value[row], mean[row], square[row], gradient[place]
        for i in range(len(values)):
            slope = slopes[i]
            first = means[i] + one1 * (slope - means[i])
            second = squares[i] * beta2_ + one2 * slope * slope
            means[i], squares[i] = first, second
            values[i] = values[i] * kept - by * first / ((np.sqrt(second) / correct2 + eps) * correct1)
