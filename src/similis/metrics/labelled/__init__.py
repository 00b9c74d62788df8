"""Measures of labelled embeddings that are no rankings: k-NN accuracy, clustering; importing this registers them."""

from similis.metrics.labelled import clustering, knn
from similis.metrics.labelled.neighbours import Labelled

__all__ = ["Labelled", "clustering", "knn"]
