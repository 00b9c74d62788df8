"""Measures of embeddings alone, or of two embeddings of the same items; importing this registers them."""

from similis.metrics.geometry import agreement, dimension, hubness, spectrum, sphere

__all__ = ["agreement", "dimension", "hubness", "spectrum", "sphere"]
