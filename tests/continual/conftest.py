"""A transformer of the words of this folder's rows, small enough to train in a test."""

from __future__ import annotations

from pathlib import Path

import pytest
from continual_rows import THINGS, document

from small_runs import small_model


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of one layer, saved as a sentence-transformers model."""
    things = document(list(range(THINGS))).split()
    words = [*things, *(word.replace("thing", "alias") for word in things)]
    settings = {"hidden": 32, "layers": 1, "inner": 64, "limit": 20}
    folder = tmp_path_factory.mktemp("tiny")
    return small_model(folder, words, **settings, max_position_embeddings=24, initializer_range=0.2)
