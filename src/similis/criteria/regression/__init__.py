"""Criteria over real-valued and ordinal targets. May import ``criteria.ops``, rankings' arithmetic and the nouns."""

from similis.criteria.regression import correlation, errors, ordinal, scored, transport

__all__ = ["correlation", "errors", "ordinal", "scored", "transport"]
