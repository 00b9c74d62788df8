"""Learned-sparse and multi-vector models learn by the same loop: objectives, executions, resume, and the library."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from family_models import Data, bert, pairs, scored, texts, triplets
from safetensors.torch import load_file

from similis.encoders import load
from similis.encoders.base import unit_rows
from similis.errors import UserError
from similis.indexes import pair_scores
from similis.objective import Objective
from similis.similarity import build
from similis.training import train
from small_runs import killed_at_checkpoint

SMALL: dict[str, Any] = {"batch_size": 8, "max_steps": 6, "learning_rate": 1e-3, "dev": False}
FAMILIES = (
    "sparse",
    "unicoil",
    "multi_vector(dimension=16)",
    "dense(pooling=latent_attention(latents=4, heads=2))",
    "dense(windows=attention_mean(size=6))",
)

#: Encodes and scores with the library alone, in a process that imports ours only where the model has a step of ours.
THEIRS = """
import json, sys
import sentence_transformers
texts, folders = json.loads(sys.stdin.read())
found = []
for folder, kind, own in sorted(folders, key=lambda each: each[2]):
    model = getattr(sentence_transformers, kind)(folder, device="cpu", trust_remote_code=own)
    scores = model.similarity(model.encode_query(texts), model.encode_document(texts))
    found.append((folder, (scores.to_dense() if scores.is_sparse else scores).tolist()))
    assert own == ("similis" in sys.modules)
print(json.dumps(dict(found)))
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bert(tmp_path_factory.mktemp("tiny") / "bert")


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without dropout, whose masks differ with the shape of a chunk."""
    return bert(tmp_path_factory.mktemp("still") / "bert", dropout=0.0)


def theirs(folders: list[Path], rows: list[str]) -> list[Any]:
    kinds = {"sparse": "SparseEncoder", "multi_vector": "MultiVectorEncoder", "dense": "SentenceTransformer"}
    own = ["similis" in (folder / "modules.json").read_text() for folder in folders]
    asked = [rows, [(str(folder), kinds[load(folder).family], ours) for folder, ours in zip(folders, own, strict=True)]]
    command = [sys.executable, "-c", THEIRS]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    return [np.array(found[str(folder)]) for folder in folders]


def ours(encoder: Any, rows: list[str]) -> np.ndarray[Any, Any]:
    queries, documents = encoder.encode_query(rows), encoder.encode_document(rows)
    if encoder.family == "sparse":
        return np.asarray((queries @ documents.T).toarray())
    if encoder.family == "dense":
        return np.asarray(unit_rows(queries) @ unit_rows(documents).T)
    scores = np.array([[(q @ d.T).max(1).sum() for d in documents] for q in queries])
    return scores / np.array([[len(q)] for q in queries]) if "mean" in encoder.similarity_name else scores


TILED = "infonce, directions=[q2k, k2q], execution=tiled, tile=16"
OBJECTIVES: list[tuple[str | None, Data]] = [
    (None, pairs(40)),
    ("triplet(margin=0.2)", triplets(40)),
    ("cosent(temperature=0.05)", scored(40)),
    (TILED, pairs(40)),
]

#: A new uniCOIL counts words, which tells these rows apart by more than the others ask for.
HARDER = {
    "infonce(temperature=0.5)": "infonce(temperature=1)",
    "triplet(margin=0.2)": "triplet(margin=8)",
    "cosent(temperature=0.05)": "cosent(temperature=5)",
    TILED: TILED.replace("infonce", "infonce(temperature=1)"),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("objective", "data"), OBJECTIVES, ids=["default", "triplet", "cosent", "tiled"])
def test_a_family_learns_with_any_objective(family: str, tiny: Path, objective: str | None, data: Data) -> None:
    given = {**SMALL, "max_steps": 20, "learning_rate": 2e-3, "seed": 1}
    # a batch of all rows makes losses of two runs the same quantity
    given |= {"batch_size": 40, "lr_scheduler_type": "constant", "warmup_steps": 0.0}
    text = objective or "infonce(temperature=0.5)"
    text = HARDER.get(text, text) if family == "unicoil" else text
    before = train(data, base=f"{family}:{tiny}", objective=text, **{**given, "max_steps": 1, "learning_rate": 1e-9})
    after = train(data, base=f"{family}:{tiny}", objective=text, **given)
    assert after.outcome.position.history[-1]["loss"] < before.outcome.position.history[-1]["loss"] - 0.005


def test_trained_models_score_the_same_in_the_library_in_another_process(tiny: Path, tmp_path: Path) -> None:
    other = bert(tmp_path / "other", seed=3)
    bases = [*FAMILIES, "sparse(queries=idf)", "dense(pooling=weighted_layer)", f"dense(documents='{other}')"]
    folders = [tmp_path / str(number) for number in range(len(bases))]
    rows = texts(12, seed=7)
    for base, folder in zip(bases, folders, strict=True):
        fitted = train(pairs(60), base=f"{base}:{tiny}", output=folder, corpus=texts(50), **SMALL)
        np.testing.assert_allclose(ours(fitted.encoder, rows), ours(load(folder), rows), atol=1e-5)
    for folder, scores in zip(folders, theirs(folders, rows), strict=True):
        np.testing.assert_allclose(ours(load(folder), rows), scores, atol=1e-5)
        assert np.ptp(scores) > 0.05


def weights(output: Path) -> dict[str, torch.Tensor]:
    return {str(f.relative_to(output)) + n: t for f in output.rglob("*.safetensors") for n, t in load_file(f).items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_tiled_and_chunked_steps_are_those_of_the_whole_batch(family: str, still: Path, tmp_path: Path) -> None:
    given = {**SMALL, "max_steps": 2, "lr_scheduler_type": "constant", "warmup_steps": 0.0}
    penalty = ", regularizers=[flops(0.01, side=key), l1(0.01, side=query)]" if family in ("sparse", "unicoil") else ""
    for name, execution, size in (("plain", "plain", None), ("tiled", "tiled, tile=3", None), ("cached", "plain", 3)):
        objective = f"infonce(temperature=0.2), execution={execution}{penalty}"
        run = {**given, "objective": objective, "mini_batch_size": size, "output": tmp_path / name}
        train(pairs(30), base=f"{family}:{still}", **run)
    plain = weights(tmp_path / "plain")
    for other in ("tiled", "cached"):
        found = weights(tmp_path / other)
        for name, tensor in plain.items():
            # a bias of attention's keys changes no weight of attention: its gradient is rounding alone
            assert name.endswith("key.bias") or torch.allclose(tensor, found[name], atol=2e-4), (other, name)
    assert any(not torch.equal(t, weights(tmp_path / "cached")[n]) for n, t in plain.items())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_broken_off_run_resumes_bit_for_bit(family: str, tiny: Path, tmp_path: Path) -> None:
    given = {**SMALL, "base": f"{family}:{tiny}", "save_steps": 2}
    train(pairs(30), output=tmp_path / "whole", **given)
    with killed_at_checkpoint():
        train(pairs(30), output=tmp_path / "resumed", **given)
    torch.manual_seed(99)
    train(pairs(30), output=tmp_path / "resumed", **given)
    whole, resumed = weights(tmp_path / "whole"), weights(tmp_path / "resumed")
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())


def test_stronger_flops_leave_fewer_words(tiny: Path) -> None:
    given = {**SMALL, "max_steps": 60, "learning_rate": 3e-3, "base": f"sparse:{tiny}"}
    counts = []
    for weight in (0.0, 0.3, 3.0):
        objective = f"infonce(temperature=1.0), regularizers=[flops({weight}, warmup=0.3)]"
        encoder: Any = train(pairs(200), objective=objective, **given).encoder
        counts.append(encoder.encode_document([row[1] for row in pairs(50, seed=3)]).nnz / 50)
    assert counts[0] > 1.3 * counts[1] > 1.3 * 1.3 * counts[2], counts


def test_weights_warm_up_by_the_square_of_the_run_and_read_the_side_they_name() -> None:
    queries, keys = torch.rand(4, 6), torch.rand(4, 6)
    plain = Objective("infonce")(queries, keys)

    def added(text: str, at: float | None = None) -> float:
        objective = Objective("infonce", regularizers=[text])
        if at is not None:
            objective.at(at)
        return float(objective(queries, keys) - plain)

    q, k = (float(side.mean(0).square().sum()) for side in (queries, keys))
    assert added("flops(0.5, side=query)") == pytest.approx(0.5 * q, rel=1e-4)
    assert added("flops(0.5, side=key)") == pytest.approx(0.5 * k, rel=1e-4)
    assert added("flops(0.5)") == pytest.approx(0.25 * (q + k), rel=1e-4)
    for at, share in ((0.0, 0.0), (0.1, 0.25), (0.2, 1.0), (0.9, 1.0)):
        assert added("flops(0.5, side=key, warmup=0.2)", at) == pytest.approx(share * 0.5 * k, rel=1e-4, abs=1e-6)
    text = "infonce, regularizers=[flops(0.5, side='key', warmup=0.2)]"
    assert str(Objective(str(Objective(text)))) == str(Objective(text))


def test_the_similarity_that_is_trained_is_the_one_that_is_searched(tiny: Path, tmp_path: Path) -> None:
    base, rows = f"multi_vector(dimension=16):{tiny}", texts(6)
    for number, name in enumerate(("filip", "chamfer", "maxsim")):
        output = tmp_path / str(number)
        train(pairs(20), base=base, objective=f"infonce, similarity={name}", output=output, **{**SMALL, "max_steps": 1})
        assert load(output).similarity_name == name
        found = pair_scores(load(output), rows, rows[::-1])
        sides = (load(output).encode(rows), load(output).encode(rows[::-1]))
        expected = [
            build(name)(torch.tensor(a)[None], torch.tensor(b)[None]).item() for a, b in zip(*sides, strict=True)
        ]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_flops_leave_texts_alone_that_are_sparse_enough() -> None:
    rows = torch.tensor([[1.0, 2.0, 0.0, 0.0], [4.0, 0.0, 2.0, 6.0]], requires_grad=True)
    queries = torch.zeros(2, 4)
    loss = Objective("infonce, similarity=dot, regularizers=[flops(1.0, side=key, threshold=2)]")
    # only the second row has more than two words: means 2, 0, 1, 3
    assert loss(queries, rows).item() == pytest.approx(float(np.log(2)) + 4 + 1 + 9)
    loss(queries, rows).backward()
    assert rows.grad is not None
    assert not rows.grad[0].any()


def test_what_a_family_cannot_be_compared_by_is_refused(tiny: Path) -> None:
    with pytest.raises(UserError, match="compared token by token"):
        train(pairs(20), base=f"multi_vector:{tiny}", objective="infonce, similarity=cosine", **SMALL)
    with pytest.raises(UserError, match="searched by dot or cosine"):
        train(pairs(20), base=f"sparse:{tiny}", objective="infonce, similarity=snr", **SMALL)
    with pytest.raises(UserError, match="leave side=key out"):
        Objective("infonce, regularizers=[tcm(0.5, side=key)]")
    with pytest.raises(UserError, match="did you mean 'query'"):
        Objective("infonce, regularizers=[flops(0.5, side=querry)]")
    with pytest.raises(UserError, match="share of the run"):
        Objective("infonce, regularizers=[flops(0.5, warmup=300)]")
