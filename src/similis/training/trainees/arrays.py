"""A module over arrays in training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from torch import Tensor, nn
from torch.optim import Optimizer

from similis.encoders.arrays.encoder import ArrayEncoder
from similis.encoders.base import Encoder
from similis.training.recipe import Recipe
from similis.training.rows.arrays import ArrayTable
from similis.training.rows.examples import Integers
from similis.training.trainees.transformer import adamw


class ArrayTrainee:
    """Implements :class:`~similis.training.trainees.base.Trainee`; codes are numbers of rows.

    Args:
        encoder: its module is trained in place.
        table: the rows.
    """

    block = 1024
    dev_keys = 10_000
    shards = True
    lengths: Integers | None = None

    def __init__(self, encoder: ArrayEncoder, table: ArrayTable) -> None:
        self._encoder, self._table = encoder, table

    @property
    def module(self) -> nn.Module:
        return self._encoder.module

    @property
    def dimension(self) -> int:
        return self._encoder.dimension

    def embed(self, texts: Sequence[tuple[Integers, bool]]) -> list[Tensor]:
        # in one pass, so that what depends on the batch (its norms) sees all of it
        codes = np.concatenate([codes for codes, _ in texts])
        return list(self._encoder.forward(self._table.rows(codes)).split([len(codes) for codes, _ in texts]))

    def optimizers(self, recipe: Recipe) -> list[Optimizer]:
        return adamw(self.module, recipe)

    def encoder(self) -> Encoder:
        self.module.eval()
        return cast(Encoder, self._encoder)


def reads_batches(module: nn.Module) -> bool:
    """Whether a row's vector in training depends on the other rows of its batch."""
    return any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules())
