"""What learning one task after the other did to each of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from similis.errors import UserError


@dataclass(frozen=True)
class Transfer:
    """What a table of results says.

    Attributes:
        final: mean result on all tasks after the last one.
        backward: mean change of a task's result from when it was learnt to the end; below 0: it was forgotten.
        forward: mean gain on a task, before it was learnt, by those learnt before it; None without a baseline.
    """

    final: float
    backward: float
    forward: float | None


def transfer(results: ArrayLike, baseline: ArrayLike | None = None) -> Transfer:
    """ACC, BWT and FWT of "Gradient Episodic Memory for Continual Learning", Lopez-Paz and Ranzato, 2017.

    Definition, of T tasks: ACC = 1/T Σ_i R[T, i]; BWT = 1/(T - 1) Σ_{i<T} (R[T, i] - R[i, i]);
    FWT = 1/(T - 1) Σ_{i>1} (R[i - 1, i] - b[i]).

    Args:
        results: R ``[T, T]``: row t has the results on every task after task t was learnt.
        baseline: b ``[T]``: results on every task before any was learnt.

    Raises:
        UserError: no square table of at least two tasks, or a baseline of another length.
    """
    table = np.asarray(results, np.float64)
    if table.ndim != 2 or table.shape[0] != table.shape[1] or len(table) < 2:
        raise UserError(f"transfer needs results [tasks, tasks] of at least two tasks, not {list(table.shape)}")
    backward = float((table[-1, :-1] - np.diag(table)[:-1]).mean())
    if baseline is None:
        return Transfer(float(table[-1].mean()), backward, None)
    before = np.asarray(baseline, np.float64)
    if before.shape != (len(table),):
        raise UserError(f"transfer needs a baseline of {len(table)} tasks, not {list(before.shape)}")
    forward = float((np.diag(table, 1) - before[1:]).mean())
    return Transfer(float(table[-1].mean()), backward, forward)
