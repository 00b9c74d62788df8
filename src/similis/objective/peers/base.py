"""One row of the peers' table: a class, our words for it, and whether both are the same function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from similis.errors import UserError
from similis.registry import find
from similis.text import Call, Value, format_value, parse_call

PML = "pytorch-metric-learning"
ST = "sentence-transformers"


class Ours(NamedTuple):
    """A criterion and the settings of an objective; prints as :class:`similis.Objective` reads it."""

    criterion: Call
    settings: dict[str, Value]

    def __str__(self) -> str:
        shown = [f"{name}={_setting(value)}" for name, value in self.settings.items()]
        return ", ".join([str(self.criterion), *shown])


def ours(criterion: str, arguments: Mapping[str, Value] | None = None, **settings: Value) -> Ours:
    """Our words; settings that are None, or the similarity that the criterion has by default, are not written."""
    default = find("criterion", criterion).traits.get("similarity", "cosine")
    read: dict[str, Value] = {k: parse_call(v) if isinstance(v, str) and "(" in v else v for k, v in settings.items()}
    kept: dict[str, Value] = {
        k: v for k, v in read.items() if v is not None and not (k == "similarity" and str(v) == default)
    }
    given: dict[str, Value] = {k: v for k, v in (arguments or {}).items() if v is not None}
    return Ours(Call(criterion, given), kept)


@dataclass(frozen=True)
class Peer:
    """A class of a peer in our words.

    Attributes:
        library: :data:`PML` or :data:`ST`.
        kind: where the peer keeps it: ``loss``, ``distance``, ``sparse loss`` ...
        name: the class.
        written: our words, where the class is no alias; None where there are none.
        agrees: ``yes``: equal in value and gradient; ``where``: equal where ``note`` says; ``no``: ``note`` says
            what differs; ``none``: no counterpart, ``note`` says why.
        note: a clause.
        alias: the peer's arguments → our words, where the name is read by an objective.
        example: values of its arguments without a default.
    """

    library: str
    kind: str
    name: str
    written: str | None
    agrees: str
    note: str = ""
    alias: Callable[..., Ours] | None = None
    example: Mapping[str, Value] = field(default_factory=dict)

    @property
    def text(self) -> str | None:
        """Our words at the peer's defaults; None where there are none."""
        return self.written if self.alias is None else str(self.alias(**self.example))

    @property
    def parameters(self) -> tuple[str, ...]:
        """Arguments of the peer that the alias reads."""
        return () if self.alias is None else tuple(inspect.signature(self.alias).parameters)

    @property
    def required(self) -> tuple[str, ...]:
        """Those of them without a default."""
        if self.alias is None:
            return ()
        parameters = inspect.signature(self.alias).parameters.values()
        return tuple(p.name for p in parameters if p.default is inspect.Parameter.empty)


@dataclass
class Table:
    """Rows of one kind, in the order they are added."""

    library: str
    kind: str
    rows: list[Peer] = field(default_factory=list)

    def equal(
        self, *names: str, where: str = "", note: str = "", **example: Value
    ) -> Callable[[Callable[..., Ours]], Callable[..., Ours]]:
        """Add the decorated function as the alias of ``names``; ``example`` gives arguments without a default."""

        def add(alias: Callable[..., Ours]) -> Callable[..., Ours]:
            for name in names:
                agrees = "where" if where else "yes"
                self.rows.append(Peer(self.library, self.kind, name, None, agrees, where or note, alias, example))
            return alias

        return add

    def same(self, name: str, text: str, note: str = "") -> None:
        """A class that is not an objective by itself and means ``text`` exactly."""
        self.rows.append(Peer(self.library, self.kind, name, text, "yes", note))

    def where(self, name: str, text: str, note: str) -> None:
        """A class equal to ``text`` in the case that ``note`` describes."""
        self.rows.append(Peer(self.library, self.kind, name, text, "where", note))

    def differs(self, name: str, text: str, note: str) -> None:
        """A class whose counterpart computes something else."""
        self.rows.append(Peer(self.library, self.kind, name, text, "no", note))

    def none(self, name: str, note: str) -> None:
        """A class without a counterpart."""
        self.rows.append(Peer(self.library, self.kind, name, None, "none", note))


def number(value: Value, name: str) -> float:
    """A number given to a peer's class.

    Raises:
        UserError: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{name} must be a number, not {format_value(value)}")
    return value


def named(value: Value, what: str) -> Call:
    """A class given as an argument: ``CosineSimilarity()``, or its bare name.

    Raises:
        UserError: it is something else.
    """
    if isinstance(value, Call):
        return value
    if isinstance(value, str):
        return Call(value)
    raise UserError(f"{what} must be a class such as {what}=Name(), not {format_value(value)}")


def inverse(scale: Value) -> float:
    """The temperature of a scale.

    Raises:
        UserError: it is not a number above 0.
    """
    given = number(scale, "scale")
    if not given > 0:
        raise UserError(f"scale must be above 0, not {given}")
    return 1.0 / given


def _setting(value: Value) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_setting(v) for v in value)}]"
    if isinstance(value, str):
        return value if value.isidentifier() else repr(value)
    return str(value)
