"""Losses that give each positive a term of its own, without a list of (positive, negative) pairs.

The mass of the negatives is one log-sum-exp a row; the positives, few, are read out of the matrix as a list.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from similis.criteria import ops
from similis.relation import Rows


def softplus(values: Tensor) -> Tensor:
    """log(1 + exp), exact to float64: torch's own turns linear at 20 already, an error of 2e-9."""
    return torch.nn.functional.softplus(values, threshold=50.0)


def not_negative(relation: Rows) -> Tensor:
    """``[..., m]`` booleans: positives and pairs left out."""
    return relation.positive if relation.left_out is None else relation.positive | relation.left_out


def known(scores: Tensor, relation: Rows) -> Tensor:
    """Scores of the known pairs, :func:`ops.low` where a pair is left out."""
    return scores if relation.left_out is None else ops.drop(scores, relation.left_out)


def known_mass(scaled: Tensor, relation: Rows) -> Tensor:
    """``[..., m]`` → ``[...]``: log Σ over the known keys of exp(score)."""
    return ops.logsumexp_outside(scaled, relation.left_out)


def negative_mass(scaled: Tensor, relation: Rows) -> Tensor:
    """``[..., m]`` → ``[...]``: log Σ over the negatives of exp(score)."""
    return ops.logsumexp_outside(scaled, not_negative(relation))


def negative_count(relation: Rows) -> Tensor:
    """``[...]``: negatives of each row, at least 1."""
    return ops.count(relation.negative).clamp_min(1)


@dataclass(frozen=True)
class Positives:
    """The positives of all rows as one list of T, in the order of the matrix.

    Attributes:
        at: ``[T]`` index of each in the flattened matrix.
        row: ``[T]`` flattened row of each.
        share: ``[T]`` weight of each within its row, adding up to 1 there.
        shape: shape of the rows, ``[...]``.
        single: every row has one positive, so that the list is a value for each row.
    """

    at: Tensor
    row: Tensor
    share: Tensor
    shape: torch.Size
    single: bool = False

    @classmethod
    def of(cls, scores: Tensor, relation: Rows, *, graded: bool = False) -> Positives:
        """Those of ``scores [..., m]``; the shares follow the grades where ``graded``, else they are equal."""
        at = ops.places(relation.positive)
        row = at // max(1, scores.shape[-1])
        shape = scores.shape[:-1]
        weight = scores.new_ones(len(at))
        if len(at) == shape.numel() and torch.equal(row, torch.arange(len(at), device=at.device)):
            return cls(at, row, weight, shape, True)
        if graded and relation.given_grade is not None:
            weight = relation.grade.reshape(-1)[at].to(scores.dtype)
        whole = scores.new_zeros(shape.numel()).index_add(0, row, weight)
        return cls(at, row, weight / whole[row], shape)

    def take(self, scores: Tensor) -> Tensor:
        """``[..., m]`` → ``[T]``: the scores of the positives."""
        return scores.reshape(-1).index_select(0, self.at)

    def beside(self, of_rows: Tensor) -> Tensor:
        """``[...]`` → ``[T]``: a row's value beside each of its positives."""
        return of_rows.reshape(-1) if self.single else of_rows.reshape(-1)[self.row]

    def mean(self, terms: Tensor) -> Tensor:
        """``[T]`` → ``[...]``: mean by shares; 0 in rows without positives."""
        if self.single:
            return terms.reshape(self.shape)
        sums = terms.new_zeros(self.shape.numel()).index_add(0, self.row, terms * self.share)
        return sums.reshape(self.shape)

    def mass(self, scores: Tensor) -> Tensor:
        """``[..., m]`` → ``[...]``: log Σ over a row's positives of exp(score); below :func:`ops.low` without any."""
        own = self.take(scores)
        if self.single:
            return own.reshape(self.shape)
        lowest = own.detach().new_full((self.shape.numel(),), ops.low(own))
        top = lowest.scatter_reduce(0, self.row, own.detach(), "amax")
        sums = torch.zeros_like(top).index_add(0, self.row, (own - top[self.row]).exp())
        return (sums.clamp_min(torch.finfo(sums.dtype).tiny).log() + top).reshape(self.shape)

    def mean_score(self, scores: Tensor) -> Tensor:
        """``[..., m]`` → ``[...]``: mean score of a row's positives; 0 where there is none."""
        return self.mean(self.take(scores))


def softmax_terms(positives: Positives, scaled: Tensor, relation: Rows) -> Tensor:
    """``[T]``: -log softmax of each positive among all known keys ``[..., m]``."""
    if not positives.single:
        return positives.beside(known_mass(scaled, relation)) - positives.take(scaled)
    # one positive a row: the library has it in one piece
    keys = scaled.shape[-1]
    logits, targets = known(scaled, relation).reshape(-1, keys), positives.at % keys
    return torch.nn.functional.cross_entropy(logits, targets, reduction="none")


def own_terms(
    scaled: Tensor,
    relation: Rows,
    *,
    graded: bool = False,
    changed: Callable[[Tensor], Tensor] | None = None,
    apply: Callable[[Tensor], Tensor] | None = None,
    mass: Tensor | None = None,
) -> Tensor:
    """Mean over a row's positives of log(1 + Σ_n exp(s_n - s_p)) = -log[exp s_p / (exp s_p + Σ_n exp s_n)].

    Args:
        scaled: ``[..., m]`` scores over the temperature.
        relation: rows of the same shape.
        graded: positives weigh by their grade.
        changed: of the positives' scores before they are compared, a margin say.
        apply: of each term before the mean.
        mass: ``[...]`` log of the negatives' mass, where it is not the plain log-sum-exp.

    Returns:
        ``[...]``.
    """
    positives = Positives.of(scaled, relation, graded=graded)
    if positives.single and changed is None and mass is None:
        terms = softmax_terms(positives, scaled, relation)  # all keys but the one positive are negatives
        return positives.mean(terms if apply is None else apply(terms))
    mass = negative_mass(scaled, relation) if mass is None else mass
    own = positives.take(scaled)
    own = own if changed is None else changed(own)
    terms = softplus(positives.beside(mass) - own)
    return positives.mean(terms if apply is None else apply(terms))
