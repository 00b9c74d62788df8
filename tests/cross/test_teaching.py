"""Teachers are asked once, kept on disk, averaged; students of every form learn what they say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cross_models import WORDS, tiny_dense
from numpy.typing import NDArray

from similis.encoders import load
from similis.encoders.scorers.cross import CrossEncoderScorer
from similis.errors import UserError
from similis.training.recipe import Recipe
from similis.training.rows.columns import dataset_of, examples_of
from similis.training.rows.examples import Examples, TextTable
from similis.training.teachers.taught import Embedded, Matrix, taught
from similis.training.teachers.teaching import Teachers, cache

PAIRS = [(WORDS[i], f"{WORDS[i]} {WORDS[i + 1]} {WORDS[(i * 7) % 80]}") for i in range(24)]
NOTHING = np.zeros(0, np.int64)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dense(tmp_path_factory.mktemp("dense"))


@pytest.fixture(scope="module")
def cross(dense: Path) -> CrossEncoderScorer:
    return CrossEncoderScorer.new(dense, seed=1)


def examples(rows: Any) -> Examples:
    return examples_of(dataset_of(rows), TextTable())


class Counted:
    """A cross-encoder that scores by lengths and counts what it is asked."""

    family = "cross"

    def __init__(self, factor: float, family: str = "cross") -> None:
        self.factor, self.fingerprint, self.asked, self.family = factor, f"counted{factor}", 0, family

    def score(self, pairs: Sequence[tuple[str, str]], *, raw: bool = False) -> NDArray[np.float32]:
        assert raw
        self.asked += len(pairs)
        return np.array([self.factor * len(key) for _, key in pairs], np.float32)


def test_a_teacher_is_asked_once_for_each_pair(own_cache: Path) -> None:
    teacher = Counted(1.0)
    pairs = [("a", "bb"), ("a", "bb"), ("a", "c")]
    assert Teachers.of(teacher).scores(pairs).tolist() == [2, 2, 1]
    assert teacher.asked == 2
    assert Teachers.of(teacher).scores(pairs).tolist() == [2, 2, 1]
    assert teacher.asked == 2
    (file,) = cache().glob("*.npy")
    file.write_bytes(file.read_bytes()[:-4])  # damaged: asked anew
    assert Teachers.of(teacher).scores(pairs).tolist() == [2, 2, 1]
    assert teacher.asked == 4
    Teachers.of(Counted(3.0)).scores(pairs)
    assert len(list(cache().glob("*.npy"))) == 2


def test_an_ensemble_is_the_mean_and_mixed_families_are_standardised(dense: Path) -> None:
    pairs = [("bal", text) for text in ("bel", "bel dem", "gin kes bol fur")]
    assert Teachers.of([Counted(1.0), Counted(3.0)]).scores(pairs).tolist() == [6, 14, 30]
    mixed = Teachers.of([Counted(2.0), load(dense)])
    cosines = Teachers.of(load(dense)).scores(pairs)
    lengths = np.array([6.0, 14.0, 30.0])
    expected = [(column - column.mean()) / column.std() for column in (lengths, cosines)]
    assert np.allclose(mixed.scores(pairs), np.mean(expected, axis=0), atol=1e-5)


def test_a_batch_has_the_teacher_s_cosine_of_every_pair(dense: Path) -> None:
    made, recipe = taught(examples(PAIRS), NOTHING, Recipe(), Teachers.of(str(dense)), "static")
    assert isinstance(made, Matrix)
    assert recipe.objective == "distill_kl(temperature=0.05, teacher_temperature=0.05)"
    assert len(list(cache().glob("*.npy"))) == 1  # without prompts, queries are read as documents are
    rows = np.array([3, 1, 7])
    batch = made.batch(rows)
    assert batch.relation.supervision == "teacher"
    first, second = (load(dense).encode([PAIRS[row][side] for row in rows]) for side in (0, 1))
    first, second = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (first, second))
    assert np.allclose(batch.relation.rows().grade, first @ second.T, atol=1e-5)
    scored, recipe = taught(
        examples([(a, b, 1.0) for a, b in PAIRS]), NOTHING, Recipe(), Teachers.of(str(dense)), "dense"
    )
    assert recipe.objective == "mse"
    assert np.allclose(scored.batch(rows).relation.rows().grade[0], (first * second).sum(1), atol=1e-5)


def test_lists_have_the_cross_encoder_s_scores_of_own_and_mined_keys(cross: CrossEncoderScorer) -> None:
    made, recipe = taught(examples(PAIRS), NOTHING, Recipe(), Teachers.of(cross), "dense")
    assert recipe.negatives == "bm25(count=4)"
    batch = made.batch(np.arange(6))
    assert batch.keys is not None
    texts = made.table.texts
    grades, known = batch.relation.rows().grade.numpy(), batch.relation.rows().known.numpy()
    assert (known == (batch.keys >= 0)).all()
    assert known[:, 1:].any()
    for row, column in np.argwhere(known):
        pair = (texts[batch.queries[row]], texts[batch.keys[row, column]])
        assert grades[row, column] == pytest.approx(float(cross.score([pair], raw=True)[0]), abs=1e-5)


def test_vectors_are_learnt_in_the_student_s_dimension(dense: Path) -> None:
    recipe = Recipe(objective="attract, similarity=match(squared=1, cosine=0)")
    made, _ = taught(examples(PAIRS), NOTHING, recipe, Teachers.of(str(dense)), "static")
    assert isinstance(made, Embedded)
    batch = made.batch(np.arange(5))
    assert batch.vectors is not None
    named = [made.table.texts[code] for code in batch.queries]
    assert set(named) == {text for pair in PAIRS[:5] for text in pair}
    assert np.allclose(batch.vectors, load(dense).encode(named), atol=1e-5)
    short = made.reduced(8)
    assert short.targets.shape[1] == 8
    assert np.allclose(np.linalg.norm(short.targets, axis=1), np.linalg.norm(made.targets, axis=1), rtol=1e-4)
    # the oracle: a singular value decomposition keeps the same plane
    main = torch.linalg.svd(torch.from_numpy(made.targets)).Vh[:8].T.numpy()
    projected = made.targets @ main
    cosines = [(v / np.linalg.norm(v, axis=1, keepdims=True)) for v in (short.targets, projected)]
    assert np.allclose(cosines[0] @ cosines[0].T, cosines[1] @ cosines[1].T, atol=1e-3)
    with pytest.raises(UserError, match="64 coordinates and the teacher's 32"):
        made.reduced(64)


def test_what_cannot_teach_is_refused(dense: Path, cross: CrossEncoderScorer) -> None:
    labels = examples({"text": [a for a, _ in PAIRS], "label": ["x", "y"] * 12})
    with pytest.raises(UserError, match="labelled texts are none"):
        taught(labels, NOTHING, Recipe(), Teachers.of(cross), "dense")
    with pytest.raises(UserError, match=r"negatives must be bm25"):
        taught(examples(PAIRS), NOTHING, Recipe(negatives="hard(count=1)"), Teachers.of(cross), "dense")
    with pytest.raises(UserError, match="attract learns one model's vectors"):
        taught(examples(PAIRS), NOTHING, Recipe(objective="attract"), Teachers.of(cross), "static")
    with pytest.raises(UserError, match="int is no teacher"):
        Teachers.of(3)
    with pytest.raises(UserError, match="names no model"):
        Teachers.of("")
    with pytest.raises(UserError, match="no model"):
        Teachers.of(f"{dense} + {dense}x")
