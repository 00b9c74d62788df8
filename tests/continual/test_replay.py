"""Data learnt before comes again at a fixed share, and what it taught is kept."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from continual_rows import THINGS, asked, document, documents, halves, query

from similis.errors import UserError
from similis.objective import Objective
from similis.sampling import Items
from similis.training import crossings, train
from similis.training.recipe import Recipe
from similis.training.running.mixing import Part, mixed
from similis.training.sets import sources_of

SETTINGS = {"dev": False, "batch_size": 16, "interpolate": False, "lr": 0.1}


def write(path: Path, rows: list[tuple[str, str]]) -> Path:
    path.write_text("".join(json.dumps({"anchor": a, "positive": b}) + "\n" for a, b in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_a_fixed_share_of_the_batches_is_of_the_earlier_data(share: float) -> None:
    loss = Objective("infonce")
    new = Part("", None, loss, "shuffle", Items(320))
    before = Part("replay", None, loss, "shuffle", Items(5000), share)
    seen = np.zeros(5000, int)
    for epoch in range(40):
        batches = mixed([new, before], 8, exponent=1.0, seed=0, epoch=epoch)
        own = [drawn.rows for drawn in batches if drawn.part is before]
        assert len(own) / len(batches) == pytest.approx(share, abs=0.02)
        rest = np.concatenate([drawn.rows for drawn in batches if drawn.part is new])
        assert sorted(rest.tolist()) == list(range(320))  # each new row once, whatever is replayed
        np.add.at(seen, np.concatenate(own), 1)
    assert seen.max() - seen.min() <= 1  # in turns, not the same rows again


def test_what_was_learnt_before_is_kept(tmp_path: Path) -> None:
    """Later data use every alias for another thing; what it meant before is forgotten, but where it comes again."""
    own = [document(things) for things in documents()]
    place = {text: number for number, text in enumerate(own)}
    first = write(tmp_path / "first.jsonl", asked())
    old = train(first, output=tmp_path / "old", dimension=32, epochs=8, **SETTINGS).encoder
    generator = random.Random(4)
    meant = [[generator.randrange(THINGS) for _ in range(6)] for _ in range(360)]
    later = [(query(things, generator), document([(t + 7) % THINGS for t in things])) for things in meant]
    test = asked(100, seed=9)

    def kept(**further: object) -> float:
        new = train(later, base=tmp_path / "old", epochs=3, **SETTINGS, **further).encoder
        found = crossings(old, new, [q for q, _ in test], own, [place[d] for _, d in test])
        return found["new queries, new index"]

    assert kept(replay=str(first), replay_share=0.5) > kept() + 0.1


def test_the_objective_is_that_of_the_new_data_where_both_say_the_same(tmp_path: Path) -> None:
    before = write(tmp_path / "before.jsonl", halves(40))
    fitted = train(asked(40), replay=str(before), objective="triplet(margin=0.1)", max_steps=2, dimension=8, dev=False)
    assert fitted.plan.recipe.replay == str(before)
    assert list(fitted.as_dict()["data"]["sets"]) == ["", "replay"]


def test_mistakes_are_one_sentence(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.jsonl", halves(4))
    with pytest.raises(UserError, match="replay_share"):
        Recipe(replay_share=1.0)
    with pytest.raises(UserError, match="another name"):
        sources_of({"replay": file}, max_bad=0.0, replay=str(file))
    with pytest.raises(UserError, match="none"):
        train(asked(8), replay=str(tmp_path / "none.jsonl"), dev=False)
