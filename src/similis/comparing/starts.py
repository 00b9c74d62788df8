"""Encoders to start from: a new static one is made once and shared by all candidates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from similis.comparing.candidates import Candidate
from similis.comparing.material import Material
from similis.comparing.running import digest, searched_by, slug
from similis.encoders.creating import create
from similis.encoders.static.encoder import StaticEncoder
from similis.errors import UserError
from similis.progress import note
from similis.training.planning import Plan, plan
from similis.training.recipe import Recipe
from similis.training.rows.columns import examples_of
from similis.training.rows.examples import TextTable
from similis.training.trainees.static import new_static


def plan_of(material: Material, settings: dict[str, Any], base: str) -> Plan:
    """What ``fit`` would plan for these data."""
    recipe = Recipe().with_settings({**settings, "base": base})
    documents = 0 if material.corpus is None else len(material.corpus[1])
    return plan(
        material.supervision, len(material.train), recipe, static=base.startswith("static"), documents=documents
    )


def rates_of(
    material: Material, settings: dict[str, Any], bases: Iterable[str], given: Sequence[float] | None
) -> dict[str, list[float]]:
    """Learning rates to try with each base.

    Raises:
        UserError: one that is not above 0.
    """
    wrong = [rate for rate in given or () if not rate > 0]
    if wrong:
        raise UserError(f"a learning rate must be above 0, not {wrong[0]}")
    found = {}
    for base in bases:
        usual = plan_of(material, settings, base).recipe.learning_rate
        assert usual is not None
        usual_and_slower = [usual] if "learning_rate" in settings else [usual, 0.3 * usual]
        found[base] = [float(f"{rate:.3g}") for rate in given or usual_and_slower]
    return found


def starts(
    material: Material, tried: Iterable[Candidate], settings: dict[str, Any], seed: int, folder: Path
) -> tuple[dict[str, dict[str, str]], dict[str, dict[str, Any]]]:
    """New static encoders, saved below ``folder``: base → similarity → folder, and what a recipe must say of each.

    Two similarities share weights and differ in whether vectors end at length 1. A base that is a model already is
    loaded by every run, and is not among them.
    """
    needed: dict[str, set[str]] = {}
    for candidate in tried:
        if candidate.base == "static" or candidate.base.startswith("static:"):
            needed.setdefault(candidate.base, {"cosine"}).add(searched_by(candidate.objective))
    made: dict[str, dict[str, str]] = {}
    recipes: dict[str, dict[str, Any]] = {}
    for base, similarities in needed.items():
        recipe = plan_of(material, settings, base).recipe
        recipes[base] = {"dimension": recipe.dimension, "vocabulary": recipe.vocabulary}
        key = digest(repr([material.fingerprint, base, sorted(settings.items()), seed]))[:12]
        folders = {name: folder / f"{slug(base)}-{key}-{name}" for name in sorted(similarities)}
        made[base] = {name: str(path) for name, path in folders.items()}
        if all(path.is_dir() for path in folders.values()):
            continue
        note(f"making the start that all candidates share ({base})")
        encoder = _new(material, base, replace(recipe, seed=seed))
        for name, path in folders.items():
            StaticEncoder(encoder.tokenizer, encoder.weights, similarity_name=name).save(path)
    return made, recipes


def _new(material: Material, base: str, recipe: Recipe) -> StaticEncoder:
    table = TextTable()
    examples = examples_of(material.train, table)
    documents = table.add(text for text in (material.corpus or ([], []))[1] if text.strip())
    known = np.union1d(examples.text_codes(), documents)
    if base == "static":
        return new_static(table.texts, known, recipe, "cosine").encoder()
    made = create(
        base, dimension=recipe.dimension or 256, corpus_texts=(table.texts[c] for c in known), seed=recipe.seed
    )
    assert isinstance(made, StaticEncoder)
    return made
