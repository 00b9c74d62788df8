"""Relation: what supervision says of the pairs (query i, key j) whose similarity is scored.

A :class:`Relation` is kept in its smallest form — codes whose equality makes a positive, codes whose equality
leaves a pair out — and :meth:`Relation.rows` makes the dense rows a criterion reads, tile by tile, so that a
batch of 32,768 never holds an ``[n, n]`` grade matrix.
"""

from similis.relation.codes import Codes, Diagonal, Numbered
from similis.relation.relation import SUPERVISIONS, Layout, Relation
from similis.relation.rows import Rows, join

__all__ = ["SUPERVISIONS", "Codes", "Diagonal", "Layout", "Numbered", "Relation", "Rows", "join"]
