"""Readers of training data, corpora, judgements and runs; their checks; duplicates; the docstring harvest.

``read`` / ``stream`` / ``batches`` recognise the supervision in a file or folder; ``retrieval`` and
``read_corpus`` read BEIR folders and corpora; ``trec`` reads and writes runs and qrels; ``check`` reports;
``dedupe`` finds exact and near duplicates; ``harvest`` collects the docstrings of this Python.
Imports nothing of similis but the base (errors, files, progress); anything above may import it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from similis.data import dedupe, harvest, trec
    from similis.data.checking import Report, check
    from similis.data.corpora import Corpus, Retrieval, read_corpus, retrieval
    from similis.data.dataset import Dataset, batches, read, stream
    from similis.data.rejects import Rejected

_HOMES = {
    "Corpus": "corpora",
    "Dataset": "dataset",
    "Rejected": "rejects",
    "Report": "checking",
    "Retrieval": "corpora",
    "batches": "dataset",
    "check": "checking",
    "read": "dataset",
    "read_corpus": "corpora",
    "retrieval": "corpora",
    "stream": "dataset",
}
_MODULES = ("dedupe", "harvest", "trec")

__all__ = [
    "Corpus",
    "Dataset",
    "Rejected",
    "Report",
    "Retrieval",
    "batches",
    "check",
    "dedupe",
    "harvest",
    "read",
    "read_corpus",
    "retrieval",
    "stream",
    "trec",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that a light command stays light."""
    if name in _MODULES:
        return importlib.import_module(f"similis.data.{name}")
    if name in _HOMES:
        value = getattr(importlib.import_module(f"similis.data.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'similis.data' has no attribute {name!r}")
