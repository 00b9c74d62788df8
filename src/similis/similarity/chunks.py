"""Scoring pair by pair within a memory budget: block by block, each block's temporaries made again backwards."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

#: Temporaries of one block, in numbers: 2^22 float32 are 16 MB.
BUDGET = 1 << 22


def in_blocks(
    score: Callable[[Tensor, Tensor], Tensor], queries: Tensor, keys: Tensor, cells: int, budget: int = BUDGET
) -> Tensor:
    """``[n, m]`` scores of a function that needs ``cells`` numbers of temporary memory for each pair.

    All pairs at once where they fit the budget; else blocks of rows (and of keys where one row does not fit), whose
    temporaries are not kept for the backward pass but made again, so that memory is O(n·m + budget).

    Args:
        score: ``[a, ...]`` queries and ``[b, ...]`` keys → ``[a, b]`` scores, deterministic.
        queries: ``[n, ...]``.
        keys: ``[m, ...]``.
        cells: numbers held for one pair.
        budget: numbers held at once.
    """
    n, m = len(queries), len(keys)
    if n * m * cells <= budget:
        return score(queries, keys)
    columns = max(1, min(m, budget // max(1, cells)))
    rows = max(1, budget // max(1, cells * columns))
    keep = torch.is_grad_enabled()

    def block(q: Tensor, k: Tensor) -> Tensor:
        if not keep:
            return score(q, k)
        made: Tensor = checkpoint(score, q, k, use_reentrant=False, preserve_rng_state=False)
        return made

    return torch.cat([torch.cat([block(q, k) for k in keys.split(columns)], -1) for q in queries.split(rows)])
