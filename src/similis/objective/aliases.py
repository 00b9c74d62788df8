"""Class names of sentence-transformers and pytorch-metric-learning, put in our words where the meaning is the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from similis.errors import UserError, did_you_mean
from similis.text import Call, Value


@dataclass(frozen=True)
class Alias:
    """A peer's class in our words.

    Attributes:
        criterion: our criterion.
        renamed: the peer's argument → ours, or ours and how its value changes.
        fixed: arguments of the criterion that the peer's defaults or definition imply.
        settings: settings of the objective, likewise.
    """

    criterion: str
    renamed: Mapping[str, str | tuple[str, Callable[[float], float]]] = field(default_factory=dict)
    fixed: Mapping[str, Value] = field(default_factory=dict)
    settings: Mapping[str, Value] = field(default_factory=dict)


def _inverse(scale: float) -> float:
    return 1.0 / scale


SCALE = {"scale": ("temperature", _inverse)}

ALIASES: dict[str, Alias] = {
    "MultipleNegativesRankingLoss": Alias("infonce", SCALE, {"temperature": 0.05}),
    "CoSENTLoss": Alias("cosent", SCALE, {"temperature": 0.05}),
    "CosineSimilarityLoss": Alias("mse"),
}


def translate(call: Call) -> tuple[Call, dict[str, Value]] | None:
    """The criterion and settings a peer's class stands for, or None where the name is not a peer's.

    Raises:
        UserError: an argument that has no counterpart here.
    """
    alias = ALIASES.get(call.name)
    if alias is None:
        return None
    arguments: dict[str, Value] = dict(alias.fixed)
    for name, value in call.arguments.items():
        if name not in alias.renamed:
            raise UserError(
                f"{call.name} is read as {alias.criterion!r}, which has no counterpart of {name!r}"
                f"{did_you_mean(name, alias.renamed)}"
            )
        ours = alias.renamed[name]
        if isinstance(ours, str):
            arguments[ours] = value
        else:
            arguments[ours[0]] = ours[1](value)  # type: ignore[arg-type]
    return Call(alias.criterion, arguments), dict(alias.settings)
