"""``similis encode``: texts to vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from similis.cli.options import Json, Output, Quiet, Threads, show, start


def encode(
    model: Annotated[str, typer.Argument(help="A model folder, or a name on the hub.")],
    texts: Annotated[Path, typer.Argument(help="A corpus file: JSONL, CSV, Parquet, text with one a line, ...")],
    output: Output,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1)] = 32,
    precision: Annotated[
        str,
        typer.Option(
            "--precision",
            help="float32; bfloat16 or auto: faster where the processor has bfloat16; int8 with --backend.",
        ),
    ] = "float32",
    backend: Annotated[
        str, typer.Option("--backend", help="What runs the model: torch, onnx or openvino (similis[onnx], [openvino]).")
    ] = "torch",
    half: Annotated[bool, typer.Option("--half", help="Store float16: half the size.")] = False,
    queries: Annotated[bool, typer.Option("--queries", help="Encode as queries, not documents.")] = False,
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Encode a file of texts into an .npy file, ids beside it; started again after a kill, it goes on."""
    start(quiet=quiet, threads=threads)
    from similis.api import encode_file

    result = encode_file(
        model,
        texts,
        output,
        batch_size=batch_size,
        queries=queries,
        precision=precision,
        backend=backend,
        threads=threads,
        half=half,
    )
    text = f"{result['count']} texts as {result['dimension']}-d vectors in {output} (ids in {result['ids']})"
    show(result, text, as_json=as_json)
