"""A transformer small enough to train in a test."""

from __future__ import annotations

from pathlib import Path

import pytest
from training_rows import labelled

from small_runs import small_model


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers with dropout, saved as a sentence-transformers model."""
    pieces = [f"{start}{a}{b}{c}" for start in ("", "##") for a in "bdfgk" for b in "aeiou" for c in "lmnrst"]
    words = sorted({word for text in labelled(400)["text"] for word in text.split()})
    folder = tmp_path_factory.mktemp("tiny")
    return small_model(folder, [*pieces, *words], inner=32, limit=24, max_position_embeddings=32)
