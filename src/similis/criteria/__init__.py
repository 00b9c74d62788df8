"""Criteria: (scores, relation) → one loss per row; pure functions on the last dimension. Import nouns only.

One package a family; ``ops`` has the masked arithmetic they share.

A criterion is ``f(scores [..., m], relation: Rows, *, parameters) -> [...]``, or an ``nn.Module`` of that call
where it has parameters to learn. Traits of a registration:

- ``needs``: ``"positive"``, ``"negative"``, ``"ordered"`` (a known key graded above another): rows without them
  contribute zero;
- ``sorts``: it sorts each row;
- ``each_positive``, ``each_key``: it compares each positive, or each key, with all keys: (1 + P) or m times a softmax;
- ``sampled``: it draws samples, several passes a row;
- ``positional``: the order of the keys has a meaning;
- ``whole``: it reads the whole matrix ``[n, m]`` at once instead of row by row;
- ``keys``: the key source it is made for (``"proxies"``, ``"centroids"``), the objective's default;
- ``similarity``, ``directions``: the defaults of those settings;
- ``terms``: what a row's loss is the mean of, for ``reduction="mean_terms"``: ``"positives"``, ``"keys"``, a function
  of the criterion's own arguments that counts them ``[...]``, or ``"own"``: the criterion's method ``terms``;
- ``surrogate_gradient``: its gradient is defined by itself, not as the derivative of its value.
"""

from similis.criteria import distillation, margin, proxy, ranking, regression, softmax

__all__ = ["distillation", "margin", "proxy", "ranking", "regression", "softmax"]
