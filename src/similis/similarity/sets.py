"""Similarities of sets of vectors ``[n, t, d]`` (late interaction): MaxSim, FILIP, Chamfer.

Items of fewer than t tokens are padded with zero rows, which are no tokens; an item of nothing but zero rows counts
as one zero vector.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from similis.errors import UserError, did_you_mean
from similis.registry import Source, register
from similis.similarity.base import Similarity
from similis.similarity.chunks import in_blocks


def tokens_of(items: Tensor) -> Tensor:
    """``[..., t, d]`` → ``[..., t]`` booleans: True for tokens, False for padding."""
    real = (items != 0).any(-1)
    nothing = ~real.any(-1)
    if bool(nothing.any()):
        real = real.clone()
        real[..., 0] |= nothing
    return real


class TokenSets(Similarity):
    """Scores that are pooled from the products of all tokens of one item with all of another.

    A subclass says how in :meth:`pool`. The ``[n, m, t, s]`` array of products is made block by block.
    """

    def pool(self, products: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
        """Products ``[..., t, s]`` of query tokens ``[..., t, d]`` with key tokens ``[..., s, d]`` → ``[...]``."""
        raise TypeError(f"{type(self).__name__} does not define pool")

    def score(self, queries: tuple[Tensor, ...], keys: tuple[Tensor, ...]) -> Tensor:
        q, k = queries[0], keys[0]
        _check(q, k)
        return in_blocks(self._block, q, k, q.shape[1] * k.shape[1])

    def _block(self, queries: Tensor, keys: Tensor) -> Tensor:
        products = queries.flatten(0, 1) @ keys.flatten(0, 1).mT
        products = products.view(len(queries), queries.shape[1], len(keys), keys.shape[1]).transpose(1, 2)
        return self.pool(products, queries.unsqueeze(1), keys.unsqueeze(0))

    def paired(self, queries: Tensor, keys: Tensor) -> Tensor:
        (q,), (k,) = self.prepare_queries(queries), self.prepare_keys(keys)
        _check(q, k)
        return self.pool(q @ k.mT, q, k)

    def lists(self, queries: Tensor, keys: Tensor) -> Tensor:
        (q,), (k,) = self.prepare_queries(queries), self.prepare_keys(keys)
        _check(q, k[:, 0])
        q = q.unsqueeze(1)
        return self.pool(q @ k.mT, q, k)


def _check(queries: Tensor, keys: Tensor) -> None:
    if queries.dim() != 3 or keys.dim() != 3:
        shapes = f"queries {list(queries.shape)} and keys {list(keys.shape)}"
        raise UserError(f"this similarity compares sets of token vectors [n, t, d], and was given {shapes}")


def best(products: Tensor, real: Tensor) -> Tensor:
    """The largest along the last dimension of ``[..., s]``, among ``real`` (broadcastable) ones."""
    if not bool(real.all()):
        products = products.masked_fill(~real, -torch.inf)
    return products.max(-1).values


def mean_over(values: Tensor, real: Tensor) -> Tensor:
    """Mean over the last dimension ``[..., t]`` of what is ``real``."""
    return (values * real).sum(-1) / real.sum(-1)


@register(
    "similarity",
    "maxsim",
    source=Source(
        "ColBERT: Efficient and Effective Passage Search via Contextualized Late Interaction over BERT",
        "Khattab and Zaharia",
        2020,
    ),
    family="sets",
)
class MaxSim(TokenSets):
    """Late interaction: for each query token its best key token, Σ_i max_j q_i·k_j, tokens of unit length.

    Equals sentence-transformers' ``maxsim`` (there an empty document scores -1e9, here 0). Linear in no single
    vector of the item, so it goes to a multi-vector index or re-ranks.

    Args:
        mean: divide by the number of query tokens: in -1..1, whatever the query's length.
        normalize: tokens to unit length.
    """

    def __init__(self, mean: bool = False, normalize: bool = True) -> None:
        super().__init__()
        self.mean, self.normalize = mean, normalize

    def prepare_queries(self, queries: Tensor) -> tuple[Tensor, ...]:
        return (normalize(queries, dim=-1) if self.normalize else queries,)

    def prepare_keys(self, keys: Tensor) -> tuple[Tensor, ...]:
        return self.prepare_queries(keys)

    def pool(self, products: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
        found = best(products, tokens_of(keys).unsqueeze(-2))
        # A zero row's products are zero, so padding of the query adds nothing.
        return mean_over(found, tokens_of(queries)) if self.mean else found.sum(-1)


@register(
    "similarity",
    "filip",
    source=Source(
        "FILIP: Fine-grained Interactive Language-Image Pre-Training",
        "Yao, Huang, Hou, Lu, Niu, Xu, Liang, Li, Jiang and Xu",
        2022,
    ),
    family="sets",
)
class Filip(MaxSim):
    """Token-wise maximum similarity from both sides: mean over query tokens, mean over key tokens, or their mean.

    The paper scores image → text by the image's side (``side=query``) and text → image by the text's
    (``side=key``), padding left out; ``both`` is one similarity for both directions, so one for search.

    Args:
        side: ``both``, ``query`` or ``key``.
        normalize: tokens to unit length.
    """

    SIDES = ("both", "query", "key")

    def __init__(self, side: str = "both", normalize: bool = True) -> None:
        super().__init__(True, normalize)
        if side not in self.SIDES:
            raise UserError(
                f"filip has no side {side!r}{did_you_mean(side, self.SIDES)} (sides: {', '.join(self.SIDES)})"
            )
        self.side = side

    def pool(self, products: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
        if self.side == "query":
            return super().pool(products, queries, keys)
        if self.side == "key":
            return super().pool(products.mT, keys, queries)
        return (super().pool(products, queries, keys) + super().pool(products.mT, keys, queries)) / 2


@register(
    "similarity",
    "chamfer",
    source=Source(
        "A Point Set Generation Network for 3D Object Reconstruction from a Single Image", "Fan, Su and Guibas", 2017
    ),
    family="sets",
)
class Chamfer(TokenSets):
    """Minus the Chamfer distance of two point sets: mean squared distance to the nearest, both ways, added."""

    def pool(self, products: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
        closeness = -squared_distances(products, queries, keys)
        forth = mean_over(best(closeness, tokens_of(keys).unsqueeze(-2)), tokens_of(queries))
        back = mean_over(best(closeness.mT, tokens_of(queries).unsqueeze(-2)), tokens_of(keys))
        return forth + back


def squared_distances(products: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
    """‖q_i - k_j‖² ``[..., t, s]`` from the products."""
    lengths = queries.square().sum(-1).unsqueeze(-1) + keys.square().sum(-1).unsqueeze(-2)
    return (lengths - 2 * products).clamp_min(0)
