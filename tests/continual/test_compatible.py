"""A new model that searches an old index: by a term in training, by a projection; and the old model is kept apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from continual_rows import asked, document, documents, halves

from similis.encoders import load
from similis.errors import UserError
from similis.objective import Objective
from similis.relation import Relation
from similis.similarity import build
from similis.training import crossings, project, train
from similis.training.continual.projection import least_squares
from similis.training.stepping.base import Embedded
from similis.training.stepping.compatible import CompatibleWith, KeepTopology, plain_of
from small_runs import interrupted_after

SETTINGS = {"dimension": 32, "dev": False, "epochs": 8, "batch_size": 32}


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory, own_cache: object) -> Path:
    folder = tmp_path_factory.mktemp("old") / "model"
    train(halves(), output=folder, **SETTINGS)
    return folder


@pytest.fixture(scope="module")
def table(old: Path) -> dict[str, dict[str, float]]:
    """Who finds what in whose index, for a new model that knows of the old one and for one that does not."""
    own = [document(things) for things in documents()]
    place = {text: number for number, text in enumerate(own)}
    test = asked(120, seed=9)
    told = {}
    for name, further in (("alone", {}), ("compatible", {"stepping": f'compatible_with("{old}")'})):
        new = train(asked(), **SETTINGS, **further).encoder
        told[name] = crossings(load(old), new, [q for q, _ in test], own, [place[d] for _, d in test])
    return told


def test_new_queries_beat_old_ones_in_the_old_index(table: dict[str, dict[str, float]]) -> None:
    found = table["compatible"]
    assert found["new queries, old index"] > found["old queries, old index"] + 0.2
    assert found["new queries, old index"] > table["alone"]["new queries, old index"] + 0.4


def test_the_new_model_loses_little_by_it(table: dict[str, dict[str, float]]) -> None:
    assert table["compatible"]["new queries, new index"] > table["alone"]["new queries, new index"] - 0.1


def test_the_term_is_the_objective_of_new_queries_and_old_keys() -> None:
    generator = torch.Generator().manual_seed(0)
    queries, keys, before = (torch.randn(5, 4, generator=generator) for _ in range(3))
    objective = Objective("infonce(temperature=0.1)", regularizers=["koleo"])
    step = CompatibleWith("unused", weight=0.5)
    step.vectors = type("Kept", (), {"keys": lambda self, batch: before})()
    relation = Relation.pairs(5)
    drawn = type("Drawn", (), {"part": type("P", (), {"objective": objective})()})()
    batch = type("B", (), {"vectors": None})()
    found = step.loss(Embedded(drawn, batch, relation, queries, keys), torch.tensor(2.0))
    cosine = torch.nn.functional.normalize(queries, dim=1) @ torch.nn.functional.normalize(before, dim=1).T
    wanted = 2.0 + 0.5 * torch.nn.functional.cross_entropy(cosine / 0.1, torch.arange(5))
    assert float(found) == pytest.approx(float(wanted), rel=1e-5)
    assert len(objective.regularizers) == 1
    assert plain_of(objective).criterion is objective.criterion


def test_topology_is_kept_by_the_divergence_of_the_old_batch_from_the_new() -> None:
    generator = torch.Generator().manual_seed(0)
    queries, keys, old_queries, old_keys = (torch.randn(4, 3, generator=generator) for _ in range(4))
    step = KeepTopology("unused", weight=2.0, temperature=0.5)

    class Kept:
        def keys(self, batch: object) -> torch.Tensor:
            return old_keys

        def __call__(self, codes: object, queries: bool) -> torch.Tensor:
            return old_queries

    step.vectors = Kept()
    drawn = type("Drawn", (), {"part": type("P", (), {"objective": Objective("infonce, similarity=dot")})()})()
    batch = type("B", (), {"vectors": None, "keys": np.arange(4), "queries": np.arange(4)})()
    found = step.loss(Embedded(drawn, batch, Relation.pairs(4), queries, keys), torch.tensor(0.0))
    wanted = 0.0
    for before, now in ((old_queries @ old_keys.T, queries @ keys.T), (old_keys @ old_queries.T, keys @ queries.T)):
        share, other = (before / 0.5).softmax(-1), (now / 0.5).softmax(-1)
        wanted += float((share * (share / other).log()).sum(1).mean())
    assert float(found) == pytest.approx(2 * wanted / 2, rel=1e-5)


def test_a_kept_topology_stays_nearer_to_the_old_one(old: Path) -> None:
    queries, keys = [q for q, _ in asked(80)], [document(things) for things in documents()]

    def scores(model: Any) -> torch.Tensor:
        found = model.encode_query(queries), model.encode_document(keys)
        return build("cosine")(*map(torch.from_numpy, found))

    before = scores(load(old))

    def apart(**further: str) -> float:
        new = train(asked(), base=old, lr=0.1, interpolate=False, dev=False, epochs=4, batch_size=32, **further).encoder
        return float((scores(new) - before).square().mean())

    assert apart(stepping=f'keep_topology("{old}", weight=5)') < 0.9 * apart()


def test_a_projection_from_texts_alone_finds_the_old_space(old: Path) -> None:
    """Another dimension and another seed: without the map nothing is comparable, with it much is."""
    new = train(asked(), **{**SETTINGS, "dimension": 48, "seed": 5}).encoder
    own = [document(things) for things in documents()]
    texts = [text for pair in asked(300, seed=20) for text in pair]
    made = project(new, old, texts)
    assert made.dimension == 32
    test = asked(120, seed=9)
    place = {text: number for number, text in enumerate(own)}
    found = crossings(load(old), made, [q for q, _ in test], own, [place[d] for _, d in test], k=5)
    assert found["new queries, old index"] > found["old queries, old index"]


def test_least_squares_recovers_a_map() -> None:
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(60, 5)).astype(np.float32)
    map_ = generator.normal(size=(5, 3)).astype(np.float32)
    assert np.allclose(least_squares(inputs, inputs @ map_, 0.0), map_, atol=1e-4)
    shrunk = least_squares(inputs, inputs @ map_, 1.0)
    assert np.linalg.norm(shrunk) < np.linalg.norm(map_)


def test_a_transformer_is_projected_as_a_further_step(tiny: Path, old: Path, tmp_path: Path) -> None:
    texts = [text for pair in asked(60) for text in pair]
    made = project(tiny, old, texts)
    made.save(tmp_path / "made")
    again = load(tmp_path / "made")
    assert np.allclose(again.encode(texts[:4]), made.encode(texts[:4]), atol=1e-6)
    assert made.dimension == load(old).dimension


def test_a_run_resumes_exactly_and_not_with_another_old_model(old: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(old, tmp_path / "old")
    given = {**SETTINGS, "epochs": 1, "save_steps": 1, "stepping": f'compatible_with("{tmp_path / "old"}")'}
    texts = [q for q, _ in asked(5)]
    whole = train(asked(), output=tmp_path / "whole", **given).encoder.encode(texts)
    for output in ("cut", "other"):
        with interrupted_after(2):
            train(asked(), output=tmp_path / output, **given)
    assert np.array_equal(train(asked(), output=tmp_path / "cut", **given).encoder.encode(texts), whole)
    shutil.rmtree(tmp_path / "old")
    train(halves(60), output=tmp_path / "old", **{**SETTINGS, "epochs": 1})
    with pytest.raises(UserError, match="another model than the one this run began with"):
        train(asked(), output=tmp_path / "other", **given)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"dimension": 16}, "32 coordinates and the new model's 16"),
        ({"objective": "infonce, keys=queue(size=64)"}, "keys of its own"),
        ({"stepping": 'compatible_with("{old}", weight=0)'}, "weight above 0"),
    ],
)
def test_what_cannot_be_compatible_is_refused(old: Path, settings: dict[str, object], said: str) -> None:
    given = {"stepping": 'compatible_with("{old}")', "dimension": 32, **settings}
    given["stepping"] = str(given["stepping"]).replace("{old}", str(old))
    with pytest.raises(UserError, match=said):
        train(asked(40), **given, dev=False, max_steps=1)


def test_a_projection_needs_texts_and_models_of_one_vector(old: Path) -> None:
    with pytest.raises(UserError, match="at least two"):
        project(old, old, ["one", "one"])
    with pytest.raises(UserError, match="one vector"):
        project(type("Many", (), {"encode": None, "family": "multi_vector"})(), old, ["one", "two"])
