"""Recipe: every setting of a training run under the names of Hugging Face's ``TrainingArguments``, as TOML."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from similis.errors import UserError, did_you_mean
from similis.files import writing

SCHEDULES = ("linear", "cosine", "constant", "one_cycle")

#: Shorter names that ``similis.fit`` also takes.
SHORT = {"epochs": "num_train_epochs", "batch_size": "per_device_train_batch_size", "lr": "learning_rate"}


@dataclass(frozen=True)
class Recipe:
    """Settings of a run; None (or an absent line) leaves the choice to the plan.

    Attributes:
        base: ``static``, a model folder, a name on the hub, or a new model as ``sparse:PATH``, ``multi_vector:PATH`` or
            ``cross:PATH`` (see :func:`similis.encoders.create`).
        objective: text of an :class:`~similis.objective.Objective`.
        sampler: text of a registered sampler.
        dimension: of a new static model.
        vocabulary: most tokens of a new static model's vocabulary.
        tokenizer: a model folder or ``tokenizer.json`` whose tokenizer a new static model takes; None: its own.
        initialisation: of a new static model's vectors, ``lsa``, ``skip_gram`` or ``random``; None: by the size of the
            corpus (see :mod:`similis.encoders.static.init`).
        max_seq_length: tokens read of each text; None: what the model reads.
        num_train_epochs: passes over the data; 1.5 is one and a half.
        max_steps: optimiser steps that end the run; -1: as the epochs say.
        per_device_train_batch_size: rows of a batch.
        gradient_accumulation_steps: batches of one optimiser step.
        mini_batch_size: rows encoded at once with a graph (gradient cache); None: the whole batch.
        learning_rate: the highest of the schedule.
        objective_learning_rate: of the objective's own parameters (proxies, temperatures).
        lr_scheduler_type: ``linear`` or ``cosine`` decay to 0, ``constant``, or ``one_cycle`` (see
            :mod:`similis.training.running.schedule`).
        warmup_steps: steps of linear warm-up; below 1, the share of the run.
        weight_decay: decoupled, of transformers' weights.
        max_grad_norm: gradients of a greater norm are scaled down to it; 0 switches it off.
        eval_steps: optimiser steps between evaluations on dev; None: at the end of epochs, ten times at most.
        save_steps: optimiser steps between checkpoints; None: every half minute and every epoch.
        early_stopping_patience: evaluations without a better dev metric that end the run; 0: never.
        peft: text of a way to train few of a transformer's parameters, such as ``lora(rank=8)`` (see
            :mod:`similis.training.trainees.peft`); None: all of them.
        stepping: text of what changes how a step is taken, such as ``sam(rho=0.05)``, or a list of such texts, the
            first outermost (see :mod:`similis.training.stepping`); None: nothing.
        interpolate: at the end, try weights between the base's and the trained ones on dev and keep the best (see
            :mod:`similis.training.running.averaging`); None: where a trained model is the base.
        passages: documents of the corpus of which each step also learns a passage (see
            :mod:`similis.training.rows.passages`); 0: none; None: as many as rows of a batch, where a static model
            learns from pairs or triplets, a corpus is given and no objective is.
        pairs: text of what pairs are made of texts that have no supervision, such as ``spans(count=2)`` (see
            :mod:`similis.training.rows.unlabeled`); None: by what the texts are like.
        mixing: where several data sets are learnt at once, the exponent of their shares of the batches: 1 in proportion
            to their sizes, 0 equal shares.
        replay: path of data that was learnt before and is to be kept: some batches of every epoch are of it.
        replay_share: share of the batches that are of ``replay``.
        negatives: text of a source of hard negatives, such as ``hard(count=1)`` (see
            :mod:`similis.training.negatives`), for pairs and triplets; None: those of the batch and the data.
        batch_negatives: of each list of keys that a cross-encoder learns from, how many are other rows' of the batch.
        teacher: models whose scores are learnt, folders or names joined by `` + `` (see
            :mod:`similis.training.teachers.teaching`); None: the data's own supervision.
        dev_share: share of the data held out where no dev data is given; 0: none.
        bf16: bfloat16 mixed precision.
        fp16: float16 mixed precision (needs an accelerator).
        seed: of everything random.
    """

    base: str | None = None
    objective: str | None = None
    sampler: str | None = None
    dimension: int | None = None
    vocabulary: int | None = None
    tokenizer: str | None = None
    initialisation: str | None = None
    max_seq_length: int | None = None
    num_train_epochs: float | None = None
    max_steps: int = -1
    per_device_train_batch_size: int | None = None
    gradient_accumulation_steps: int = 1
    mini_batch_size: int | None = None
    learning_rate: float | None = None
    objective_learning_rate: float = 0.01
    lr_scheduler_type: str = "linear"
    warmup_steps: float = 0.1
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    eval_steps: int | None = None
    save_steps: int | None = None
    early_stopping_patience: int = 3
    peft: str | None = None
    stepping: str | None = None
    interpolate: bool | None = None
    passages: int | None = None
    pairs: str | None = None
    mixing: float = 1.0
    replay: str | None = None
    replay_share: float = 0.2
    negatives: str | None = None
    batch_negatives: int = 3
    teacher: str | None = None
    dev_share: float = 0.05
    bf16: bool = False
    fp16: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check_type(field.name, getattr(self, field.name), str(field.type))
        if self.lr_scheduler_type not in SCHEDULES:
            raise UserError(
                f"lr_scheduler_type must be one of {', '.join(SCHEDULES)}, not {self.lr_scheduler_type!r}"
                f"{did_you_mean(self.lr_scheduler_type, SCHEDULES)}"
            )
        for name in ("num_train_epochs", "learning_rate", "eval_steps", "save_steps", "mini_batch_size", "dimension"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UserError(f"{name} must be above 0, not {value}")
        if self.gradient_accumulation_steps < 1 or (self.per_device_train_batch_size or 2) < 2:
            raise UserError("per_device_train_batch_size must be at least 2 and gradient_accumulation_steps at least 1")
        if self.passages is not None and self.passages < 0:
            raise UserError(f"passages must be at least 0, not {self.passages}")
        if self.batch_negatives < 0:
            raise UserError(f"batch_negatives must be at least 0, not {self.batch_negatives}")
        if not 0.0 <= self.mixing <= 1.0:
            raise UserError(f"mixing must lie between 0 and 1, not {self.mixing}")
        if not 0.0 < self.replay_share < 1.0:
            raise UserError(f"replay_share must lie between 0 and 1, not {self.replay_share}")
        if not 0.0 <= self.dev_share <= 0.5:
            raise UserError(f"dev_share must lie between 0 and 0.5, not {self.dev_share}")
        if self.bf16 and self.fp16:
            raise UserError("bf16 and fp16 exclude each other; set one of them")

    def with_settings(self, settings: Mapping[str, Any]) -> Recipe:
        """The recipe with some settings replaced; None leaves a setting as it is.

        Raises:
            UserError: an unknown setting (with suggestions), or a value of the wrong type or out of range.
        """
        given = {SHORT.get(name, name): value for name, value in settings.items() if value is not None}
        names = [field.name for field in dataclasses.fields(self)]
        for name in given:
            if name not in names:
                raise UserError(f"there is no training setting {name!r}{did_you_mean(name, [*names, *SHORT])}")
        if isinstance(given.get("stepping"), list | tuple):
            given["stepping"] = f"[{', '.join(map(str, given['stepping']))}]"
        return replace(self, **given)

    def as_dict(self) -> dict[str, Any]:
        """The settings that are not None."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}

    def as_toml(self) -> str:
        """One ``name = value`` a line; :meth:`read` gives the same recipe back."""
        return "".join(f"{name} = {_toml(value)}\n" for name, value in self.as_dict().items())

    def write(self, path: str | Path) -> None:
        """Write a TOML file, whole or not at all."""
        with writing(Path(path)) as aside:
            aside.write_text(self.as_toml(), encoding="utf-8")

    @classmethod
    def read(cls, path: str | Path) -> Recipe:
        """Read a TOML recipe.

        Raises:
            UserError: the file is missing or not TOML, or a setting is unknown or wrong.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path} cannot be read as a recipe ({error})") from None
        try:
            settings = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise UserError(f"{path} is not valid TOML: {error}") from None
        try:
            return cls().with_settings(settings)
        except UserError as error:
            raise UserError(f"{path}{_line_of(text, error)}: {error}") from None


def _toml(value: str | int | float | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return repr(value)
    # TOML's strings are JSON's, but for one character
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _line_of(text: str, error: UserError) -> str:
    """``:line`` of the setting an error names."""
    for number, line in enumerate(text.splitlines(), 1):
        name = line.partition("=")[0].strip()
        if name and name in str(error):
            return f":{number}"
    return ""


def _check_type(name: str, value: Any, declared: str) -> None:
    if value is None and "None" in declared:
        return
    kind = declared.partition(" ")[0]
    allowed: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (int, float), "bool": (bool,)}
    right = isinstance(value, allowed[kind]) and (kind == "bool" or not isinstance(value, bool))
    if not right:
        raise UserError(f"{name} must be {_KINDS[kind]}, not {value!r}")


_KINDS = {"str": "a text", "int": "a whole number", "float": "a number", "bool": "true or false"}
