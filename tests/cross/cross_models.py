"""A tiny transformer, as a dense model's folder, for tests of cross-encoders and distillation."""

from __future__ import annotations

from pathlib import Path

from small_runs import small_model

WORDS = [f"{a}{b}{c}" for a in "bdfgk" for b in "aeiou" for c in "lmnrst"]


def tiny_dense(folder: Path, *, dropout: float = 0.1, hidden: int = 32) -> Path:
    """A BERT of two layers over :data:`WORDS`, saved as a sentence-transformers model under ``folder``."""
    rates = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    settings = {"hidden": hidden, "inner": 2 * hidden, "limit": 24, "max_position_embeddings": 64}
    return small_model(folder, WORDS, **settings, **rates)
