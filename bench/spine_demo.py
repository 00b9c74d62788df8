"""The spine's own path, as a user runs it: the demo, its table, and how fast its index answers."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from measure import Line, bounded

COMMAND = [sys.executable, "-c", "from similis.cli import main; main()"]
QUESTION = "compute the hash of some bytes"


def demo(quick: bool) -> Iterator[Line]:
    """The demo's table and tests, its time and memory, then the speed of the commands on its index."""
    with tempfile.TemporaryDirectory() as folder:
        limit = ["--limit", "2000"] if quick else []
        command = [*COMMAND, "demo", "--json", "--quiet", "--output", folder, *limit]
        started = time.monotonic()
        done = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        printed = done.stdout.read() if done.stdout else ""
        usage = _wait(done.pid)
        seconds = time.monotonic() - started
        result = json.loads(printed)
        yield from _table(result)
        documents = result["counts"]["documents"]
        yield bounded(f"demo wall time, {documents} documents", "s", seconds, 180.0)
        yield bounded(f"demo peak memory, {documents} documents", "GB", usage * 1024 / 1e9, 2.0)
        yield from _commands(Path(folder) / "index")


def _wait(process: int) -> int:
    """Peak resident kilobytes of a finished child."""
    import os

    _, status, usage = os.wait4(process, 0)
    if status:
        raise RuntimeError(f"the demo ended with {os.waitstatus_to_exitcode(status)}")
    return usage.ru_maxrss


def _table(result: dict[str, object]) -> Iterator[Line]:
    systems = result["systems"]
    assert isinstance(systems, dict)
    values = {name: metrics["nDCG@10"]["mean"] for name, metrics in systems.items()}
    told = ", ".join(f"{name} {value:.4f}" for name, value in values.items())
    ratio = values["trained"] / values["BM25"]
    yield Line(
        "demo trained over BM25", "nDCG@10", values["trained"], "BM25", values["BM25"], ratio, 0.9, ratio >= 0.9, told
    )
    comparisons = result["comparisons"]
    assert isinstance(comparisons, list)
    for c in comparisons:
        if c["against"] == "BM25" and c["system"] == "trained":
            continue
        name = f"demo {c['system']} beats {c['against']}, p"
        ratio = 0.01 / max(c["p"], 1e-9)
        holds = c["p"] < 0.01 and c["difference"] > 0
        yield Line(name, "p", c["p"], None, 0.01, ratio, 1.0, holds, f"{c['difference']:+.4f} nDCG@10")


def _commands(index: Path) -> Iterator[Line]:
    yield bounded("similis --help", "s", _median_wall([*COMMAND, "--help"]), 0.5)
    yield bounded("similis search, cold", "s", _median_wall([*COMMAND, "search", str(index), QUESTION]), 1.0)
    from similis.indexes import Index

    opened = Index.open(index)
    opened.search(QUESTION)
    taken = []
    for _ in range(20):
        before = time.perf_counter()
        opened.search(QUESTION)
        taken.append(time.perf_counter() - before)
    yield bounded("warm query", "ms", statistics.median(taken) * 1e3, 10.0)


def _median_wall(command: list[str]) -> float:
    taken = []
    for _ in range(5):
        before = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        taken.append(time.monotonic() - before)
    return statistics.median(taken[1:])
