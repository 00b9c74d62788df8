"""Miners: which known pairs of a batch take part. May import the nouns and the registry.

A miner is ``f(scores [..., m], relation: Rows, *, parameters) -> Rows``: the same rows with more pairs left out, or an
``nn.Module`` of that call where it has a schedule. It sees scores without a graph, row by row, so it is the same in
the plain and the tiled execution. Random choices are drawn from a hash of seed, row and key (:mod:`.noise`).

A miner of triplets keeps the pairs that take part in one of its triplets; where the exact set of triplets matters,
the criterion takes it as an option (``triplet(negatives="semi_hard")``).
"""

from similis.mining import guided, hardness, sampled, schedule, triangles

__all__ = ["guided", "hardness", "sampled", "schedule", "triangles"]
