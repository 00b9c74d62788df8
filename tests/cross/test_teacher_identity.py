"""A run that learns from a teacher goes on with the same teacher, whatever it is called and wherever it lies."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from similis.errors import UserError
from similis.training import train
from similis.training.teachers.teaching import Teachers
from small_runs import interrupted_after

ROWS = [(f"query {a} {b}", f"document {b} {a} {b}") for a in "abcdef" for b in "uvwxyz"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize("objective", [None, "attract, similarity=match(squared=1, cosine=0)"])
def test_another_teacher_of_the_same_name_is_refused(objective: str | None, tmp_path: Path) -> None:
    settings = {"dimension": 8, "dev": False, "epochs": 2, "batch_size": 8}
    train(ROWS, output=tmp_path / "teacher", seed=1, **settings)
    given = {**settings, "teacher": str(tmp_path / "teacher"), "objective": objective, "save_steps": 1}
    with interrupted_after(2):
        train(ROWS, output=tmp_path / "student", **given)
    shutil.move(tmp_path / "teacher", tmp_path / "kept")
    train(ROWS, output=tmp_path / "teacher", seed=2, **settings)
    with pytest.raises(UserError, match="teacher was"):
        train(ROWS, output=tmp_path / "student", **given)
    shutil.rmtree(tmp_path / "teacher")
    shutil.move(tmp_path / "kept", tmp_path / "teacher")
    train(ROWS, output=tmp_path / "student", **given)  # goes on


def test_the_fingerprint_of_several_teachers_names_each(tmp_path: Path) -> None:
    for seed in (1, 2):
        train(ROWS, output=tmp_path / str(seed), seed=seed, dimension=8, dev=False, max_steps=2)
    found = Teachers.of([tmp_path / "1", tmp_path / "2"])
    assert found.fingerprint == f"{found.each[0].fingerprint} + {found.each[1].fingerprint}"
    assert found.each[0].fingerprint != found.each[1].fingerprint
