"""How many processor threads the libraries underneath may use."""

from __future__ import annotations

import os
import sys

_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS", "NUMBA_NUM_THREADS")


def limit_threads(count: int) -> None:
    """Let every library use at most ``count`` threads: those not loaded yet by environment, the others by call."""
    for variable in _VARIABLES:
        os.environ[variable] = str(count)
    if count == 1:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)
    if "faiss" in sys.modules:
        sys.modules["faiss"].omp_set_num_threads(count)
