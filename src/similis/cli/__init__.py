"""The command line: thin commands that parse, call the library and show. May import everything; nothing imports it.

One file a command (or group). Results go to stdout (``--json`` for machines), progress and notes to stderr. Exit
codes: 0 done, 2 the user's mistake (one sentence), 1 our fault, 130 interrupted.
"""

from similis.cli.app import main

__all__ = ["main"]
