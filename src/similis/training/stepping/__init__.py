"""What changes how a step is taken: its gradients, its loss, the weights it leaves.

``base`` has the protocol and reads a recipe's ``stepping``; each of the others registers its ways. Imports ``rows``,
``trainees`` and, of ``running``, how parts are mixed and dev is embedded; ``running.steps`` asks it at one place.
"""

from similis.training.stepping import (
    averages,
    compatible,
    consistency,
    copies,
    easy_first,
    fisher,
    gem,
    groups,
    half,
    layers,
    mixout,
    sharpness,
    smoothness,
    trust_region,
)
from similis.training.stepping.base import Stepping, stepping

__all__ = [
    "Stepping",
    "averages",
    "compatible",
    "consistency",
    "copies",
    "easy_first",
    "fisher",
    "gem",
    "groups",
    "half",
    "layers",
    "mixout",
    "sharpness",
    "smoothness",
    "stepping",
    "trust_region",
]
