"""Searching: what a search returns, the protocol of everything that ranks, and fusion.

``hits`` has Hit, Hits and the Retriever protocol; ``ranker`` the retrievers that can score any document; ``fusion``
RRF and weighted standardised scores; ``hybrid`` dense and lexical search in one. Imports NumPy and the base only;
``similis.indexes`` builds on it.
"""

from similis.search.fusion import FittedWeight, fit_weight, rrf, weighted
from similis.search.hits import Hit, Hits, Retriever
from similis.search.hybrid import Hybrid
from similis.search.ranker import ListedIds, Ranker

__all__ = [
    "FittedWeight",
    "Hit",
    "Hits",
    "Hybrid",
    "ListedIds",
    "Ranker",
    "Retriever",
    "fit_weight",
    "rrf",
    "weighted",
]
