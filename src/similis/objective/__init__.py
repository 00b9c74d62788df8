"""Objective: similarity + keys + miner + criterion + regularizers, in three executions of one definition.

May import the nouns, keys, mining and regularizers. ``objective`` has the class, ``tiles`` the tiled execution,
``cached`` the gradient cache.
"""

from similis.objective.cached import cached
from similis.objective.objective import Objective

__all__ = ["Objective", "cached"]
