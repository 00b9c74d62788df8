"""A run that is cut goes on to the same weights bit for bit, whatever changes its steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stepped import rows

from similis.training import train
from similis.training.running.steps import Steps
from small_runs import cut_before

LABELLED = {"text": [q for q, _ in rows(48)], "label": [f"c{i % 3}" for i in range(48)]}
SETTINGS: dict[str, Any] = {"batch_size": 8, "max_steps": 4, "save_steps": 2, "dev": False, "learning_rate": 2e-3}

WAYS = [
    ("pairs", True, "[asam, ema(decay=0.8), layer_decay]"),
    ("pairs", True, "[sam, mixout, r_drop, proximal]"),
    ("pairs", True, "[smart, fisher_layers(count=1, batches=2), implicit_dro(clusters=3)]"),
    ("labels", True, "group_dro(by=label, rate=0.5)"),
    ("pairs", False, "[fsam(every=3), mixout, fisher_mask(batches=2), proximal, ema]"),
    ("pairs", False, "[sam, group_dro(by=cluster, clusters=3, rate=0.5), momentum_keys]"),
    ("sets", False, "[group_dro(rate=0.5), asam]"),
    ("pairs", True, "[tram(factor=100), r_drop]"),
    ("pairs", True, "[half, sam]"),
    ("pairs", True, "[two_encoders, ema]"),
    ("pairs", False, "two_encoders"),
    ("labels", False, "tram(against=start, factor=1e5)"),
]

#: Vectors of runs of plain steps.
PLAIN: dict[tuple[str, bool], Any] = {}


def _sets(folder: Path) -> dict[str, Path]:
    found = {}
    for number in range(2):
        found[f"set{number}"] = folder / f"set{number}.jsonl"
        made = [json.dumps({"anchor": a, "positive": b}) for a, b in rows(40, number)]
        found[f"set{number}"].write_text("\n".join(made), encoding="utf-8")
    return found


@pytest.mark.parametrize(("kind", "transformer", "way"), WAYS)
def test_a_cut_run_ends_where_a_whole_one_does(
    kind: str, transformer: bool, way: str, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data: Any = {"pairs": rows(60), "labels": LABELLED, "sets": None}[kind] or _sets(tmp_path)
    base: dict[str, Any] = {"base": small} if transformer else {"dimension": 8}
    given = {**SETTINGS, **base, "stepping": way}
    texts = [text for pair in rows(8) for text in pair]
    whole = train(data, output=tmp_path / "whole", **given).encoder.encode(texts)
    if (kind, transformer) not in PLAIN:
        PLAIN[kind, transformer] = train(data, **{**given, "stepping": None}).encoder.encode(texts)
    with cut_before(3):
        train(data, output=tmp_path / "cut", **given)
    # a new run would make masks, clusters and averages anew; this one must not
    monkeypatch.setattr(Steps, "start", lambda self: pytest.fail("started again"))
    resumed = train(data, output=tmp_path / "cut", **given).encoder.encode(texts)
    assert np.array_equal(whole, resumed)
    assert not np.allclose(whole, PLAIN[kind, transformer], atol=1e-6)
