"""The errors a user may see. Each says in one sentence what was wrong, where, and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in what the user gave us: the command line shows the sentence alone and exits with code 2."""


class MissingExtraError(UserError):
    """An optional part is not installed; names the extra that brings it."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional part: pip install 'similis[{extra}]'")


def did_you_mean(name: str, choices: Iterable[str], most: int = 3) -> str:
    """A clause such as ``; did you mean 'circle'?`` — empty where nothing comes close."""
    close = difflib.get_close_matches(name, list(choices), n=most, cutoff=0.6)
    return f"; did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
