"""Criteria over class proxies and centroids. May import ``criteria.ops``, the softmax family and the nouns."""

from similis.criteria.proxy import angular, centroids, classes

__all__ = ["angular", "centroids", "classes"]
