"""Encoders on sentence-transformers' modules: ``encoder`` is what they share.

``dense``, ``sparse`` and ``multi_vector`` are the families, ``creating`` makes new ones, ``truncation`` counts what a
model's length cuts.
"""
