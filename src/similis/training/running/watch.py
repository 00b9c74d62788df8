"""What a person sees of a run, and Ctrl-C that lets the step finish."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

from similis import progress


class Interrupted(KeyboardInterrupt):
    """Ctrl-C after the run was saved; the message says how to go on."""


class Signal:
    """Whether a person asked the run to stop."""

    asked = False


@contextlib.contextmanager
def stop_politely() -> Iterator[Signal]:
    """The first SIGINT or SIGTERM sets ``asked``; the second acts as ever. Only the main thread can listen."""
    flag = Signal()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    before: dict[signal.Signals, Any] = {}

    def restore() -> None:
        for each, old in before.items():
            signal.signal(each, old)

    def heard(number: int, frame: FrameType | None) -> None:
        flag.asked = True
        restore()

    for each in (signal.SIGINT, signal.SIGTERM):
        before[each] = signal.signal(each, heard)
    try:
        yield flag
    finally:
        restore()


class Watch:
    """A progress bar on a terminal, a line every ten seconds elsewhere; silent where notes are.

    Args:
        total: optimiser steps of the run.
        done: steps of an earlier part.
        metric: name of the dev metric, or empty.
    """

    every = 10.0

    def __init__(self, total: int, done: int, metric: str) -> None:
        self.total, self.first, self.metric = total, done, metric
        self.started = self.said = time.monotonic()
        self.loss = self.dev = float("nan")
        self._bar: Any = None
        if sys.stderr.isatty() and not progress.is_quiet():
            from tqdm import tqdm

            self._bar = tqdm(
                total=total, initial=done, desc="train", unit="step", file=sys.stderr, leave=False, smoothing=0.05
            )

    def step(self, step: int, loss: float) -> None:
        """One step done; ``loss`` is smoothed for showing."""
        self.loss = loss if self.loss != self.loss else 0.95 * self.loss + 0.05 * loss
        if self._bar is not None:
            self._bar.set_postfix_str(self._state(), refresh=False)
            self._bar.update(1)
        elif time.monotonic() - self.said >= self.every:
            self.said = time.monotonic()
            progress.note(f"step {step:,} of {self.total:,}, {self._state()}, {self._left(step)} left")

    def evaluated(self, value: float) -> None:
        self.dev = value

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def _state(self) -> str:
        dev = "" if self.dev != self.dev else f", dev {self.metric} {self.dev:.4f}"
        return f"loss {self.loss:.4f}{dev}"

    def _left(self, step: int) -> str:
        seconds = (time.monotonic() - self.started) / max(1, step - self.first) * (self.total - step)
        return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
