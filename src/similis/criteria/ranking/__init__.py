"""Ranking criteria over graded lists. May import ``criteria.ops`` and the nouns."""

from similis.criteria.ranking import listwise, measures, pairwise, reference, sampled, sorting, stochastic, swapped

__all__ = ["listwise", "measures", "pairwise", "reference", "sampled", "sorting", "stochastic", "swapped"]
