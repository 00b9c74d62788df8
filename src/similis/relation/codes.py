"""Rules for pairs, kept as codes: equality makes a positive, or leaves a pair out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: Pairs from which on narrower integers pay for their making.
_NARROWED = 1 << 16


@dataclass(frozen=True)
class Codes:
    """A rule for pairs: the share of leading levels on which two rows of codes agree.

    Args:
        rows: ``[n]`` or ``[n, L]`` integers, one row a query; a negative code equals nothing.
        keys: ``[m]`` or ``[m, L]`` integers, one row a key.
    """

    rows: Tensor
    keys: Tensor

    def equal(self, start: int, stop: int) -> Tensor:
        """``[stop - start, m]`` booleans: equal codes on every level."""
        rows, keys = self.rows[start:stop], self.keys
        if rows.dim() == 1:
            same = self._same(start, stop)
            return same & (rows >= 0).unsqueeze(1) if bool((rows < 0).any()) else same
        same = (rows[:, 0].unsqueeze(1) == keys[:, 0]) & (rows[:, 0] >= 0).unsqueeze(1)
        for level in range(1, rows.shape[1]):
            same = same & (rows[:, level].unsqueeze(1) == keys[:, level])
        return same

    def places(self, start: int, stop: int) -> Tensor | None:
        """``[stop - start, P]`` keys equal to each row, where every row has as many and the rule knows them."""
        return None

    def _same(self, start: int, stop: int) -> Tensor:
        """``[stop - start, m]`` booleans: equal integers, of codes ``[n]`` and ``[m]``."""
        if self.rows.device.type != "cpu" or len(self.rows) * len(self.keys) < _NARROWED:
            return self.rows[start:stop].unsqueeze(1) == self.keys
        rows, keys = self._narrow
        return torch.from_numpy(rows[start:stop, None] == keys)

    @cached_property
    def _narrow(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Codes ``[n]`` and ``[m]`` in the narrowest integers that hold them.

        On a processor NumPy compares all pairs of those two to five times faster than torch.
        """
        rows, keys = self.rows.numpy(), self.keys.numpy()
        narrow = np.result_type(*(np.min_scalar_type(f(codes)) for codes in (rows, keys) for f in (np.min, np.max)))
        return rows.astype(narrow), keys.astype(narrow)

    def grade(self, start: int, stop: int) -> Tensor:
        """``[stop - start, m]`` floats in 0..1: shared leading levels over all levels."""
        if self.rows.dim() == 1:
            return self.equal(start, stop).float()
        levels = self.rows.shape[1]
        shared = torch.zeros(len(self.rows[start:stop]), len(self.keys), device=self.rows.device)
        for depth in range(1, levels + 1):
            shared += Codes(self.rows[:, :depth], self.keys[:, :depth]).equal(start, stop)
        return shared / levels

    def transpose(self) -> Codes:
        return Codes(self.keys, self.rows)

    def to(self, device: torch.device) -> Codes:
        return Codes(self.rows.to(device), self.keys.to(device))


@dataclass(frozen=True)
class Diagonal(Codes):
    """The rule that pairs item i of the rows with item i of the keys: codes 0, 1, 2, … on both sides."""

    def equal(self, start: int, stop: int) -> Tensor:
        stop = min(stop, len(self.rows))
        same = torch.zeros(max(0, stop - start), len(self.keys), dtype=torch.bool, device=self.keys.device)
        same[:, start:].diagonal().fill_(True)
        return same

    def transpose(self) -> Codes:
        return Diagonal(self.keys, self.rows)

    def to(self, device: torch.device) -> Codes:
        return Diagonal(self.rows.to(device), self.keys.to(device))


@dataclass(frozen=True)
class Numbered(Codes):
    """The rule of keys that are numbered 0, 1, …, C - 1, once or several times over; rows have codes 0..C-1."""

    classes: int

    def equal(self, start: int, stop: int) -> Tensor:
        return marked(self.places(start, stop), len(self.keys))

    def places(self, start: int, stop: int) -> Tensor:
        first, times = self.rows[start:stop].unsqueeze(1), len(self.keys) // self.classes
        if times == 1:
            return first
        return first + torch.arange(times, device=first.device) * self.classes

    def to(self, device: torch.device) -> Codes:
        return Numbered(self.rows.to(device), self.keys.to(device), self.classes)


def marked(places: Tensor, m: int) -> Tensor:
    """``[n, P]`` places → ``[n, m]`` booleans, True there."""
    return torch.zeros(len(places), m, dtype=torch.bool, device=places.device).scatter_(1, places, True)


def self_codes(n: int, m: int, device: torch.device) -> tuple[Codes]:
    return (Diagonal(torch.arange(n, device=device), torch.arange(m, device=device)),)


def any_of(rules: tuple[Tensor | Codes, ...], start: int, stop: int) -> Tensor | None:
    """Whether any rule applies, or None where there is no rule."""
    found: Tensor | None = None
    for rule in rules:
        applies = rule.equal(start, stop) if isinstance(rule, Codes) else rule[start:stop]
        found = applies if found is None else found | applies
    return found


def transposed(rule: Tensor | Codes) -> Tensor | Codes:
    return rule.transpose() if isinstance(rule, Codes) else rule.mT


def among_side(rule: Codes, side: int) -> Codes:
    codes = rule.rows if side == 0 else rule.keys
    return Codes(codes, codes)


def weights_of_keys(belongs: Tensor | Codes, weight: Tensor) -> Tensor:
    """``[m]`` what keys weigh where rows weigh ``weight [n]``: as the rows a key belongs with do on average.

    A key that belongs with no row weighs as all rows do on average, so that rows of equal weights have keys of the
    same. ``belongs`` are codes, of which the first level counts, or grades ``[n, m]``, of which those above 0 do.
    """
    if isinstance(belongs, Codes):
        rows, keys = (codes if codes.dim() == 1 else codes[:, 0] for codes in (belongs.rows, belongs.keys))
        places = torch.cat([rows, keys]).unique(return_inverse=True)[1]
        own = places[: len(rows)]
        present = (rows >= 0).to(weight)
        sums, counts = (torch.zeros(len(places)).to(weight).index_add(0, own, w) for w in (weight * present, present))
        found, count = sums[places[len(rows) :]], counts[places[len(rows) :]]
    else:
        positive = (belongs > 0).to(weight)
        found, count = weight @ positive, positive.sum(0)
    return torch.where(count > 0, found / count.clamp_min(1), weight.mean())
