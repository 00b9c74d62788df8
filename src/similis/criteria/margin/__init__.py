"""Margin criteria: positives and negatives held apart. May import ``criteria.ops`` and the nouns."""

from similis.criteria.margin import distributions, exponential, lifted, order, pairs, sets, triplets, whole

__all__ = ["distributions", "exponential", "lifted", "order", "pairs", "sets", "triplets", "whole"]
