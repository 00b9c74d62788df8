"""``similis demo``: the whole path, on the docstrings of the running Python."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from similis.cli.options import Json, Quiet, Seed, Threads, show, start


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the model and the index go.")] = Path("demo"),
    limit: Annotated[int | None, typer.Option("--limit", help="At most so many docstrings.")] = None,
    seed: Seed = 0,
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train and judge a search engine over the docstrings of your Python, then search it."""
    start(quiet=quiet, threads=threads)
    from similis.demo import run_demo
    from similis.demo.showing import as_text

    result = run_demo(output, limit=limit, seed=seed)
    show(result.as_dict(), as_text(result), as_json=as_json)
