"""``similis pretrain``: a transformer learns from texts alone, before ``similis fit``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from similis.cli.options import Json, Output, Quiet, Seed, Threads, show, start


def pretrain(
    corpus: Annotated[Path, typer.Argument(help="A corpus file: JSONL, CSV, Parquet, text with one a line, ...")],
    base: Annotated[str, typer.Option("--base", help="A transformer's folder, or a name on the hub.")],
    output: Output,
    task: Annotated[
        str, typer.Option("--task", help='retromae, dupmae, tsdae, simlm, diffcse; as in "tsdae(delete=0.5)" too.')
    ] = "retromae",
    max_steps: Annotated[int, typer.Option("--max-steps", min=1)] = 1000,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1)] = 16,
    learning_rate: Annotated[float, typer.Option("--learning-rate", "--lr")] = 3e-5,
    warmup_steps: Annotated[float, typer.Option("--warmup-steps", help="Below 1: the share of all.", min=0)] = 0.1,
    bf16: Annotated[bool, typer.Option("--bf16", help="bfloat16 mixed precision.")] = False,
    save_steps: Annotated[
        int | None, typer.Option("--save-steps", help="Between checkpoints; default: half a minute.", min=1)
    ] = None,
    resume: Annotated[bool, typer.Option(help="Continue an interrupted run of the same settings.")] = True,
    seed: Seed = 0,
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Pre-train a transformer on texts without labels; started again after a kill, it goes on."""
    start(quiet=quiet, threads=threads)
    from similis.training.pretraining import Settings, pretrained

    settings = Settings(task, max_steps, batch_size, learning_rate, warmup_steps, seed, bf16)
    story = pretrained(base, corpus, settings, output=output, resume=resume, save_steps=save_steps)
    show(story.as_dict(), story.as_text(), as_json=as_json)
