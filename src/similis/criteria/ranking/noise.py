"""The noise of criteria that sample: no generator is advanced, so that every execution sees the same numbers.

It is a hash of a seed, torch's random state (read, not advanced), the row's sample index where the relation has one,
and the key's place: other in every step of a seeded training run.
"""

from __future__ import annotations

import zlib

import torch
from torch import Tensor

from similis.relation import Rows


def uniform(scores: Tensor, relation: Rows, seed: int, draw: int) -> Tensor:
    """``[..., m]`` numbers in (0, 1), neither of the two among them.

    Args:
        scores: ``[..., m]``, for shape, type and device.
        relation: rows of the same shape.
        seed: of the noise.
        draw: which of a step's draws.
    """
    state = zlib.crc32(torch.get_rng_state().numpy().tobytes())
    start = (state * 0x9E3779B1 + seed * 0x85EBCA77 + draw * 0xC2B2AE3D) & 0x7FFFFFFF
    column = _mixed(torch.arange(scores.shape[-1], device=scores.device) * 0x9E3779B97F4A7 + start)
    row = torch.zeros(1, dtype=torch.long, device=scores.device) if relation.samples is None else relation.samples
    row = _mixed(row.long() * 0x2545F4914F6CDD1D)
    # only this last step is taken for every pair, on 32-bit integers and in place
    x = _narrow(column) + _narrow(row).unsqueeze(-1)
    x.mul_(0x2C1B3C6D).bitwise_xor_(x >> 15).mul_(0x297A2D39)
    # 23 bits: with one more the largest number would be rounded to 1, whose logarithm and quantile are infinite
    found = (x >> 9).bitwise_and_(0x7FFFFF).to(scores.dtype).add_(0.5).mul_(1 / (1 << 23))
    return found.expand_as(scores)


def _mixed(x: Tensor) -> Tensor:
    """A mixing step on 64-bit integers (xor-shift and multiply, wrapping)."""
    x = (x ^ (x >> 30)) * -0x40A7B892E31B1A47
    x = (x ^ (x >> 27)) * -0x6B2FB644ECCEEE15
    return x ^ (x >> 31)


def _narrow(x: Tensor) -> Tensor:
    """The low 31 bits, as 32-bit integers."""
    return x.bitwise_and(0x7FFFFFFF).to(torch.int32)
