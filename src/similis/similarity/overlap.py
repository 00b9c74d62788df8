"""Similarities of sets written as vectors: bits, counts and other vectors that are not negative."""

from __future__ import annotations

import torch
from torch import Tensor

from similis.errors import UserError
from similis.registry import Source, register
from similis.similarity.base import InnerProduct, Similarity


@register(
    "similarity",
    "jaccard",
    source=Source("The Distribution of the Flora in the Alpine Zone", "Jaccard", 1912),
    family="overlap",
)
class Jaccard(Similarity):
    """Weighted Jaccard index Σ min(q, k) / Σ max(q, k), in 0..1; on bits intersection over union.

    Written with the Manhattan distance, (S - D)/(S + D) with S = ‖q‖₁ + ‖k‖₁, so it needs no ``[n, m, d]`` array.
    Coordinates below zero count as 0; two empty vectors score 0.
    """

    def prepare_queries(self, queries: Tensor) -> tuple[Tensor, ...]:
        weights = queries.clamp_min(0)
        return weights, weights.sum(-1, keepdim=True)

    def prepare_keys(self, keys: Tensor) -> tuple[Tensor, ...]:
        return self.prepare_queries(keys)

    def score(self, queries: tuple[Tensor, ...], keys: tuple[Tensor, ...]) -> Tensor:
        return _shared(torch.cdist(queries[0], keys[0], p=1.0), queries[1] + keys[1].mT)

    def lists(self, queries: Tensor, keys: Tensor) -> Tensor:
        (q, ours), (k, theirs) = self.prepare_queries(queries), self.prepare_keys(keys)
        apart = torch.cdist(q.unsqueeze(1), k, p=1.0).squeeze(1)
        return _shared(apart, ours + theirs.squeeze(-1))


def _shared(apart: Tensor, total: Tensor) -> Tensor:
    whole = total + apart
    return torch.where(whole > 0, (total - apart) / whole.clamp_min(1e-12), 0.0)


@register(
    "similarity",
    "tversky",
    source=Source("Features of Similarity", "Tversky", 1977),
    family="overlap",
)
class Tversky(Similarity):
    """Tversky index p/(p + α(a - p) + β(b - p)) with p = q·k, a = q·q, b = k·k: what is shared over what is not.

    On bits p counts the shared features, a - p those of the query alone, b - p those of the key alone. α = β = ½ is
    the Dice coefficient, α = 1 with β = 0 the share of the query that the key contains. For vectors that are not
    negative; two empty ones score 0.

    Args:
        query: α ≥ 0, weight of what the query alone has.
        key: β ≥ 0, weight of what the key alone has.
    """

    def __init__(self, query: float = 0.5, key: float = 0.5) -> None:
        super().__init__()
        if query < 0 or key < 0:
            raise UserError(f"tversky needs weights of at least 0, not query={query} and key={key}")
        self.alone = (query, key)

    def prepare_queries(self, queries: Tensor) -> tuple[Tensor, ...]:
        return queries, queries.square().sum(-1, keepdim=True)

    def prepare_keys(self, keys: Tensor) -> tuple[Tensor, ...]:
        return self.prepare_queries(keys)

    def score(self, queries: tuple[Tensor, ...], keys: tuple[Tensor, ...]) -> Tensor:
        return self._index(queries[0] @ keys[0].mT, queries[1], keys[1].mT)

    def lists(self, queries: Tensor, keys: Tensor) -> Tensor:
        (q, ours), (k, theirs) = self.prepare_queries(queries), self.prepare_keys(keys)
        return self._index((k @ q.unsqueeze(-1)).squeeze(-1), ours, theirs.squeeze(-1))

    def _index(self, shared: Tensor, ours: Tensor, theirs: Tensor) -> Tensor:
        alpha, beta = self.alone
        whole = shared + alpha * (ours - shared) + beta * (theirs - shared)
        return shared / whole.clamp_min(1e-12)


@register(
    "similarity",
    "tanimoto",
    source=Source("An Elementary Mathematical Theory of Classification and Prediction", "Tanimoto", 1958),
    family="overlap",
)
class Tanimoto(Tversky):
    """Tanimoto coefficient q·k/(‖q‖² + ‖k‖² - q·k); on bits the Jaccard index, as chemists compare fingerprints."""

    def __init__(self) -> None:
        super().__init__(1.0, 1.0)


@register(
    "similarity",
    "hamming",
    source=Source("Error Detecting and Error Correcting Codes", "Hamming", 1950),
    family="overlap",
    surrogate_gradient=True,
)
class Hamming(InnerProduct):
    """Minus the share of bits that differ, in -1..0; a bit is set where the coordinate is above zero.

    So codes of 0/1, of -1/+1 and real vectors to be binarised are all read. In training the gradient passes through the
    sign where the coordinate lies in -1..1 (the straight-through estimator of Courbariaux, Hubara, Soudry,
    El-Yaniv and Bengio, 2016). Reduces to the inner product of -1/+1 codes.
    """

    def query(self, queries: Tensor) -> Tensor:
        return self.key(queries) / (2 * queries.shape[-1])

    def key(self, keys: Tensor) -> Tensor:
        soft = keys.clamp(-1, 1)
        return soft + (torch.where(keys > 0, 1.0, -1.0).to(keys.dtype) - soft).detach()

    def finish(self, products: Tensor, offset: Tensor | None) -> Tensor:
        return products - 0.5
