"""faiss on one thread: its threads wait busily, which starves the other test processes of a small machine."""

from __future__ import annotations

import faiss
import pytest


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    faiss.omp_set_num_threads(1)
