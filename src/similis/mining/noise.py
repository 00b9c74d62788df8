"""Random numbers of a pair: the same for the same seed, row and key, whatever the execution."""

from __future__ import annotations

import torch
from torch import Tensor

from similis.relation import Rows

_ROW, _KEY, _SEED = -7046029254386353131, -4658895280553007687, 2862933555777941757


def uniform(relation: Rows, seed: int) -> Tensor:
    """``[..., m]`` float64 numbers in (0, 1), a hash (the finaliser of SplitMix64) of seed, row and key.

    A row is known by its sample index where the relation has one, else by its first positive and first left-out
    key: tiles of a batch cannot tell the row's place in it.
    """
    positive = relation.positive
    width = positive.shape[-1]
    if relation.samples is not None:
        row = relation.samples.to(torch.int64)
    else:
        row = positive.to(torch.uint8).argmax(-1) * (width + 1)
        if relation.left_out is not None:
            row = row + relation.left_out.to(torch.uint8).argmax(-1)
    key = torch.arange(width, device=positive.device)
    bits = row.unsqueeze(-1) * _ROW + key * _KEY + _signed((seed + 1) * _SEED)
    bits = _mixed(bits, 30, _KEY)
    bits = _mixed(bits, 27, -7723592293110705685)
    bits = bits ^ _shifted(bits, 31)
    return ((bits & ((1 << 52) - 1)).double() + 0.5) / (1 << 52)


def _mixed(bits: Tensor, shift: int, factor: int) -> Tensor:
    return (bits ^ _shifted(bits, shift)) * factor


def _shifted(bits: Tensor, shift: int) -> Tensor:
    """A shift that fills with zeros; torch's own copies the sign."""
    return (bits >> shift) & ((1 << (64 - shift)) - 1)


def _signed(value: int) -> int:
    """The integer as 64 bits with a sign."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


def gumbel(relation: Rows, seed: int) -> Tensor:
    """``[..., m]`` standard Gumbel numbers: the k largest of log w + these are k draws in proportion to w."""
    return -(-uniform(relation, seed).log()).log()
