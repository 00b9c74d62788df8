"""``similis data``: look at data before training on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from similis.cli.options import Json, Quiet, show, start

app = typer.Typer(help="Look at data before training on it.", no_args_is_help=True)


@app.command("check")
def check(
    path: Annotated[Path, typer.Argument(help="A file or folder of examples.")],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Report rows, columns, supervision, duplicates, empties, lengths, and every bad row by file:line."""
    start(quiet=quiet)
    from similis import data

    report = data.check(path)
    show(report.as_dict(), report.as_text(), as_json=as_json)
