"""Heads that give something else than a point: Gaussians, and points of hyperbolic space.

A head is one linear layer whose numbers a similarity reads in its own way: means and raw variances, or tangent vectors
at the origin that the exponential map puts into the space. So a saved head is a plain layer that any library runs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from similis.errors import UserError, did_you_mean
from similis.text import Call, parse_call

if TYPE_CHECKING:
    from torch import nn

#: By head: what may be set, and the type of each.
HEADS: dict[str, dict[str, type]] = {
    "gaussian": {"dimension": int, "similarity": str},
    "poincare": {"dimension": int, "curvature": float, "clip": float},
    "lorentz": {"dimension": int, "curvature": float},
}
_GAUSSIAN = ("expected_distance", "gaussian_kl", "gaussian_wasserstein")

#: Longest tangent vector of a new Poincaré head (hyperbolic category discovery): beyond, gradients vanish.
_CLIP = 2.3


@dataclass(frozen=True)
class Head:
    """A head by its settings.

    Attributes:
        name: ``gaussian``, ``poincare`` or ``lorentz``.
        dimension: k, of the mean or of the tangent vector.
        similarity: text of the similarity that reads its numbers.
    """

    name: str
    dimension: int
    similarity: str

    @property
    def outputs(self) -> int:
        """Numbers it gives: 2k of a Gaussian (means, then raw variances), else k."""
        return self.dimension * (2 if self.name == "gaussian" else 1)

    def layer(self, inputs: int) -> nn.Linear:
        """The new layer over unit vectors ``[n, inputs]``; drawn from torch's random state.

        Directions are orthogonal, so that distances are about kept; a Gaussian's variances start at 1/k, nearly the
        same for every input.
        """
        import torch
        from torch import nn

        layer = nn.Linear(inputs, self.outputs)
        with torch.no_grad():
            nn.init.zeros_(layer.bias)
            nn.init.orthogonal_(layer.weight[: self.dimension])
            if self.name == "gaussian":
                layer.weight[self.dimension :] *= 0.01
                layer.bias[self.dimension :] = math.log(math.expm1(1 / self.dimension))
        return layer


def head_of(text: str | Call) -> Head:
    """The head of a text such as ``gaussian(dimension=64)``.

    Args:
        text: ``gaussian`` (``similarity``: ``expected_distance``, the default, ``gaussian_kl`` or
            ``gaussian_wasserstein``), ``poincare`` (``curvature``, and ``clip``, the longest tangent vector) or
            ``lorentz`` (``curvature``); ``dimension`` is 64 where it is not given.

    Raises:
        UserError: an unknown head or setting, or a value of the wrong type or out of range.
    """
    call = parse_call(text) if isinstance(text, str) else text
    if call.name not in HEADS:
        raise UserError(f"there is no head {call.name!r}{did_you_mean(call.name, HEADS)} (heads: {', '.join(HEADS)})")
    given = {name: checked(call.name, name, value, HEADS[call.name]) for name, value in call.arguments.items()}
    dimension = int(given.pop("dimension", 64))
    if dimension < 1:
        raise UserError(f"the dimension of {call.name} must be at least 1, not {dimension}")
    return Head(call.name, dimension, _similarity(call.name, given))


def checked(owner: str, name: str, value: Any, known: dict[str, type]) -> Any:
    """A setting's value, of the type that ``known`` has for its name; whole numbers count as floats.

    Raises:
        UserError: an unknown name, or a value of another type.
    """
    kind = known.get(name)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if kind is None or not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        takes = ", ".join(f"{n} ({t.__name__})" for n, t in known.items())
        raise UserError(f"{owner} takes {takes}, not {name}={value!r}{did_you_mean(name, known) if not kind else ''}")
    return value


def _similarity(head: str, given: dict[str, Any]) -> str:
    if head == "gaussian":
        name = given.get("similarity", _GAUSSIAN[0])
        if name not in _GAUSSIAN:
            raise UserError(
                f"Gaussians are compared by {', '.join(_GAUSSIAN)}, not {name!r}{did_you_mean(name, _GAUSSIAN)}"
            )
        return str(name)
    settings: dict[str, Any] = {"curvature": given.get("curvature", 1.0), "tangent": True}
    if head == "poincare":
        settings["clip"] = given.get("clip", _CLIP)
    for name in ("curvature", "clip"):
        if settings.get(name, 1.0) <= 0:
            raise UserError(f"the {name} of {head} must be above 0, not {settings[name]}")
    return str(Call(head, settings))
