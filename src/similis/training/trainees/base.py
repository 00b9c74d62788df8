"""The protocol between the loop and what it trains: texts by code in, embeddings with a graph out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor, nn
from torch.optim import Optimizer

from similis.encoders.base import Encoder
from similis.training.recipe import Recipe
from similis.training.rows.examples import Integers


class Trainee(Protocol):
    """An encoder in training; texts are codes of the run's :class:`~similis.training.rows.examples.TextTable`.

    Attributes:
        module: its parameters are trained and saved in checkpoints.
        lengths: tokens of each text of the table ``[T]``, or None where they are not known beforehand.
        block: texts embedded at once when no graph is kept.
        dev_keys: documents that dev queries are searched among, as many as its speed allows.
        shards: whether each process embeds its own part of a batch.
    """

    lengths: Integers | None
    block: int
    dev_keys: int
    shards: bool

    @property
    def module(self) -> nn.Module: ...

    @property
    def dimension(self) -> int: ...

    def embed(self, texts: Sequence[tuple[Integers, bool]]) -> list[Tensor]:
        """Embeddings ``[n_i, d]`` of each (codes ``[n_i]``, whether they are queries)."""
        ...

    def optimizers(self, recipe: Recipe) -> list[Optimizer]:
        """The optimisers of the module's parameters, at the recipe's highest learning rate."""
        ...

    def encoder(self) -> Encoder:
        """The encoder with the module's present weights."""
        ...
