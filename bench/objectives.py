"""Objectives: time and memory of every criterion against a plain softmax, and of shared losses against the peers.

    python bench/objectives.py --json

Processor seconds of one thread, medians; forward and backward; 4 items a class; every figure with its floor or peer
measured in the same process, in turn. Memory is the rise of the peak resident set over the start. ``--jobs`` runs
several of its parts at once: neither figure counts the time spent waiting for a processor.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import objective_cases as cases
from measure import (
    Line,
    apart,
    arguments,
    available,
    bounded,
    compared,
    free_at_once,
    interleaved,
    keep_freed,
    peak_memory,
    show,
)

PEER = "pytorch-metric-learning"
#: Address space of a child, so that a peer fails by itself before the machine does: at n = 512 what every one needs
#: there, at n = 2048 three hundred times the score matrix and more.
SMALL_LIMIT, LIMIT = 14 << 30, 6 << 30
#: Seconds that a case is repeated for, and the step of a peer that is run once only.
BUDGET, ONCE = 1.0, 4.0
#: Parts that the criteria are measured in.
SHARDS = 3
UNITS = (("time", "ms", 1e3), ("memory", "MB", 1e-6))
Steps = dict[str, Callable[[], None]]
Found = dict[str, Any]


class Child(NamedTuple):
    """A part of the benchmark that runs in a process of its own."""

    which: str
    n: int
    shard: int = 0


def measured(steps: Steps) -> Found:
    """Median seconds of each step and the memory it takes, each of the two in a process of its own."""
    return {"time": apart(lambda: timed(steps)), "memory": apart(lambda: sized(steps))}


def timed(steps: Steps) -> dict[str, float]:
    keep_freed()
    return interleaved(steps, budget=BUDGET)


def sized(steps: Steps) -> dict[str, int]:
    """What each step takes: the least of three, after one more that lays down what is kept from step to step."""
    for run in steps.values():
        run()
    return {name: min(peak_memory(run) for _ in range(3)) for name, run in steps.items()}


def once(run: Callable[[], None]) -> tuple[float, int]:
    """Seconds and memory of a single run."""
    keep_freed()
    before = time.process_time()
    memory = peak_memory(run)
    return time.process_time() - before, memory


def child_ours(n: int, shard: int, only: str) -> Iterator[Found]:
    """Every criterion, in one direction, against a softmax over the same matrix."""
    for entry, size, ours, floor in cases.criteria(n, only, shard, SHARDS):
        found = measured({"ours": ours, "floor": floor})
        yield {"case": entry.name, "n": size, "allowed": cases.allowed(entry), **found}


def child_peers(n: int, shard: int, only: str) -> Iterator[Found]:
    """Shared losses against pytorch-metric-learning; a peer that takes long is run once."""
    for name, ours, theirs in cases.shared_losses(n, only):
        yield {"case": name, **beside_peer(ours, theirs)}


def beside_peer(ours: Callable[[], None], theirs: Callable[[], None]) -> Found:
    """A loss and the peer's, in turn where the peer is quick."""
    try:
        seconds, memory = apart(lambda: once(theirs))
    except RuntimeError as error:
        return {**measured({"ours": ours}), "note": f"the peer fails in {_limit() >> 30} GB: {str(error)[:60]}"}
    if seconds <= ONCE:
        return measured({"ours": ours, "theirs": theirs})
    found = measured({"ours": ours})
    found["time"]["theirs"], found["memory"]["theirs"] = seconds, memory
    return {**found, "note": "the peer was run once"}


def child_large(n: int, shard: int, only: str) -> Iterator[Found]:
    """InfoNCE over a large batch, tiled, against the matrix products it cannot do without."""
    ours, products = cases.large_infonce(n)
    before, _ = once(products)
    seconds, memory = once(ours)
    after, _ = once(products)
    share = cases.LARGE_SHARE
    yield {"case": f"infonce tiled n={n}", "ours": seconds, "memory": memory, "floor": (before + after) / 2 * share}


CHILDREN = {"ours": child_ours, "peers": child_peers, "large": child_large}


def run_child(child: Child, only: str) -> list[Found]:
    """Run a part in a process of one thread; what it finds is shown as it comes."""
    place = ["--child", child.which, "--n", str(child.n), "--shard", str(child.shard), "--only", only]
    environment = dict(os.environ, OMP_NUM_THREADS="1", PYTHONWARNINGS="ignore")
    command = [sys.executable, __file__, *place]
    found = []
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        for line in running.stdout:
            found.append(json.loads(line))
            print(f"{child.which} n={child.n}: {line.rstrip()}", file=sys.stderr, flush=True)
    if running.returncode:
        raise SystemExit(f"{child} ended with {running.returncode}")
    return found


def lines(quick: bool, only: str, jobs: int) -> Iterator[Line]:
    n, small, large = (256, 128, 1024) if quick else (2048, 512, 32768)
    children = [*(Child("ours", n, shard) for shard in range(SHARDS)), Child("peers", small), Child("peers", n)]
    if not only or only in "infonce":
        children.append(Child("large", large))
    with ThreadPoolExecutor(jobs) as pool:
        for child, results in zip(children, pool.map(lambda child: run_child(child, only), children), strict=True):
            for found in results:
                if child.which == "large":
                    yield from large_lines(found)
                    continue
                for what, unit, scale in UNITS:
                    if child.which == "ours":
                        yield criterion_line(found, what, unit, scale)
                    else:
                        yield peer_line(found, what, child.n, unit, scale, named=child.n == small)


def criterion_line(found: Found, what: str, unit: str, scale: float) -> Line:
    """A criterion against the softmax: how many times it, within its bound where it has one."""
    case = f"{what} {found['case']} n={found['n']}"
    ours, floor = found[what]["ours"], found[what]["floor"]
    figure, over = ours * scale, ours / max(floor, 1e-9)
    if found["allowed"] is not None:
        return bounded(f"{case} over softmax", "x", max(over, 1e-9), found["allowed"], f"{figure:.4g} {unit}")
    if what == "memory":
        return bounded(case, unit, max(figure, 1e-9), 1e3, f"{over:.3g} times softmax")
    return Line(case, unit, figure, note=f"{over:.3g} times softmax; reads more than its row, no bar")


def peer_line(found: Found, what: str, size: int, unit: str, scale: float, *, named: bool) -> Line:
    """A shared loss side by side; a peer that cannot run in the memory it is given is beaten."""
    bar = cases.NAMED.get(found["case"], 1.0) if named else 1.0
    theirs, note = found[what].get("theirs"), found.get("note", "")
    case, figure = f"{what} {found['case']} n={size}", max(found[what]["ours"] * scale, 1e-9)
    if theirs is None:
        return Line(case, unit, figure, PEER, None, None, bar, True, note)
    return compared(case, unit, figure, PEER, theirs * scale, bar=bar, note=note)


def large_lines(found: Found) -> Iterator[Line]:
    note = f"{found['ours']:.4g} s, products {found['floor']:.4g} s"
    yield bounded(f"time {found['case']} over products", "x", found["ours"] / found["floor"], 1.5, note)
    yield bounded(f"memory {found['case']}", "GB", found["memory"] / 1e9, 2.0)


def _limit() -> int:
    return resource.getrlimit(resource.RLIMIT_AS)[0]


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--jobs", type=int, default=1, help="parts that run at once")
    parser.add_argument("--child", choices=CHILDREN)
    parser.add_argument("--n", type=int, default=0)
    parser.add_argument("--shard", type=int, default=0)
    options = parser.parse_args()
    if options.child:
        import torch

        torch.set_num_threads(1)
        free_at_once()  # before any large block lies in the heap
        limit = min(SMALL_LIMIT if options.n <= 512 else LIMIT, int(0.8 * available()))
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        for found in CHILDREN[options.child](options.n, options.shard, options.only):
            print(json.dumps(found), flush=True)
        return
    for line in lines(options.quick, options.only, options.jobs):
        show(line, as_json=options.json)


if __name__ == "__main__":
    main()
