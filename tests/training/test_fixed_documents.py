"""ADORE: only queries learn, documents' vectors stay bit for bit, and each batch searches with its own queries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from training_rows import pairs

from similis.encoders import load
from similis.errors import UserError
from similis.objective import Objective
from similis.similarity import build
from similis.training import train
from similis.training.negatives import Searching, negatives
from similis.training.negatives.fixed import Fixed
from similis.training.rows.examples import Examples, TextTable
from small_runs import interrupted_after

ROWS = [("q a", "doc a"), ("q a", "doc b"), ("q b", "doc c"), ("q c", "doc d"), ("doc e", "doc f")]
CORPUS = ["doc e", "doc g", "Doc  A"]


def _fixed(depth: int = 200) -> tuple[Fixed, torch.Tensor]:
    """Examples over fixed random vectors, and those of every text of the table."""
    table = TextTable()
    plain = Examples("pairs", table, table.add(q for q, _ in ROWS), table.add(d for _, d in ROWS))
    documents = table.add(CORPUS)
    vectors = torch.randn(len(table), 6, generator=torch.Generator().manual_seed(1))

    @contextmanager
    def judging() -> Iterator:
        yield lambda codes, _: vectors[torch.from_numpy(codes)]

    searching = Searching(negatives(f"adore(depth={depth})"), plain, documents, 0)
    made = searching.fixed(build("dot"), judging)
    assert isinstance(made, Fixed)
    return made, vectors


def test_a_batch_holds_the_best_documents_that_are_no_positives() -> None:
    fixed, vectors = _fixed(depth=3)
    batch = fixed.batch(np.arange(len(fixed)))
    folded = fixed.table.folded
    for row, (query, key) in enumerate(zip(fixed.queries, fixed.keys, strict=True)):
        own = {folded[k] for q, k in zip(fixed.queries, fixed.keys, strict=True) if q == query} | {folded[query]}
        rest = sorted(
            (c for c in fixed.pool if folded[c] not in own), key=lambda c: -float(vectors[query] @ vectors[c])
        )
        wanted = torch.stack([vectors[code] for code in (key, *rest[:3])])
        assert torch.equal(batch.vectors[row], wanted)


def test_the_objective_of_the_paper_over_a_batch() -> None:
    """RankNet's loss of the positive against each found document, weighted by the change of the reciprocal rank."""
    fixed, vectors = _fixed()
    rows = np.arange(len(fixed))
    batch = fixed.batch(rows)
    queries = vectors[torch.from_numpy(batch.queries)]
    found = Objective("lambda_rank(metric=mrr), similarity=dot")(queries, batch.vectors, batch.relation)
    losses = []
    for row in rows:
        known = batch.relation.rows().known[row]
        scores = (batch.vectors[row] @ queries[row])[known].tolist()
        order = sorted(range(len(scores)), key=lambda place: -scores[place])
        rank = {place: number for number, place in enumerate(order, 1)}
        # the reciprocal rank of the only relevant one changes from 1 / its rank to 1 / the other's
        losses.append(
            sum(
                abs(1 / rank[0] - 1 / rank[other]) * np.log1p(np.exp(scores[other] - scores[0]))
                for other in range(1, len(scores))
            )
        )
    assert float(found) == pytest.approx(np.mean(losses), rel=1e-5)


def test_only_queries_learn_and_the_old_index_stays_valid(tiny: Path, tmp_path: Path) -> None:
    rows = pairs(40)
    documents = [document for _, document in rows]
    old = load(tiny)
    before = old.encode_document(documents)
    given = {"negatives": "adore(depth=8)", "dev": False, "interpolate": False, "lr": 1e-3, "max_steps": 6}
    train(rows, base=tiny, output=tmp_path / "model", objective="lambda_rank(metric=mrr), similarity=dot", **given)
    new = load(tmp_path / "model")
    assert np.array_equal(new.encode_document(documents), before)
    queries = [query for query, _ in rows]
    assert np.array_equal(old.encode_query(queries), old.encode(queries))
    assert not np.allclose(new.encode_query(queries), old.encode_query(queries), atol=1e-3)


def test_new_queries_find_more_in_the_old_index(tiny: Path) -> None:
    rows = pairs(60)
    queries, documents = [q for q, _ in rows], [d for _, d in rows]
    old = load(tiny)
    index = old.encode_document(documents)
    given = {"negatives": "adore(depth=20)", "dev": False, "interpolate": False, "lr": 5e-3, "epochs": 12}
    new = train(rows, base=tiny, batch_size=12, **given).encoder

    def found(vectors: np.ndarray) -> float:
        return float(((vectors @ index.T).argmax(1) == np.arange(len(rows))).mean())

    assert found(new.encode_query(queries)) > found(old.encode_query(queries)) + 0.2


def test_negatives_differ_from_step_to_step(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[int, list[tuple[int, ...]]] = {}
    real = Fixed.found

    def watched(self: Fixed, rows: np.ndarray) -> np.ndarray:
        found = real(self, rows)
        for row, places in zip(rows.tolist(), found.tolist(), strict=True):
            seen.setdefault(row, []).append(tuple(places))
        return found

    monkeypatch.setattr(Fixed, "found", watched)
    given = {"negatives": "adore(depth=4)", "dev": False, "interpolate": False, "lr": 5e-3, "epochs": 4}
    train(pairs(24), base=tiny, batch_size=12, **given)
    assert all(len(each) == 4 for each in seen.values())
    assert any(len(set(each)) > 1 for each in seen.values())


def test_a_run_with_fixed_documents_resumes_exactly(tiny: Path, tmp_path: Path) -> None:
    rows = pairs(24)
    given = {"base": tiny, "negatives": "adore(depth=6)", "dev": False, "epochs": 2, "batch_size": 6, "save_steps": 1}
    texts = [query for query, _ in rows]
    whole = train(rows, output=tmp_path / "whole", **given).encoder.encode_query(texts)
    with interrupted_after(6):
        train(rows, output=tmp_path / "cut", **given)
    resumed = train(rows, output=tmp_path / "cut", **given).encoder.encode_query(texts)
    assert np.array_equal(whole, resumed)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "a new static model"),
        ({"base": "cross:{tiny}"}, "cross"),
        ({"base": "sparse:{tiny}"}, "dense transformer"),
        ({"base": "{tiny}", "peft": "bitfit"}, "peft"),
        ({"base": "{tiny}", "negatives": "adore(depth=0)"}, "depth"),
    ],
)
def test_what_cannot_keep_its_documents_is_refused(tiny: Path, settings: dict[str, str], said: str) -> None:
    given = {name: value.format(tiny=tiny) for name, value in settings.items()}
    with pytest.raises(UserError, match=said):
        train(pairs(12), **{"negatives": "adore", **given}, dev=False, max_steps=1)
