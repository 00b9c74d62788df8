"""The ``similis`` command."""

from __future__ import annotations

import os
import sys
import traceback

import typer

from similis import __version__
from similis.cli import compare, data, demo, encode, evaluate, fit, index, methods, pretrain, search
from similis.errors import UserError

app = typer.Typer(
    name="similis",
    help="Learn, judge, repair, serve and explain similarity.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
app.command("fit")(fit.fit)
app.command("pretrain")(pretrain.pretrain)
app.command("evaluate")(evaluate.evaluate)
app.command("compare")(compare.compare)
app.command("encode")(encode.encode)
app.command("index")(index.index)
app.command("search")(search.search)
app.command("methods")(methods.methods)
app.add_typer(data.app, name="data")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"similis {__version__}")
        raise typer.Exit


@app.callback()
def root(version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print it.")) -> None:
    """Learn, judge, repair, serve and explain similarity."""


def main() -> None:
    """Run the command line; a user's mistake is one sentence and exit code 2, a fault of ours exit code 1."""
    try:
        app()
    except UserError as error:
        print(f"similis: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("similis: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        print(f"similis: {error.filename or 'the system'}: {error.strerror or error}", file=sys.stderr)
        sys.exit(2)
    except Exception as error:
        if os.environ.get("SIMILIS_DEBUG"):
            raise
        where = traceback.extract_tb(error.__traceback__)[-1]
        print(
            f"similis: this is our fault: {type(error).__name__}: {error} ({where.filename}:{where.lineno}); "
            "SIMILIS_DEBUG=1 shows the whole trace",
            file=sys.stderr,
        )
        sys.exit(1)
