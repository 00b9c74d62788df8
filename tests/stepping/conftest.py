"""A transformer small enough to step by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from stepped import WORDS

from small_runs import small_model


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of three layers with dropout, saved as a sentence-transformers model."""
    return small_model(
        tmp_path_factory.mktemp("small"), WORDS, layers=3, inner=24, limit=16, max_position_embeddings=32
    )
