"""Modules over arrays that a text names: ``linear``, ``mlp`` and ``conv``, all over standardised inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from similis.encoders.heads import Head, checked, head_of
from similis.errors import UserError, did_you_mean
from similis.text import Call, parse_call

_ALL: dict[str, type] = {"dimension": int, "standardize": bool, "head": object}

#: By name: what may be set, and the type of each.
BUILT_IN: dict[str, dict[str, type]] = {
    "linear": _ALL,
    "mlp": {"hidden": list, "dropout": float, **_ALL},
    "conv": {"channels": list, **_ALL},
}

#: Rows that means and deviations of inputs are taken from.
_SAMPLE = 65_536


class Standardize(nn.Module):
    """Inputs minus their mean, over their standard deviation; both are kept, and not learnt.

    Args:
        shape: of mean and deviation, broadcast over a row.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("scale", torch.ones(shape))

    def forward(self, rows: Tensor) -> Tensor:
        return (rows - self.mean) * self.scale

    def see(self, rows: NDArray[Any]) -> None:
        """Take mean and deviation from rows ``[n, ...]``; inputs that do not vary keep their scale."""
        sample = rows[np.linspace(0, len(rows) - 1, min(len(rows), _SAMPLE)).astype(np.int64)]
        wide = torch.from_numpy(np.asarray(sample, np.float64))
        axes = [0, *(i + 1 for i, size in enumerate(self.mean.shape) if size == 1 and wide.shape[i + 1] > 1)]
        mean = wide.mean(axes, keepdim=True)
        deviation = (wide - mean).square().mean(axes, keepdim=True).sqrt()
        self.mean.copy_(mean[0])
        self.scale.copy_(torch.where(deviation > 1e-8 * mean.abs(), 1 / deviation, torch.ones_like(deviation))[0])


class BuiltIn(nn.Module):
    """One of the modules that a text names; ``str`` of it with its shape rebuilds it.

    Args:
        text: ``linear(dimension=64)``, ``mlp(hidden=[256], dimension=64, dropout=0.0)`` or
            ``conv(channels=[32, 64], dimension=64)`` for images ``[n, h, w]`` or ``[n, c, h, w]``; each takes
            ``standardize`` (inputs to mean 0 and deviation 1; conv: of each channel) and ``head``, such as
            ``gaussian(dimension=32)`` (see :mod:`similis.encoders.heads`) in the place of ``dimension``.
        shape: of a row.

    Raises:
        UserError: an unknown module or setting, a value out of range, or a shape that the module cannot read.
    """

    def __init__(self, text: str | Call, shape: tuple[int, ...]) -> None:
        super().__init__()
        call = parse_call(text) if isinstance(text, str) else text
        if call.name not in BUILT_IN:
            known = ", ".join(BUILT_IN)
            raise UserError(
                f"there is no module {call.name!r}{did_you_mean(call.name, BUILT_IN)} (by name: {known}); "
                "any nn.Module over arrays can be given itself"
            )
        given = {name: checked(call.name, name, value, BUILT_IN[call.name]) for name, value in call.arguments.items()}
        self.text, self.shape = str(call), tuple(shape)
        self.head: Head | None = None
        if "head" in given:
            if "dimension" in given:
                raise UserError(f"{self.text} has a head, whose dimension counts: leave the other one out")
            self.head = head_of(given["head"])
        self.dimension = self.head.outputs if self.head else int(given.get("dimension", 64))
        sizes = given.get("hidden", [256]), given.get("channels", [32, 64])
        if self.dimension < 1 or not all(type(size) is int and size > 0 for size in [*sizes[0], *sizes[1]]):
            raise UserError(f"sizes in {self.text} must be whole numbers above 0")
        image = (1, *shape) if call.name == "conv" and len(shape) == 2 else shape
        if call.name == "conv" and len(image) != 3:
            raise UserError(f"conv reads images [n, h, w] or [n, c, h, w], and a row has the shape {list(shape)}")
        layers: list[nn.Module] = []
        if given.get("standardize", True):
            layers.append(Standardize((image[0], 1, 1) if call.name == "conv" else image))
        if call.name == "conv":
            body, width = _convolutions(image, sizes[1])
        else:
            body, width = [nn.Flatten()], int(np.prod(shape))
            for size in sizes[0] if call.name == "mlp" else []:
                body += [nn.Linear(width, size), nn.ReLU(), *_dropout(given.get("dropout", 0.0))]
                width = size
        self.body = nn.Sequential(*layers, *body, *self._last(width))
        self._image = image

    def _last(self, width: int) -> list[nn.Module]:
        if self.head is None:
            return [nn.Linear(width, self.dimension)]
        return [Unit(), self.head.layer(width)]

    def forward(self, rows: Tensor) -> Tensor:
        """Rows ``[n, ...]`` → ``[n, dimension]``."""
        found: Tensor = self.body(rows.reshape(len(rows), *self._image))
        return found

    def see(self, rows: NDArray[Any]) -> None:
        """Take mean and deviation of the inputs from rows ``[n, ...]``."""
        if isinstance(self.body[0], Standardize):
            self.body[0].see(rows.reshape(len(rows), *self._image))


class Unit(nn.Module):
    """Rows ``[n, d]`` over their length."""

    def forward(self, rows: Tensor) -> Tensor:
        return nn.functional.normalize(rows, dim=-1)


def built_in(text: str | Call, rows: NDArray[Any], seed: int = 0) -> BuiltIn:
    """A new module for rows ``[n, ...]``, whose inputs it standardises, with weights drawn by ``seed``.

    Raises:
        UserError: as :class:`BuiltIn`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = BuiltIn(text, rows.shape[1:])
    made.see(rows)
    return made


def _dropout(share: float) -> list[nn.Module]:
    if not 0 <= share < 1:
        raise UserError(f"dropout must lie in [0, 1), not {share}")
    return [nn.Dropout(share)] if share else []


def _convolutions(image: tuple[int, ...], channels: list[int]) -> tuple[list[nn.Module], int]:
    """3 x 3 convolutions, halved after each while there is room; their output as a vector, and its length.

    Norms are of each image by itself (of groups, not batches), so that a row's vector does not depend on the others.
    """
    layers: list[nn.Module] = []
    before, height, width = image
    for count in channels:
        layers += [nn.Conv2d(before, count, 3, padding=1), nn.GroupNorm(1, count), nn.ReLU()]
        if min(height, width) >= 4:
            layers.append(nn.MaxPool2d(2))
            height, width = height // 2, width // 2
        before = count
    sides = min(2, height), min(2, width)
    return [*layers, nn.AdaptiveAvgPool2d(sides), nn.Flatten()], before * sides[0] * sides[1]
