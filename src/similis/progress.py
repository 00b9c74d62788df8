"""Progress on stderr, with an estimate of the time left; silent when asked or when nobody watches."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

_quiet = False


def set_quiet(quiet: bool) -> None:
    """Silence progress bars and notes for the rest of the process."""
    global _quiet
    _quiet = quiet


def is_quiet() -> bool:
    """Whether progress and notes are silenced."""
    return _quiet


def note(message: str) -> None:
    """One line for a person, on stderr; results go to stdout."""
    if not _quiet:
        print(message, file=sys.stderr, flush=True)


def track(
    items: Iterable[T], *, total: int | None = None, label: str = "", unit: str = "it", show: bool = True
) -> Iterator[T]:
    """Yield ``items`` behind a progress bar with rate and ETA (a terminal only; nothing when quiet)."""
    if _quiet or not show or not sys.stderr.isatty():
        yield from items
        return
    from tqdm import tqdm

    yield from tqdm(items, total=total, desc=label, unit=unit, file=sys.stderr, leave=False, smoothing=0.1)
