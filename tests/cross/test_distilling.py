"""Cross-encoder to bi-encoder to static model: each learns what the one before says, and the recipe says from whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cross_models import WORDS, tiny_dense
from scipy.linalg import orthogonal_procrustes
from scipy.special import log_softmax

from similis.encoders import load
from similis.encoders.scorers.cross import CrossEncoderScorer
from similis.errors import UserError
from similis.training import train
from similis.training.rows.columns import dataset_of
from similis.training.teachers.trans_encoder import mutual

PAIRS = [(f"{WORDS[i]} {WORDS[i + 1]}", " ".join(WORDS[(i + 3 * j) % 90] for j in range(5))) for i in range(60)]
SMALL: dict[str, Any] = {"batch_size": 16, "max_steps": 30, "dev": False, "interpolate": False}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dense(tmp_path_factory.mktemp("dense"), dropout=0.0)


@pytest.fixture(scope="module")
def cross(dense: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cross") / "model"
    CrossEncoderScorer.new(dense, seed=1).save(folder)
    return folder


def cosines(model: Any) -> Any:
    """Of every query with every document of :data:`PAIRS`."""
    queries, keys = (model.encode([pair[side] for pair in PAIRS]) for side in (0, 1))
    units = [vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (queries, keys)]
    return units[0] @ units[1].T


def divergence(student: Any, teacher: Any) -> float:
    """KL divergence of the student's from the teacher's shares of each query's documents, at temperature 0.05."""
    theirs, ours = (log_softmax(cosines(model) / 0.05, axis=1) for model in (teacher, student))
    return float((np.exp(theirs) * (theirs - ours)).sum(1).mean())


def test_a_static_model_learns_a_transformer_s_scores_and_the_record_names_it(dense: Path, tmp_path: Path) -> None:
    fitted = train(
        PAIRS, teacher=str(dense), output=tmp_path / "m", dimension=16, lr=0.5, **{**SMALL, "max_steps": 120}
    )
    assert fitted.plan.recipe.teacher == str(dense)
    assert "teacher" in (tmp_path / "m" / "recipe.toml").read_text()
    teacher = load(dense)
    assert divergence(fitted.encoder, teacher) < 0.5 * divergence(fitted.start, teacher)
    again = train(PAIRS, recipe=tmp_path / "m" / "recipe.toml", dev=False)
    assert np.array_equal(again.encoder.encode(["bal bel"]), fitted.encoder.encode(["bal bel"]))


def test_a_static_model_learns_a_transformer_s_vectors(dense: Path) -> None:
    objective = "attract, similarity=match(squared=1, cosine=0)"
    fitted = train(PAIRS, teacher=str(dense), objective=objective, dimension=16, lr=0.5, **{**SMALL, "max_steps": 120})
    texts = [text for pair in PAIRS for text in pair]
    theirs = load(dense).encode(texts)
    # the oracle: the best 16 coordinates are those of a singular value decomposition
    best = theirs @ np.linalg.svd(theirs, full_matrices=False)[2][:16].T
    ours = fitted.encoder.encode(texts)
    turned, _ = orthogonal_procrustes(ours, best)
    near = (ours @ turned * best).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(best, axis=1)
    assert near.mean() > 0.95


@pytest.mark.parametrize("objective", [None, "margin_mse", "list_net"])
def test_a_bi_encoder_learns_a_cross_encoder_s_lists(dense: Path, cross: Path, objective: str | None) -> None:
    given = {**SMALL, "max_steps": 12, "lr": 2e-3, "lr_scheduler_type": "constant", "eval_steps": 4}
    fitted = train(PAIRS, base=dense, teacher=str(cross), objective=objective, mini_batch_size=4, **given)
    losses = [record["loss"] for record in fitted.outcome.position.history if "loss" in record]
    assert losses[-1] < losses[0]
    assert fitted.plan.recipe.negatives == "bm25(count=4)"


def test_a_cross_encoder_learns_a_bi_encoder_s_scores(dense: Path) -> None:
    given = {**SMALL, "max_steps": 4, "lr": 1e-3}
    fitted = train(PAIRS, base=f"cross:{dense}", teacher=load(dense), **given)
    assert fitted.plan.objective == "distill_kl(temperature=1.0, teacher_temperature=0.05)"
    assert str(fitted.plan.recipe.teacher).startswith("dense ")
    assert np.isfinite(fitted.encoder.score(PAIRS)).all()  # type: ignore[attr-defined]


def test_several_data_sets_have_one_teacher(dense: Path) -> None:
    sets = {"one": dataset_of(PAIRS[:30]), "two": dataset_of([(a, b, 0.5) for a, b in PAIRS[30:]])}
    given = {**SMALL, "max_steps": 8, "dimension": 16}
    fitted = train(sets, teacher=str(dense), **given)
    assert fitted.plan.objective.startswith("distill_kl")
    assert fitted.outcome.position.step == 8


def test_an_objective_that_cannot_learn_scores_is_refused(dense: Path) -> None:
    with pytest.raises(UserError, match="has no meaning for teacher"):
        train(PAIRS, teacher=str(dense), objective="infonce", **SMALL)


def test_both_forms_of_a_transformer_teach_each_other(dense: Path, tmp_path: Path) -> None:
    rows = [(a, b) for a, b in PAIRS[:24]]
    dev = [(a, b, (place % 5) / 4) for place, (a, b) in enumerate(PAIRS[24:40])]
    given = {"batch_size": 8, "max_steps": 3, "lr": 1e-3, "seed": 3}
    found = mutual([dense, dense], rows, cycles=2, output=tmp_path / "out", dev=dev, **given)
    assert [len(record["bi"]) for record in found.history] == [2, 2]
    best = max(value for record in found.history for value in record["cross"] if value is not None)
    assert best == max(record["cross"][0] or -1 for record in found.history)
    # the first cross-encoders begin with the given weights, the next bi-encoders with the cross-encoders'
    body = load(tmp_path / "out" / "cycle-1" / "cross-0").model.transformers_model.base_model.state_dict()
    start = load(tmp_path / "out" / "cycle-1" / "start-0").model.transformers_model.state_dict()
    assert all(np.array_equal(tensor, start[name]) for name, tensor in body.items())
    assert found.encoder.family == "dense"
    assert found.scorer.family == "cross"
    assert found.scorer.activation == "sigmoid"
    with pytest.raises(UserError, match="two pairs"):
        mutual(dense, rows[:1])
