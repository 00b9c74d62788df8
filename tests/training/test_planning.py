"""What a plan chooses by supervision and size, recipes as files, and the schedule."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from similis.errors import UserError
from similis.objective import Objective
from similis.registry import bind
from similis.training import Recipe, plan
from similis.training.running.schedule import factor


@pytest.mark.parametrize(
    ("supervision", "criterion", "sampler"),
    [
        ("pairs", "infonce", "shuffle"),
        ("triplets", "infonce", "shuffle"),
        ("labels", "infonce", "pk"),
        ("scored", "pearson", "shuffle"),
        ("labeled_pairs", "cosent", "shuffle"),
    ],
)
def test_the_supervision_chooses_an_objective_that_accepts_it(supervision: str, criterion: str, sampler: str) -> None:
    made = plan(supervision, 10_000)
    assert made.objective.startswith(criterion)
    assert supervision in Objective(made.objective).accepts
    assert str(bind("sampler", made.recipe.sampler or "")) == sampler
    assert any(made.objective in reason for reason in made.reasons)
    empty = {field.name for field in dataclasses.fields(Recipe) if getattr(made.recipe, field.name) is None}
    left = {
        "tokenizer",
        "max_seq_length",
        "mini_batch_size",
        "eval_steps",
        "save_steps",
        "negatives",
        "replay",
        "stepping",
        "teacher",
        "peft",
        "pairs",
        "initialisation",
    }
    assert empty == left


def test_what_is_given_is_kept_and_needs_no_reason() -> None:
    recipe = Recipe(base="static", objective="triplet(margin=0.1)", learning_rate=0.3, num_train_epochs=7)
    made = plan("triplets", 5000, recipe)
    assert made.recipe.objective == "triplet(margin=0.1)"
    assert (made.recipe.learning_rate, made.recipe.num_train_epochs) == (0.3, 7)
    assert not any("triplet" in reason or "learning_rate" in reason for reason in made.reasons)


def test_small_data_gets_small_batches_and_more_epochs() -> None:
    small, large = plan("pairs", 200).recipe, plan("pairs", 100_000).recipe
    assert (small.per_device_train_batch_size, large.per_device_train_batch_size) == (16, 512)
    assert (small.num_train_epochs or 0) > (large.num_train_epochs or 0) >= 1


recipes = st.builds(
    Recipe,
    base=st.none() | st.text(max_size=20),
    objective=st.none() | st.text(max_size=40),
    num_train_epochs=st.none() | st.floats(0.01, 100),
    learning_rate=st.none() | st.floats(1e-9, 10),
    warmup_steps=st.floats(0, 1000),
    per_device_train_batch_size=st.none() | st.integers(2, 10**6),
    lr_scheduler_type=st.sampled_from(["linear", "cosine", "constant"]),
    bf16=st.booleans(),
    seed=st.integers(0, 2**31),
)


@settings(deadline=None)
@given(recipes)
def test_a_recipe_read_back_is_the_same(tmp_path_factory: pytest.TempPathFactory, recipe: Recipe) -> None:
    path = tmp_path_factory.getbasetemp() / "recipe.toml"
    recipe.write(path)
    assert Recipe.read(path) == recipe


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "learning_rat = 0.1",
            r"recipe\.toml:2: there is no training setting 'learning_rat'; did you mean 'learning_rate'",
        ),
        ("learning_rate = 'fast'", r"recipe\.toml:2: learning_rate must be a number, not 'fast'"),
        ("lr_scheduler_type = 'linaer'", "did you mean 'linear'"),
        ("max_steps = true", "max_steps must be a whole number"),
        ("num_train_epochs = -1", "num_train_epochs must be above 0"),
        ("per_device_train_batch_size = 1", "must be at least 2"),
        ("dev_share = 0.9", "between 0 and 0.5"),
        ("bf16 = true\nfp16 = true", "exclude each other"),
        ("seed = ", r"recipe\.toml is not valid TOML"),
    ],
)
def test_a_wrong_recipe_names_file_line_and_remedy(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(f"# my recipe\n{line}\n")
    with pytest.raises(UserError, match=message):
        Recipe.read(path)
    with pytest.raises(UserError, match="cannot be read as a recipe"):
        Recipe.read(tmp_path / "absent.toml")


def test_short_names_and_none_are_understood() -> None:
    made = Recipe(seed=3).with_settings({"epochs": 2, "batch_size": 16, "lr": 0.5, "max_steps": None})
    assert (made.num_train_epochs, made.per_device_train_batch_size, made.learning_rate) == (2, 16, 0.5)
    assert (made.seed, made.max_steps) == (3, -1)


@pytest.mark.parametrize("warmup", [0, 5, 0.1])
def test_the_linear_schedule_is_that_of_transformers(warmup: float) -> None:
    from transformers import get_linear_schedule_with_warmup

    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    steps = int(warmup * 50 if warmup < 1 else warmup)
    theirs = get_linear_schedule_with_warmup(optimizer, steps, 50)
    for step in range(50):
        ours = factor("linear", step, 50, warmup)
        # we start the warm-up one step in: theirs spends its first step at a rate of zero
        expected = (step + 1) / (steps + 1) if step < steps else theirs.get_last_lr()[0]
        assert ours == pytest.approx(expected)
        optimizer.step()
        theirs.step()


def test_cosine_falls_from_one_to_zero_by_way_of_a_half() -> None:
    assert factor("cosine", 0, 100, 0) == 1
    assert factor("cosine", 50, 100, 0) == pytest.approx(0.5)
    assert factor("cosine", 100, 100, 0) == pytest.approx(0)
    assert factor("constant", 99, 100, 0.1) == 1


def test_a_transformer_reads_classes_in_smaller_batches_at_a_higher_rate_than_pairs() -> None:
    def chosen(supervision: str, **given: object) -> tuple[int | None, float | None]:
        recipe = plan(supervision, 10_000, Recipe(base="m").with_settings(given), static=False).recipe
        return recipe.per_device_train_batch_size, recipe.learning_rate

    assert chosen("pairs") == (64, 5e-5)
    assert chosen("labels") == (32, 1e-4)
    assert chosen("labels", peft="lora") == (32, pytest.approx(1e-3))
