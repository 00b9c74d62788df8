"""Similarities that move one set of tokens ``[t, d]`` onto another: exact, relaxed and entropic transport."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from similis.errors import UserError, did_you_mean
from similis.registry import Source, register
from similis.similarity.sets import TokenSets, best, squared_distances, tokens_of
from similis.similarity.vector import safe_sqrt

COSTS = ("euclidean", "squared", "cosine")
WEIGHTS = ("uniform", "norm")
#: A token of no weight has this log-weight: small enough to add nothing, finite so that no difference is NaN.
NO_WEIGHT = -1e9


class Transport(TokenSets):
    """The cost of moving a token onto another, and the weight of each token; zero rows are padding.

    Args:
        cost: ``euclidean`` distance of two tokens, its square (``squared``), or ``cosine``, 1 - their cosine.
        weights: ``uniform``, or ``norm``: a token weighs as much as it is long (word rotator's distance with
            ``cost=cosine``; scale tokens by their IDF for MoverScore's weights).
    """

    def __init__(self, cost: str = "euclidean", weights: str = "uniform") -> None:
        super().__init__()
        for what, value, allowed in (("cost", cost, COSTS), ("weights", weights, WEIGHTS)):
            if value not in allowed:
                raise UserError(
                    f"transport has no {what} {value!r}{did_you_mean(value, allowed)} (one of {', '.join(allowed)})"
                )
        self.cost, self.weights = cost, weights

    def costs(self, products: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
        """``[..., t, s]``."""
        if self.cost == "cosine":
            return 1 - products / (_lengths(queries).unsqueeze(-1) * _lengths(keys).unsqueeze(-2))
        squares = squared_distances(products, queries, keys)
        return squares if self.cost == "squared" else safe_sqrt(squares)

    def masses(self, items: Tensor) -> Tensor:
        """``[..., t, d]`` → ``[..., t]`` weights that sum to 1, zero for padding."""
        real = tokens_of(items)
        weight = real.to(items.dtype) if self.weights == "uniform" else _lengths(items) * real
        return weight / weight.sum(-1, keepdim=True)


def _lengths(items: Tensor) -> Tensor:
    return safe_sqrt(items.square().sum(-1)).clamp_min(1e-12)


@register(
    "similarity",
    "relaxed_mover",
    source=Source("From Word Embeddings To Document Distances", "Kusner, Sun, Kolkin and Weinberger", 2015),
    family="sets",
)
class RelaxedMover(Transport):
    """Minus the relaxed word mover's distance: each token goes whole to its nearest, the larger of both ways.

    A lower bound of ``mover`` at the price of MaxSim (the paper's RWMD).
    """

    def pool(self, products: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
        closeness = -self.costs(products, queries, keys)
        forth = (best(closeness, tokens_of(keys).unsqueeze(-2)) * self.masses(queries)).sum(-1)
        back = (best(closeness.mT, tokens_of(queries).unsqueeze(-2)) * self.masses(keys)).sum(-1)
        return torch.minimum(forth, back)


@register(
    "similarity",
    "mover",
    source=Source(
        "MoverScore: Text Generation Evaluating with Contextualized Embeddings and Earth Mover Distance",
        "Zhao, Peyrard, Liu, Gao, Meyer and Eger",
        2019,
    ),
    family="sets",
)
class Mover(Transport):
    """Minus the exact earth mover's distance between two weighted token sets (word mover's distance, MoverScore).

    One linear program a pair, so for re-ranking and judging; the gradient is exact: the plan, and for weights the
    dual prices. The same optimum as POT's ``emd2``.
    """

    def pool(self, products: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
        cost = self.costs(products, queries, keys)
        leading = cost.shape[:-2]
        ours, theirs = self.masses(queries), self.masses(keys)
        ours, theirs = ours.expand(*leading, -1), theirs.expand(*leading, -1)
        plans, forth, back = _programs(_flat(cost, 2), _flat(ours, 1), _flat(theirs, 1))
        plan = torch.from_numpy(plans).to(cost).view_as(cost)
        moved = (plan * cost).sum((-2, -1))
        if self.weights == "norm":
            # The plan depends on the weights: by duality its value changes with them at the rate of the prices.
            for price, weight in ((forth, ours), (back, theirs)):
                moved = moved + ((weight - weight.detach()) * torch.from_numpy(price).to(cost).view_as(weight)).sum(-1)
        return -moved


def _flat(values: Tensor, kept: int) -> NDArray[np.float64]:
    return values.detach().double().reshape(-1, *values.shape[-kept:]).cpu().numpy()


def _programs(
    costs: NDArray[np.float64], ours: NDArray[np.float64], theirs: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Optimal plans ``[b, t, s]`` and prices ``[b, t]``, ``[b, s]`` of b transport problems."""
    from scipy.optimize import linprog
    from scipy.sparse import eye_array, kron

    plans, forth, back = np.zeros_like(costs), np.zeros_like(ours), np.zeros_like(theirs)
    for b, cost in enumerate(costs):
        rows, columns = ours[b].nonzero()[0], theirs[b].nonzero()[0]
        t, s = len(rows), len(columns)
        # Each token sends its weight, each receives its own; the last equation follows from the others.
        sends = kron(eye_array(t), np.ones((1, s)))
        receives = kron(np.ones((1, t)), eye_array(s)).tocsr()[: s - 1]
        part = np.ix_(rows, columns)
        constraints = sends if s == 1 else _stacked(sends, receives)
        right = np.concatenate([ours[b, rows], theirs[b, columns[:-1]]])
        solved = linprog(cost[part].ravel(), A_eq=constraints, b_eq=right, bounds=(0, None), method="highs")
        plans[b][part] = solved.x.reshape(t, s)
        forth[b, rows] = solved.eqlin.marginals[:t]
        back[b, columns[:-1]] = solved.eqlin.marginals[t:]
    return plans, forth, back


def _stacked(above: object, below: object) -> object:
    from scipy.sparse import vstack

    return vstack([above, below])


@register(
    "similarity",
    "sinkhorn",
    source=Source("Sinkhorn Distances: Lightspeed Computation of Optimal Transport", "Cuturi", 2013),
    family="sets",
)
class Sinkhorn(Transport):
    """Minus the entropic transport cost min ⟨P, C⟩ + ε KL(P ‖ a⊗b), or minus the debiased divergence.

    Solved in the log domain, so that small ε neither under- nor overflows. The gradient is that of the optimum (the
    plan), not of the iterations: no iteration is kept in memory. Checked against POT's ``sinkhorn``.

    Args:
        epsilon: ε > 0, in units of the cost; towards 0 it becomes ``mover``.
        iterations: updates of both potentials.
        debias: subtract half the cost of each side to itself (Sinkhorn divergence: 0 for equal sets, never
            positive as a score). Feydy, Séjourné, Vialard, Amari, Trouvé and Peyré, 2019.
        cost: ``euclidean``, ``squared`` or ``cosine``.
        weights: ``uniform`` or ``norm``.
    """

    def __init__(
        self,
        epsilon: float = 0.1,
        iterations: int = 50,
        debias: bool = False,
        cost: str = "euclidean",
        weights: str = "uniform",
    ) -> None:
        super().__init__(cost, weights)
        if epsilon <= 0 or iterations < 1:
            raise UserError(f"sinkhorn needs epsilon above 0 and at least 1 iteration, not {epsilon} and {iterations}")
        self.epsilon, self.iterations, self.debias = epsilon, iterations, debias

    def pool(self, products: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
        moved = self._moved(products, queries, keys)
        if self.debias:
            for side in (queries, keys):
                moved = moved - self._moved(side @ side.mT, side, side) / 2
        return -moved

    def _moved(self, products: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
        cost = self.costs(products, queries, keys)
        ours, theirs = self.masses(queries), self.masses(keys)
        with torch.no_grad():
            forth, back = self._potentials(cost, _log(ours), _log(theirs))
            exponent = (forth.unsqueeze(-1) + back.unsqueeze(-2) - cost) / self.epsilon
            plan = (exponent + _log(ours).unsqueeze(-1) + _log(theirs).unsqueeze(-2)).exp()
            value = (forth * ours).sum(-1) + (back * theirs).sum(-1) - self.epsilon * (plan.sum((-2, -1)) - 1)
        # The value of the dual optimum, with the gradient that the envelope theorem gives: plan and potentials.
        value = value + (plan * (cost - cost.detach())).sum((-2, -1))
        if self.weights == "norm":
            value = value + (forth * (ours - ours.detach())).sum(-1) + (back * (theirs - theirs.detach())).sum(-1)
        return value

    def _potentials(self, cost: Tensor, ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
        """Dual potentials ``[..., t]`` and ``[..., s]`` for log-weights of both sides."""
        back = torch.zeros_like(cost[..., 0, :])
        for _ in range(self.iterations):
            forth = -self.epsilon * ((back.unsqueeze(-2) - cost) / self.epsilon + theirs.unsqueeze(-2)).logsumexp(-1)
            back = -self.epsilon * ((forth.unsqueeze(-1) - cost) / self.epsilon + ours.unsqueeze(-1)).logsumexp(-2)
        return forth, back


def _log(weights: Tensor) -> Tensor:
    return torch.where(weights > 0, weights.clamp_min(1e-30).log(), NO_WEIGHT)
