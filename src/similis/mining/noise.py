"""Random numbers of a pair: the same for the same seed, row and key, whatever the execution."""

from __future__ import annotations

import torch
from torch import Tensor

from similis.relation import Rows

#: Odd multipliers of a 64-bit mix of the row, and of a 32-bit mix (the finaliser of MurmurHash3) of each pair.
_ROW, _KEY, _SEED = -7046029254386353131, -4658895280553007687, 2862933555777941757
_FIRST, _SECOND = -2048144789, -1028477387


def uniform(relation: Rows, seed: int) -> Tensor:
    """``[..., m]`` float32 numbers in (0, 1), a hash of seed, row and key.

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
    row = _scrambled(row * _ROW + _signed((seed + 1) * _SEED))
    key = _scrambled(torch.arange(width, device=positive.device) * _KEY + _signed((seed + 2) * _SEED))
    bits = row.unsqueeze(-1) + key
    bits.bitwise_xor_(_shifted(bits, 16)).mul_(_FIRST)
    bits.bitwise_xor_(_shifted(bits, 13)).mul_(_SECOND)
    bits.bitwise_xor_(_shifted(bits, 16))
    return bits.bitwise_and_((1 << 23) - 1).float().add_(0.5).mul_(2.0**-23)


def _scrambled(bits: Tensor) -> Tensor:
    """64-bit integers → 32-bit integers that look random."""
    mask = (1 << 34) - 1
    bits = (bits ^ (bits >> 30 & mask)) * _KEY
    return (bits >> 32).to(torch.int32)


def _shifted(bits: Tensor, shift: int) -> Tensor:
    """A 32-bit shift that fills with zeros; torch's own copies the sign."""
    return (bits >> shift).bitwise_and_((1 << (32 - shift)) - 1)


def _signed(value: int) -> int:
    """The integer as 64 bits with a sign."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


def gumbel(relation: Rows, seed: int) -> Tensor:
    """``[..., m]`` standard Gumbel numbers: the k largest of log w + these are k draws in proportion to w."""
    return uniform(relation, seed).log_().neg_().log_().neg_()
