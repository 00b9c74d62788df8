"""Similarities: (queries, keys) → scores, higher is more similar. May import the registry and nothing above it.

``base`` has the protocol and the inner-product reduction; ``vector`` the similarities of single vectors.
"""

from similis.similarity import angle, vector
from similis.similarity.base import InnerProduct, Similarity, build

__all__ = ["InnerProduct", "Similarity", "angle", "build", "vector"]
