"""Going on after a model is in use: into an old model's space (``projection``), task after task (``transfer``).

Steps that hold a new model to an old one are :mod:`similis.training.stepping.compatible`; data learnt before comes
again by a recipe's ``replay``.
"""

from similis.training.continual.projection import crossings, project
from similis.training.continual.transfer import Transfer, transfer

__all__ = ["Transfer", "crossings", "project", "transfer"]
