"""What every benchmark shares: interleaved timing, peak memory, and one line of output a case."""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

#: Rounds after which more tell nothing.
MOST_ROUNDS = 100


@dataclass(frozen=True)
class Line:
    """One result; a ratio above 1 is better for us.

    Attributes:
        case: what was measured.
        unit: of ``ours`` and ``theirs``.
        ours: our figure.
        peer: who is compared with, or None.
        theirs: the peer's figure; None where the peer is absent or failed.
        ratio: how many times better ours is.
        bar: what the ratio must reach, or None where nothing is demanded.
        holds: whether it does; None without a bar.
        note: why a figure is missing, or what else a reader should know.
    """

    case: str
    unit: str
    ours: float | None
    peer: str | None = None
    theirs: float | None = None
    ratio: float | None = None
    bar: float | None = None
    holds: bool | None = None
    note: str = ""


def compared(
    case: str,
    unit: str,
    ours: float,
    peer: str,
    theirs: float | None,
    *,
    bar: float | None = None,
    lower_is_better: bool = True,
    note: str = "",
) -> Line:
    """A line with its ratio and whether it reaches the bar."""
    if theirs is None:
        return Line(case, unit, ours, peer, None, None, bar, None, note)
    ratio = theirs / ours if lower_is_better else ours / theirs
    return Line(case, unit, ours, peer, theirs, ratio, bar, None if bar is None else ratio >= bar, note)


def bounded(case: str, unit: str, ours: float, limit: float, note: str = "") -> Line:
    """A line for an absolute bound: the ratio is limit over figure and must be at least 1."""
    return Line(case, unit, ours, None, limit, limit / ours, 1.0, ours <= limit, note)


def interleaved(
    contenders: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 3,
    warmup: int = 1,
    budget: float = 0.0,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, float]:
    """Median seconds of each contender, measured in turn so that a noisy machine disturbs all alike.

    At least ``rounds`` rounds, and more, up to :data:`MOST_ROUNDS`, while they have taken less than ``budget`` seconds.
    """
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(warmup + MOST_ROUNDS):
        if turn >= warmup + rounds and sum(map(sum, taken.values())) >= budget:
            break
        for name, run in contenders.items():
            before = clock()
            run()
            if turn >= warmup:
                taken[name].append(clock() - before)
    return {name: statistics.median(values) for name, values in taken.items()}


def peak_memory(run: Callable[[], object]) -> int:
    """Bytes by which the process's peak resident memory rises above its start while ``run`` runs (Linux)."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    run()
    return max(0, _status("VmHWM") - before)


def apart(run: Callable[[], Any]) -> Any:
    """What ``run`` returns (as JSON), found in a fork of this process, whose own heap stays whole for the next case.

    Raises:
        RuntimeError: it failed, with the first line of what it said.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        try:
            told = {"found": run()}
        except (RuntimeError, MemoryError) as error:
            told = {"failed": (str(error) or type(error).__name__).splitlines()[0]}
        with os.fdopen(writing, "w") as pipe:
            json.dump(told, pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = json.loads(pipe.read() or '{"failed": "it was ended by the system"}')
    os.waitpid(child, 0)
    if "failed" in told:
        raise RuntimeError(told["failed"])
    return told["found"]


#: Parameters of glibc's mallopt, and its thresholds once its own adjustment has come to an end.
_TRIM, _MAP, _SETTLED = -1, -3, 32 << 20


def free_at_once(block: int = 1 << 16) -> None:
    """From here on blocks above ``block`` bytes go back to the system when freed: a peak is of what is in use."""
    library = ctypes.CDLL(None)
    library.mallopt(_MAP, block)
    library.mallopt(_TRIM, block)


def keep_freed() -> None:
    """From here on freed blocks are kept for reuse, as in any process that has run for a while: for timing."""
    library = ctypes.CDLL(None)
    library.mallopt(_MAP, _SETTLED)
    library.mallopt(_TRIM, 2 * _SETTLED)


def available() -> int:
    """Bytes of memory that can be had without swapping (Linux)."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/meminfo has no MemAvailable")


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


def arguments(description: str) -> argparse.ArgumentParser:
    """The options of every benchmark."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--quick", action="store_true", help="a smoke run on small sizes; its figures prove nothing")
    parser.add_argument("--only", default="", help="run only the cases whose name contains this")
    return parser


def show(line: Line, *, as_json: bool) -> None:
    """Print a line for a machine or a person."""
    if as_json:
        print(json.dumps(asdict(line)), flush=True)
        return
    verdict = {True: "holds", False: "DOES NOT HOLD", None: ""}[line.holds]
    figures = [f"{line.ours:.4g} {line.unit}" if line.ours is not None else "absent"]
    if line.theirs is not None:
        figures.append(f"{line.peer or 'limit'} {line.theirs:.4g}")
    if line.ratio is not None:
        figures.append(f"ratio {line.ratio:.3g}" + (f" (bar {line.bar:g})" if line.bar is not None else ""))
    print(f"{line.case:<48} {', '.join(figures)}  {verdict}  {line.note}", flush=True)
