"""Key sources: class proxies, memory queues, mixed points. May import the nouns and the registry."""

from similis.keys import centroids, fixed, mixed_bank, proxies
from similis.keys.base import KeySource

__all__ = ["KeySource", "centroids", "fixed", "mixed_bank", "proxies"]
