"""Key sources: class proxies, centroids, memories, mixed points. May import the nouns and the registry."""

from similis.keys import centroids, fixed, memory, mixed, mixed_bank, proxies
from similis.keys.base import KeySource

__all__ = ["KeySource", "centroids", "fixed", "memory", "mixed", "mixed_bank", "proxies"]
