"""Miners: which known pairs of a batch take part. May import the nouns and the registry.

A miner is ``f(scores [..., m], relation: Rows, *, parameters) -> Rows``: the same rows with more pairs left out. It
sees scores without a graph.
"""
