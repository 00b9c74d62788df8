"""Cross-encoders learn by the same loop: any objective and execution, exact resume, the library's format."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cross_models import WORDS, tiny_dense
from safetensors.torch import load_file

from similis.errors import UserError
from similis.similarity.vector import Dot
from similis.training import train
from similis.training.rows.columns import dataset_of, examples_of
from similis.training.rows.examples import TextTable
from similis.training.rows.lists import Listed
from similis.training.running.cross_dev import CandidatesDev, cross_dev_set
from small_runs import killed_at_checkpoint

SMALL: dict[str, Any] = {"batch_size": 6, "max_steps": 3, "learning_rate": 2e-3, "dev": False}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"cross:{tiny_dense(tmp_path_factory.mktemp('dense'))}"


@pytest.fixture(scope="module")
def without_dropout(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"cross:{tiny_dense(tmp_path_factory.mktemp('still'), dropout=0.0)}"


def pairs(count: int) -> list[tuple[str, str]]:
    """Queries of two of the words of their document."""
    generator = random.Random(0)
    rows = []
    for _ in range(count):
        own = generator.sample(WORDS, 4)
        rows.append((" ".join(own[:2]), " ".join(own)))
    return rows


def triplets(count: int) -> list[tuple[str, str, str]]:
    rows = pairs(count)
    return [(query, own, rows[place - 1][1]) for place, (query, own) in enumerate(rows)]


def scored(count: int) -> list[tuple[str, str, float]]:
    return [(a, b, (place % 5) / 4) for place, (a, b) in enumerate(pairs(count))]


def labelled(count: int) -> dict[str, list[Any]]:
    rows = pairs(count)
    return {"text": [text for _, text in rows], "label": [f"c{place % 3}" for place in range(count)]}


def duplicates(count: int) -> dict[str, list[Any]]:
    rows = pairs(count)
    first, second = [a for a, _ in rows], [b for _, b in rows]
    return {"sentence1": first, "sentence2": second, "label": [place % 2 for place in range(count)]}


CASES: list[tuple[str, str | None, Any, dict[str, Any]]] = [
    ("pairs", None, pairs(24), {}),
    ("pairs_tiled", "infonce(temperature=1.0), execution=tiled", pairs(24), {}),
    ("pairs_cached", "lambda_loss", pairs(24), {"mini_batch_size": 2}),
    ("triplets", "binary_cross_entropy", triplets(24), {}),
    ("labels", None, labelled(24), {"batch_size": 8}),
    ("scored", "mse", scored(24), {"mini_batch_size": 4}),
    ("labeled_pairs", "ranknet", duplicates(24), {}),
]


READ = """
import json, sys
from sentence_transformers import CrossEncoder
pairs = json.loads(sys.argv[1])
models = [CrossEncoder(folder, device="cpu", local_files_only=True) for folder in sys.argv[2:]]
print(json.dumps([model.predict(pairs).tolist() for model in models]))
"""


def test_every_supervision_and_execution_is_trained_and_read_back_elsewhere(base: str, tmp_path: Path) -> None:
    asked = [(a, b) for a, (_, b) in zip([q for q, _ in pairs(6)], pairs(7)[1:], strict=True)]
    ours = []
    for name, objective, data, more in CASES:
        fitted = train(data, base=base, objective=objective, output=tmp_path / name, **{**SMALL, **more})
        assert fitted.outcome.position.step == 3, name
        ours.append(fitted.encoder.score(asked).tolist())  # type: ignore[attr-defined]
    folders = [str(tmp_path / name) for name, *_ in CASES]
    command = [sys.executable, "-c", READ, json.dumps(asked), *folders]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    theirs = json.loads(done.stdout.splitlines()[-1])
    assert np.abs(np.array(ours) - np.array(theirs)).max() < 1e-5
    assert ours[0] == ours[1]  # tiles change nothing
    assert len({tuple(row) for row in ours}) == len(CASES) - 1


def test_only_log_odds_are_stated_as_probabilities(base: str) -> None:
    stated = {
        objective: train(triplets(12), base=base, objective=objective, **SMALL).encoder.activation  # type: ignore[attr-defined]
        for objective in ("binary_cross_entropy", "infonce(temperature=1.0)")
    }
    assert stated == {"binary_cross_entropy": "sigmoid", "infonce(temperature=1.0)": "identity"}


def test_it_learns_and_is_judged_by_held_out_pairs(without_dropout: str) -> None:
    rows = [(query, text, float(text[0] in "bd")) for query, text in pairs(260)]
    given = {**SMALL, "max_steps": 48, "batch_size": 16, "eval_steps": 24, "dev": rows[200:]}
    position = train(rows[:200], base=without_dropout, objective="mse", interpolate=False, **given).outcome.position
    assert position.before is not None
    assert position.best is not None
    assert position.best > max(0.25, position.before)


def test_dev_queries_are_judged_among_candidates_that_share_their_words(base: str) -> None:
    table = TextTable()
    train_rows, dev_rows = (examples_of(dataset_of(rows), table) for rows in (pairs(60)[:50], pairs(60)[50:]))
    judged = cross_dev_set(dev_rows, train_rows, 6, np.zeros(0, np.int64))
    assert isinstance(judged, CandidatesDev)
    assert judged.relevant.sum(1).tolist() == [1] * 10
    texts = np.array(table.texts)
    assert (texts[judged.candidates[judged.relevant]] == texts[dev_rows.keys]).all()

    def gold(queries: Any, keys: Any) -> torch.Tensor:
        return torch.from_numpy(judged.relevant.astype(np.float32))

    assert judged.value(gold, Dot()) == 1.0
    # the one relevant of six is last: its gain is 1 / log2(7)
    assert judged.value(lambda q, k: -gold(q, k), Dot()) == pytest.approx(1 / np.log2(7))


def test_chunked_gradients_are_those_of_the_whole_batch(without_dropout: str, tmp_path: Path) -> None:
    given = {**SMALL, "max_steps": 1, "lr_scheduler_type": "constant", "warmup_steps": 0.0}
    for name, size in (("whole", None), ("chunked", 2)):
        train(triplets(12), base=without_dropout, output=tmp_path / name, mini_batch_size=size, **given)
    whole, chunked = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "chunked"))
    for name, tensor in whole.items():
        assert torch.allclose(tensor, chunked[name], atol=2e-4), name


def test_a_broken_off_run_resumes_bit_for_bit(base: str, tmp_path: Path) -> None:
    given = {**SMALL, "base": base, "save_steps": 2, "max_steps": 6}
    train(pairs(24), output=tmp_path / "whole", **given)
    with killed_at_checkpoint():
        train(pairs(24), output=tmp_path / "resumed", **given)
    torch.manual_seed(99)
    train(pairs(24), output=tmp_path / "resumed", **given)
    whole, resumed = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "resumed"))
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())


def listed(data: Any, **further: Any) -> Listed:
    return Listed.of(examples_of(dataset_of(data), TextTable()), **further)


def test_no_positive_of_a_query_is_its_negative() -> None:
    rows = [("q one", "a b"), ("Q  one", "c d"), ("q two", "e f"), ("q three", "a b")]
    examples = listed(rows, sampled=3)
    batch = examples.batch(np.arange(4))
    assert batch.keys is not None
    texts = examples.table.texts
    for query, keys, grades in zip(batch.queries, batch.keys, batch.relation.rows().grade, strict=True):
        named = [texts[key] for key in keys if key >= 0]
        assert grades[0] == 1
        assert not grades[1:].any()
        if texts[query].casefold().endswith("one"):
            assert set(named[1:]) <= {"e f"}
    known = batch.relation.rows().known.numpy()
    assert (known == (batch.keys >= 0)).all()


def test_lists_of_labels_begin_with_kin_and_never_hold_the_text_itself() -> None:
    examples = listed(labelled(12), sampled=2)
    batch = examples.batch(np.arange(11))
    assert batch.keys is not None
    assert batch.keys.shape == (11, 3)
    labels = dict(zip(examples.queries.tolist(), examples.labels.tolist(), strict=True))  # type: ignore[union-attr]
    lists = zip(batch.queries.tolist(), batch.keys.tolist(), strict=True)
    same = [[labels[key] == labels[query] for key in keys] for query, keys in lists]
    assert (batch.relation.rows().grade.numpy() == np.array(same)).all()
    assert all(row[0] for row in same)
    assert not (batch.keys == batch.queries[:, None]).any()
    again = examples.batch(np.arange(11))
    assert again.keys is not None
    assert (batch.keys == again.keys).all()


def test_a_text_alone_in_its_class_gets_others_as_negatives() -> None:
    examples = listed({"text": ["a", "b", "c", "d"], "label": ["x", "x", "y", "x"]}, sampled=2)
    batch = examples.batch(np.arange(4))
    assert batch.keys is not None
    alone = batch.relation.rows().grade[2]
    assert not alone.any()
    assert (batch.keys[2] != batch.queries[2]).all()


def test_objectives_of_embeddings_are_refused(base: str) -> None:
    for objective, said in (
        ("infonce, similarity=snr", "leave similarity out"),
        ("infonce, matryoshka=[1]", "leave matryoshka out"),
        ("infonce, regularizers=[zero_mean(0.1)]", "leave regularizers out"),
        ("infonce, keys=xbm", "leave keys out"),
    ):
        with pytest.raises(UserError, match=said):
            train(pairs(12), base=base, objective=objective, **SMALL)
    with pytest.raises(UserError, match="take negatives from words"):
        train(pairs(12), base=base, negatives="hard(count=1)", **SMALL)
