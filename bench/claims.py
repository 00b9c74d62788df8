"""Claims: what papers say of their methods, tested on small data; a claim that does not hold is reported as such.

    python bench/claims.py --json
    python bench/claims.py --only snr

One line a claim: the means of baseline and ours over the seeds, the 95 % interval of their paired difference, and
whether the whole interval is on the claimed side. ``--data`` names a folder of data sets for the claims that need one.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from claim_cases.claim import Cache, Claim, Trial, judge
from measure import arguments

SEEDS = 5


def all_claims() -> list[Claim]:
    """Every claim, in the order of the modules."""
    from claim_cases import digits, geometry, noise, pairs, ranking, unseen, voices

    return [claim for module in (unseen, voices, digits, noise, pairs, ranking, geometry) for claim in module.CLAIMS]


def show(line: dict[str, Any], *, as_json: bool) -> None:
    """Print a line for a machine or a person."""
    if as_json:
        finite = [None if math.isinf(bound) else bound for bound in line["interval"] or ()] or None
        print(json.dumps({**line, "interval": finite}), flush=True)
        return
    verdict = {True: "holds", False: "DOES NOT HOLD", None: "unknown"}[line["holds"]]
    figures = line["note"]
    if line["difference"] is not None:
        low, high = line["interval"]
        figures = (
            f"{line['metric']} {line['baseline_value']:.4g} -> {line['ours_value']:.4g}"
            f" ({line['difference']:+.3g}, 95 % {low:+.3g}..{high:+.3g})  {line['note']}"
        )
    print(f"{line['case']:<28} {verdict:<14} {figures}", flush=True)


def main() -> None:
    parser = arguments("Test what papers claim of their methods.")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="trials of each claim")
    parser.add_argument("--data", type=Path, help="folder of data sets, such as wordnet-nouns")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    seeds = 2 if options.quick else options.seeds
    trials = [Trial(seed, options.quick, options.data) for seed in range(seeds)]
    cache: Cache = {}
    for claim in all_claims():
        if options.only in claim.name:
            show(judge(claim, trials, cache), as_json=options.json)


if __name__ == "__main__":
    main()
