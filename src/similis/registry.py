"""The registry: every method is registered once, where it is defined, with its name, source and what it accepts.

From it come the text form of an objective, ``similis methods``, the method pages of the docs, and the tests
that run over all entries. Nothing here imports a method: the package of a kind is imported when it is asked for.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from similis.errors import UserError, did_you_mean
from similis.text import FIRST, Call, Value, parse_call

#: Where the entries of a kind are defined; importing the package registers them.
HOMES = {
    "similarity": "similis.similarity",
    "criterion": "similis.criteria",
    "keys": "similis.keys",
    "miner": "similis.mining",
    "regularizer": "similis.regularizers",
    "sampler": "similis.sampling",
    "negatives": "similis.training.negatives",
    "peft": "similis.training.trainees.peft",
    "stepping": "similis.training.stepping",
    "pairs": "similis.training.rows.unlabeled",
    "pretraining": "similis.training.pretraining",
    "metric": "similis.metrics",
    "augmentation": "similis.augment",
    "transform": "similis.transforms",
    "index": "similis.indexes",
}

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Source:
    """Where a method comes from: the paper's title, its authors, the year."""

    title: str
    authors: str
    year: int

    def __str__(self) -> str:
        return f"{self.authors}, “{self.title}”, {self.year}"


@dataclass(frozen=True)
class Parameter:
    """One argument of a method: its name and default (``inspect.Parameter.empty`` where it must be given)."""

    name: str
    default: Any

    @property
    def required(self) -> bool:
        return self.default is inspect.Parameter.empty


@dataclass(frozen=True)
class Entry:
    """One registered method.

    Attributes:
        kind: a key of :data:`HOMES`.
        name: the field's name for it, in snake_case.
        make: a class to instantiate with the parameters, or a function whose keyword-only arguments they are.
        source: the paper it comes from.
        accepts: the supervisions it has a meaning for (names of ``Relation`` constructors); empty means all.
        family: the group it is documented with.
        traits: facts that other layers read, documented beside the protocol of the kind.
    """

    kind: str
    name: str
    make: Callable[..., Any]
    source: Source
    accepts: tuple[str, ...] = ()
    family: str = ""
    traits: Mapping[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return (inspect.getdoc(self.make) or "").partition("\n")[0]

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Arguments a user may give, in the order of the signature."""
        signature = inspect.signature(self.make)
        takes_all = inspect.isclass(self.make)
        return tuple(
            Parameter(p.name, p.default)
            for p in signature.parameters.values()
            if p.kind is inspect.Parameter.KEYWORD_ONLY
            or (takes_all and p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD)
        )

    def as_dict(self) -> dict[str, Any]:
        """What ``similis methods --json`` prints."""
        return {
            "kind": self.kind,
            "name": self.name,
            "family": self.family,
            "summary": self.summary,
            "source": {
                "title": self.source.title,
                "authors": self.source.authors,
                "year": self.source.year,
            },
            "accepts": list(self.accepts),
            "parameters": {p.name: None if p.required else p.default for p in self.parameters},
        }


_entries: dict[tuple[str, str], Entry] = {}


def register(
    kind: str,
    name: str,
    *,
    source: Source,
    accepts: tuple[str, ...] = (),
    family: str = "",
    **traits: Any,
) -> Callable[[F], F]:
    """Register the decorated class or function as ``name`` of ``kind``."""

    def add(make: F) -> F:
        if (kind, name) in _entries:
            raise RuntimeError(f"{kind} {name!r} is registered twice")
        _entries[kind, name] = Entry(kind, name, make, source, accepts, family, traits)
        return make

    return add


def _load(kind: str) -> None:
    if kind not in HOMES:
        raise UserError(
            f"there is no kind of method called {kind!r}{did_you_mean(kind, HOMES)} (kinds: {', '.join(HOMES)})"
        )
    try:
        importlib.import_module(HOMES[kind])
    except ModuleNotFoundError as error:
        if error.name != HOMES[kind]:
            raise


def entries(kind: str | None = None) -> Iterator[Entry]:
    """All entries, or those of one kind, in alphabetical order of kind and name."""
    for each in [kind] if kind else HOMES:
        _load(each)
    for key in sorted(_entries):
        if kind is None or key[0] == kind:
            yield _entries[key]


def is_registered(kind: str, name: str) -> bool:
    """Whether there is an entry of this kind and name."""
    _load(kind)
    return (kind, name) in _entries


def find(kind: str, name: str) -> Entry:
    """The entry called ``name``; an unknown name is a :class:`UserError` with the nearest names."""
    _load(kind)
    entry = _entries.get((kind, name))
    if entry is None:
        names = [n for k, n in _entries if k == kind]
        raise UserError(
            f"there is no {kind} called {name!r}{did_you_mean(name, names)}"
            f" ('similis methods --kind {kind}' lists them)"
        )
    return entry


@dataclass(frozen=True)
class Bound:
    """An entry with its arguments: callable where the entry is a function, see :meth:`build` where it is a class."""

    entry: Entry
    arguments: Mapping[str, Value]

    def __call__(self, *inputs: Any) -> Any:
        return self.entry.make(*inputs, **self.arguments)

    def build(self) -> Any:
        """The instance of a class entry, or this bound function."""
        return self.entry.make(**self.arguments) if inspect.isclass(self.entry.make) else self

    def __str__(self) -> str:
        return str(Call(self.entry.name, dict(self.arguments)))


def bind(kind: str, text: str | Call) -> Bound:
    """Parse ``name(argument=value, ...)`` and check it against the registered signature.

    Raises:
        UserError: an unknown name or argument (with suggestions), or a required argument is missing.
    """
    call = parse_call(text) if isinstance(text, str) else text
    entry = find(kind, call.name)
    allowed = {p.name: p for p in entry.parameters}
    arguments = _named(call, tuple(allowed))
    for argument in arguments:
        if argument not in allowed:
            raise UserError(
                f"{kind} {call.name!r} has no argument {argument!r}{did_you_mean(argument, allowed)}"
                f" (it takes {', '.join(allowed) or 'none'})"
            )
    missing = [p.name for p in allowed.values() if p.required and p.name not in arguments]
    if missing:
        raise UserError(f"{kind} {call.name!r} needs {', '.join(missing)}, as in {call.name}({missing[0]}=...)")
    return Bound(entry, arguments)


def _named(call: Call, names: tuple[str, ...]) -> dict[str, Value]:
    """The arguments by name: one given without a name is the first parameter."""
    if FIRST not in call.arguments:
        return dict(call.arguments)
    if not names or names[0] in call.arguments:
        raise UserError(f"{call} gives a value without a name that no parameter takes")
    return {(names[0] if key == FIRST else key): value for key, value in call.arguments.items()}
