"""Options that every command shares, and how results are printed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of everything random.")]
Threads = Annotated[int | None, typer.Option("--threads", help="Processor threads; default: all.", min=1)]
Output = Annotated[Path, typer.Option("--output", "-o", help="Where to write.")]


def start(*, quiet: bool = False, threads: int | None = None) -> None:
    """Apply the shared options before anything heavy is imported."""
    from similis.progress import set_quiet

    set_quiet(quiet)
    if threads is not None:
        from similis.threads import limit_threads

        limit_threads(threads)


def show(result: dict[str, Any], text: str, *, as_json: bool) -> None:
    """Print a result for a machine or for a person."""
    if as_json:
        json.dump(result, sys.stdout, ensure_ascii=False, allow_nan=False, default=_plain)
        print()
    else:
        print(text)


def _plain(value: Any) -> Any:
    """NumPy scalars and arrays, and paths, as JSON knows them."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
