"""Training: from examples to a trained encoder. May import the nouns, the learn layer, sampling and data.

``fitting`` is the whole way to a ``fitted`` encoder, ``arrays`` that of rows of numbers: ``planning`` chooses what a
``recipe`` leaves open, ``sets`` makes the parts of a run and its dev set of data; what is learnt from is in ``rows``,
what is trained in ``trainees``, the loop in ``running``. ``negatives`` searches for hard ones, ``teachers`` say what
pairs are worth, ``pretraining`` prepares a transformer on texts alone, ``continual`` goes on after a model is in use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from similis.training.continual.projection import crossings, project
    from similis.training.continual.transfer import transfer
    from similis.training.fitted import Fitted
    from similis.training.fitting import fit, train
    from similis.training.planning import Plan, plan
    from similis.training.pretraining import pretrain
    from similis.training.rates import Rates, range_test
    from similis.training.recipe import Recipe
    from similis.training.running.watch import Interrupted
    from similis.training.teachers.adversarial import adversarial
    from similis.training.teachers.teaching import Teachers
    from similis.training.teachers.trans_encoder import mutual

_HOMES = {
    "Fitted": "fitted",
    "Interrupted": "running.watch",
    "Plan": "planning",
    "Rates": "rates",
    "Recipe": "recipe",
    "Teachers": "teachers.teaching",
    "adversarial": "teachers.adversarial",
    "crossings": "continual.projection",
    "fit": "fitting",
    "mutual": "teachers.trans_encoder",
    "plan": "planning",
    "pretrain": "pretraining",
    "project": "continual.projection",
    "range_test": "rates",
    "train": "fitting",
    "transfer": "continual.transfer",
}

__all__ = [
    "Fitted",
    "Interrupted",
    "Plan",
    "Rates",
    "Recipe",
    "Teachers",
    "adversarial",
    "crossings",
    "fit",
    "mutual",
    "plan",
    "pretrain",
    "project",
    "range_test",
    "train",
    "transfer",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: torch is heavy."""
    if name in _HOMES:
        value = getattr(importlib.import_module(f"similis.training.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'similis.training' has no attribute {name!r}")
