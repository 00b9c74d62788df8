"""Pre-training of transformers on texts alone, before ``fit``.

``base`` says what a task is; ``bottleneck`` has those of a decoder that writes or guesses a text, ``replaced`` and
``difference`` those of words that a generator (``generating``) replaced; ``running`` trains by one of them.

Imports the encoders, objectives, readers of a corpus and the parts of training; nothing imports it but users.
"""

from similis.training.pretraining.base import Bottleneck, Companion, task
from similis.training.pretraining.bottleneck import DupMae, RetroMae, Tsdae
from similis.training.pretraining.difference import DiffCse
from similis.training.pretraining.replaced import SimLm
from similis.training.pretraining.running import pretrain, pretrained
from similis.training.pretraining.story import Pretrained, Settings

__all__ = [
    "Bottleneck",
    "Companion",
    "DiffCse",
    "DupMae",
    "Pretrained",
    "RetroMae",
    "Settings",
    "SimLm",
    "Tsdae",
    "pretrain",
    "pretrained",
    "task",
]
