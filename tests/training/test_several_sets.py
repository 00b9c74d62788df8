"""Several data sets learnt at once: shares, objectives, dev, and exact resumption."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from similis.errors import UserError
from similis.objective import Objective
from similis.training import train
from similis.training.rows.examples import Examples, TextTable
from similis.training.running.mixing import Part, mixed
from small_runs import cut_before

PAIRS = [{"anchor": f"question {i} of {i % 7}", "positive": f"answer {i} to {i % 7}"} for i in range(60)]
SCORED = [{"sentence1": f"a {i}", "sentence2": f"b {i % 5}", "score": (i % 5) / 4} for i in range(24)]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    found = {}
    for name, rows in (("qa", PAIRS), ("sts", SCORED)):
        found[name] = tmp_path / f"{name}.jsonl"
        found[name].write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return found


def _parts(*sizes: int) -> list[Part]:
    table = TextTable()
    parts = []
    for number, size in enumerate(sizes):
        codes = table.add(f"{number} {i}" for i in range(size))
        examples = Examples("pairs", table, codes, codes)
        parts.append(Part(str(number), examples, Objective("infonce"), "shuffle", examples.items()))
    return parts


def test_in_proportion_every_row_is_read_once_an_epoch() -> None:
    parts = _parts(40, 10)
    drawn = mixed(parts, 5, exponent=1.0, seed=0, epoch=3)
    for part in parts:
        rows = np.concatenate([d.rows for d in drawn if d.part is part])
        assert sorted(rows.tolist()) == list(range(len(part.examples)))


def test_equal_shares_read_the_small_set_several_times_and_the_large_one_in_turns() -> None:
    large, small = _parts(40, 10)
    counts: Counter[str] = Counter()
    seen: Counter[int] = Counter()
    for epoch in range(8):
        drawn = mixed([large, small], 5, exponent=0.0, seed=0, epoch=epoch)
        counts.update(d.part.name for d in drawn)
        seen.update(row for d in drawn if d.part is large for row in d.rows.tolist())
    assert counts == {"0": 40, "1": 40}
    # 8 epochs x 5 batches are 5 laps through the 8 batches of the large set
    assert set(seen.values()) == {5}


def test_a_batch_has_rows_of_one_set_and_its_own_objective(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str]] = []
    forward = Objective.forward

    def noted(self: Objective, queries, keys=None, relation=None):  # type: ignore[no-untyped-def]
        seen.append((str(self).partition("(")[0], relation.supervision))
        return forward(self, queries, keys, relation)

    monkeypatch.setattr(Objective, "forward", noted)
    settings = {"epochs": 1, "batch_size": 8, "dimension": 8, "passages": 0}
    fitted = train(files, objective={"sts": "pearson"}, **settings)
    assert set(seen) == {("infonce", "pairs"), ("pearson", "scored")}
    assert fitted.metric == "mean of nDCG@10, spearman"
    assert set(fitted.data["sets"]) == {"qa", "sts"}


def test_a_run_over_several_sets_resumes_exactly(files: dict[str, Path], tmp_path: Path) -> None:
    settings = {"epochs": 2, "batch_size": 8, "dimension": 8, "dev": False, "mixing": 0.5}
    whole = train(files, output=tmp_path / "whole", **settings).encoder.encode(["question 3 of 3"])
    with cut_before(6):
        train(files, output=tmp_path / "cut", save_steps=1, **settings)
    resumed = train(files, output=tmp_path / "cut", save_steps=1, **settings).encoder.encode(["question 3 of 3"])
    assert np.array_equal(whole, resumed)


def test_an_objective_that_does_not_fit_one_of_the_sets_is_refused_with_its_file(files: dict[str, Path]) -> None:
    with pytest.raises(UserError, match=r"scored .*sts\.jsonl"):
        train(files, objective={"sts": "triplet"}, dev=False)
