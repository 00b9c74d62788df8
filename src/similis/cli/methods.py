"""``similis methods``: what is registered."""

from __future__ import annotations

import inspect
from typing import Annotated

import typer

from similis.cli.options import Json, show
from similis.registry import Entry


def methods(
    name: Annotated[str | None, typer.Argument(help="Show one method by name.")] = None,
    kind: Annotated[str | None, typer.Option("--kind", help="criterion, similarity, miner, metric, ...")] = None,
    accepts: Annotated[str | None, typer.Option("--accepts", help="Only those with a meaning for it.")] = None,
    as_json: Json = False,
) -> None:
    """List every registered method: name, kind, source, what it accepts."""
    from similis.errors import UserError, did_you_mean
    from similis.registry import entries

    found = list(entries(kind))
    if accepts is not None:
        found = [e for e in found if not e.accepts or accepts in e.accepts]
    if name is not None:
        names = [e.name for e in found]
        found = [e for e in found if e.name == name]
        if not found:
            raise UserError(f"there is no method called {name!r}{did_you_mean(name, names)}")
    text = "\n\n".join(_page(e) for e in found) if name else "\n".join(_line(e) for e in found)
    show({"methods": [e.as_dict() for e in found], "count": len(found)}, text, as_json=as_json)


def _line(entry: Entry) -> str:
    return f"{entry.kind:<12} {entry.name:<30} {entry.summary}"


def _page(entry: Entry) -> str:
    arguments = ", ".join(p.name if p.required else f"{p.name}={p.default!r}" for p in entry.parameters)
    accepts = ", ".join(entry.accepts) or "every supervision"
    return (
        f"{entry.kind} {entry.name}({arguments})\n\n{inspect.getdoc(entry.make) or ''}\n\n"
        f"Accepts: {accepts}\nSource: {entry.source}"
    )
