"""Objectives: time and memory of every criterion against a plain softmax, and of shared losses against the peers.

    python bench/objectives.py --json

Processor seconds of one thread; forward and backward; 4 items a class; every figure with its floor or peer
measured in the same process, in turn. Memory is the rise of the peak resident set over the start.
"""

from __future__ import annotations

import json
import math
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from measure import Line, arguments, bounded, compared, interleaved, peak_memory, show

D, PER_CLASS = 384, 4
#: Bars of the named losses against pytorch-metric-learning at n = 512, time and memory alike.
NAMED = dict.fromkeys(
    (
        "NTXentLoss",
        "TupletMarginLoss",
        "PNPLoss",
        "LiftedStructureLoss",
        "SmoothAPLoss",
        "HistogramLoss",
        "ThresholdConsistentMarginLoss",
        "SignalToNoiseRatioContrastiveLoss",
    ),
    50.0,
) | {"TripletMarginLoss": 5.0}


#: Criteria that compare every pair of keys (or every triple of items), measured on a batch they can finish.
SLOW = {"adr_mse": 512, "spearman": 512, "sinkhorn_distill": 512, "rkd_angle": 256}


def batch(n: int) -> tuple[Any, Any]:
    import torch

    generator = torch.Generator().manual_seed(0)
    embeddings = torch.nn.functional.normalize(torch.randn(n, D, generator=generator), dim=1)
    return embeddings.requires_grad_(), torch.arange(n) // PER_CLASS


def step(loss: Callable[[], Any]) -> None:
    loss().backward()


def softmax_floor(embeddings: Any, keys: Any) -> Any:
    """A plain softmax cross-entropy over the same score matrix."""
    import torch

    scores = embeddings @ keys.T / 0.05
    return torch.nn.functional.cross_entropy(scores, (torch.arange(len(embeddings)) + 1) % len(keys))


def prepared(text: str, n: int, **settings: Any) -> Any:
    from similis.objective import Objective

    return Objective(text, **settings).prepare(dimension=D, classes=math.ceil(n / PER_CLASS), rows=n)


def scored_keys(objective: Any, embeddings: Any, relation: Any) -> Any:
    """The keys the objective scores: its proxies or centroids, or the batch itself."""
    import torch

    if objective.keys is None:
        return embeddings
    with torch.no_grad():
        keys, _ = objective.keys(embeddings, embeddings, relation)
    return keys.detach().requires_grad_()


def relation_for(text: str, labels: Any) -> Any:
    """Labels where the criterion takes them, else grades, a teacher or scored pairs of the same batch."""
    import torch

    from similis.relation import Relation

    accepted = prepared(text, len(labels)).accepts
    generator = torch.Generator().manual_seed(1)
    samples = torch.arange(len(labels))
    if not accepted or "labels" in accepted:
        relation = Relation.labels(labels)
    elif "graded" in accepted:
        relation = Relation.graded((labels.unsqueeze(1) == labels).float())
    elif "teacher" in accepted:
        relation = Relation.teacher(torch.randn(len(labels), len(labels), generator=generator))
    elif "pairs" in accepted:
        relation = Relation.pairs(len(labels))
    else:
        relation = Relation.scored(torch.rand(len(labels), generator=generator))
    relation.samples = samples
    return relation


def allowed(entry: Any) -> float | None:
    """How many times the softmax a criterion may cost; None where only memory is bounded."""
    traits = entry.traits
    if traits.get("whole") or traits.get("each_key") or entry.name in SLOW:
        return None
    if traits.get("each_positive"):
        return 1.0 + (PER_CLASS - 1) + (1.0 if traits.get("sorts") else 0.0)
    return 3.0 if traits.get("sorts") else 2.0


def child_ours(n: int, what: str, only: str) -> Iterator[dict[str, Any]]:
    """Every criterion, in one direction, against a softmax over the same matrix: time or memory."""
    from similis.registry import entries

    for entry in entries("criterion"):
        if only and only not in entry.name:
            continue
        size = min(n, SLOW.get(entry.name, n))
        embeddings, labels = batch(size)
        one = {} if entry.traits.get("directions") == "k2q" else {"directions": "q2k"}
        objective, relation = prepared(entry.name, size, **one), relation_for(entry.name, labels)
        ours = partial(step, partial(objective, embeddings, embeddings, relation))
        floor = partial(step, partial(softmax_floor, embeddings, scored_keys(objective, embeddings, relation)))
        floor(), ours()
        if what == "time":
            taken = interleaved({"ours": ours, "floor": floor}, warmup=0, rounds=1 if entry.name in SLOW else 3)
        else:
            taken = {"floor": peak_memory(floor), "ours": peak_memory(ours)}
        yield {"case": entry.name, "n": size, "allowed": allowed(entry), **taken}


def child_peers(n: int, what: str, only: str) -> Iterator[dict[str, Any]]:
    """Shared losses against pytorch-metric-learning."""
    from pytorch_metric_learning import losses as peer_losses

    from similis.objective.aliases import ALIASES

    embeddings, labels = batch(n)
    for name in ALIASES:
        if not hasattr(peer_losses, name) or (only and only not in name):
            continue
        sizes = {"num_classes": math.ceil(n / PER_CLASS), "embedding_size": D}
        peer_class = getattr(peer_losses, name)
        try:
            theirs_loss = peer_class()
        except TypeError:
            theirs_loss = peer_class(**sizes)
        ours_loss = prepared(f"{name}()", n)
        relation = relation_for(f"{name}()", labels)
        ours = partial(step, partial(ours_loss, embeddings, embeddings, relation))
        theirs = partial(step, partial(theirs_loss, embeddings, labels))
        ours()
        found: dict[str, Any] = {"case": name}
        try:
            if what == "time":
                slow = name in NAMED and NAMED[name] >= 50
                found |= interleaved({"ours": ours, "theirs": theirs}, warmup=0, rounds=1 if slow else 3)
            else:
                found |= {"ours": peak_memory(ours), "theirs": peak_memory(theirs)}
        except (RuntimeError, MemoryError) as error:
            found |= {"ours": interleaved({"ours": ours})["ours"], "theirs": None, "note": f"peer fails: {error}"[:90]}
        yield found


def child_large(n: int, what: str, only: str) -> Iterator[dict[str, Any]]:
    """InfoNCE over a batch of 32,768, tiled, against the matrix products it cannot do without."""
    import torch

    from similis.objective import Objective

    generator = torch.Generator().manual_seed(0)
    queries, keys = (torch.randn(n, D, generator=generator, requires_grad=True) for _ in range(2))
    objective = Objective("infonce", execution="tiled")
    tile = max(1, (1 << 19) // n)

    def floor() -> None:
        """The products of a tiled softmax with recomputation: scores twice, two gradients."""
        with torch.no_grad():
            into = torch.zeros_like(keys)
            for start in range(0, n, tile):
                rows = queries[start : start + tile]
                scores = rows @ keys.T
                scores = rows @ keys.T
                _ = scores @ keys
                into.addmm_(scores.T, rows)

    ours = partial(step, partial(objective, queries, keys))
    if what == "time":
        yield {"case": f"infonce tiled n={n}", **interleaved({"ours": ours, "floor": floor}, warmup=0, rounds=1)}
    else:
        yield {"case": f"infonce tiled n={n}", "ours": peak_memory(ours)}


CHILDREN = {"ours": child_ours, "peers": child_peers, "large": child_large}


def run_child(which: str, n: int, what: str, only: str) -> list[dict[str, Any]]:
    """Run a child process; memory children give freed blocks back at once, so that peaks are honest."""
    environment = dict(os.environ, OMP_NUM_THREADS="1")
    if what == "memory":
        environment |= {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    command = [sys.executable, __file__, "--child", which, "--n", str(n), "--what", what, "--only", only]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        print(f"{which} {what} at n={n} ended with {done.returncode}", file=sys.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()]


def lines(quick: bool, only: str) -> Iterator[Line]:
    n, small, large = (256, 128, 1024) if quick else (2048, 512, 32768)
    for what, unit, scale in (("time", "ms", 1e3), ("memory", "MB", 1e-6)):
        for found in run_child("ours", n, what, only):
            case = f"{what} {found['case']} n={found['n']}"
            figure = max(found["ours"], 1e-9) * scale
            over = max(found["ours"], 1e-9) / max(found["floor"], 1e-9)
            if found["allowed"] is not None:
                yield bounded(f"{case} over softmax", "x", over, found["allowed"], f"{figure:.4g} {unit}")
            elif what == "memory":
                yield bounded(case, unit, figure, 1e3, f"{over:.3g} times softmax")
            else:
                yield Line(case, unit, figure, note=f"{over:.3g} times softmax; reads the whole matrix, no bar")
        for size in (small, n):
            for found in run_child("peers", size, what, only):
                bar = NAMED.get(found["case"], 1.0) if size == small else 1.0
                theirs = None if found["theirs"] is None else found["theirs"] * scale
                yield compared(
                    f"{what} {found['case']} n={size}", unit, max(found["ours"], 1e-9) * scale,
                    "pytorch-metric-learning", theirs, bar=bar, note=found.get("note", ""),
                )  # fmt: skip
        if not only or only in "infonce":
            for found in run_child("large", large, what, only):
                if what == "time":
                    yield bounded(f"time {found['case']} over products", "x", found["ours"] / found["floor"], 1.5)
                else:
                    yield bounded(f"memory {found['case']}", "GB", found["ours"] / 1e9, 2.0)


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--child", choices=CHILDREN)
    parser.add_argument("--n", type=int, default=0)
    parser.add_argument("--what", choices=("time", "memory"), default="time")
    options = parser.parse_args()
    if options.child:
        import torch

        torch.set_num_threads(1)
        resource.setrlimit(resource.RLIMIT_AS, (18 << 30, 18 << 30))
        for found in CHILDREN[options.child](options.n, options.what, options.only):
            print(json.dumps(found), flush=True)
        return
    for line in lines(options.quick, options.only):
        show(line, as_json=options.json)


if __name__ == "__main__":
    main()
