"""``similis index``: a corpus made searchable."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from similis.cli.options import Json, Output, Quiet, Threads, show, start


def index(
    model: Annotated[str, typer.Argument(help="A model folder, or a name on the hub.")],
    corpus: Annotated[Path, typer.Argument(help="JSONL, CSV, Parquet or a BEIR folder, with texts and ids.")],
    output: Output,
    kind: Annotated[str, typer.Option("--kind", help="auto, exact or approximate; auto goes by size.")] = "auto",
    lexical: Annotated[bool, typer.Option(help="BM25 beside the vectors, for hybrid search.")] = True,
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Encode a corpus and build a searchable index folder."""
    start(quiet=quiet, threads=threads)
    from similis.indexes import Index

    built = Index.build(model, corpus, output, kind=kind, lexical=lexical)
    facts = built.facts()
    text = f"{facts['documents']} documents in {output} ({facts['kind']}, {facts['dimension']}-d)\n"
    show(facts, text + f'Next: similis search {output} "your question"', as_json=as_json)
