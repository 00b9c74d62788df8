"""Products in bf16 that only pick candidates, with a bound that keeps the search exact.

Only where torch is loaded already and the processor multiplies bf16 by itself; a search never loads torch for it.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from similis.indexes.reduction import Vectors

#: Queries from which the keys' conversion pays, and the most bytes of converted keys.
BATCH, BYTES = 64, 2 << 30
#: Rounding of a number to bf16, relative: half a unit of its 8 significant bits.
_UNIT = 2.0**-9
_BLOCK = 1 << 22


def usable(vectors: Vectors, queries: int) -> bool:
    """Whether bf16 products are possible and pay for so many queries over these keys."""
    torch = sys.modules.get("torch")
    if torch is None or queries < BATCH or 2 * vectors.size > BYTES:
        return False
    supported = getattr(getattr(torch, "cpu", None), "_is_avx512_bf16_supported", None)
    return bool(supported and supported())


class HalfKeys:
    """Keys ``[n, d]`` rounded to bf16.

    By Cauchy-Schwarz a product of rounded vectors q̃·k̃ differs from q·k by at most ‖q - q̃‖‖k‖ + ‖q̃‖‖k - k̃‖,
    and the result is rounded once more; ``longest`` and ``rounding`` are the largest ‖k‖ and ‖k - k̃‖.
    """

    def __init__(self, vectors: Vectors) -> None:
        torch = sys.modules["torch"]
        self.keys: Any = torch.empty(vectors.shape, dtype=torch.bfloat16)
        self.longest = self.rounding = 0.0
        size = max(1, _BLOCK // vectors.shape[1])
        for start in range(0, len(vectors), size):
            block = torch.from_numpy(np.array(vectors[start : start + size]))
            half = block.bfloat16()
            self.keys[start : start + size] = half
            self.longest = max(self.longest, float(block.norm(dim=1).max()))
            self.rounding = max(self.rounding, float((block - half.float()).norm(dim=1).max()))

    def queries(self, queries: Vectors) -> tuple[Any, Vectors]:
        """Rounded queries, and ``[q]`` how far below the k-th best product a true one of the best k can lie."""
        torch = sys.modules["torch"]
        exact = torch.from_numpy(queries)
        half = exact.bfloat16()
        lengths, lost = exact.norm(dim=1), (exact - half.float()).norm(dim=1)
        error = lost * self.longest + (lengths + lost) * (self.rounding + 2 * _UNIT * self.longest)
        # Twice: the k-th best product may be too large by the error, and a true one too small by it.
        return half, np.asarray(2 * error.numpy(), np.float32)

    def products(self, queries: Any, start: int, stop: int) -> Vectors:
        """Float32 ``[q, stop - start]``."""
        return np.asarray((queries @ self.keys[start:stop].T).float().numpy())
