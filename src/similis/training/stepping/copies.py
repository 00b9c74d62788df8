"""Steps of two models at once: queries and keys are embedded by encoders of their own."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from similis.errors import UserError
from similis.registry import Source, register
from similis.training.rows.examples import Batch
from similis.training.stepping.base import Run, Sides, Stepping
from similis.training.trainees.base import Trainee

#: The copy's name among the modules of a run.
SECOND = "second"


@register(
    "stepping",
    "two_encoders",
    source=Source(
        "Semantic Re-Tuning with Contrastive Tension", "Carlsson, Gyllensten, Gogoulou, Hellqvist and Sahlgren", 2021
    ),
    accepts=("pairs", "triplets", "labeled_pairs", "scored"),
    family="copies",
)
class TwoEncoders(Stepping):
    """Queries are embedded by a copy of the model, keys by the model: both learn, and the model is kept.

    The copy begins with the model's weights and has an optimiser of its own, so that the two drift apart. With the
    objective ``contrastive_tension`` over labelled pairs (a text with itself is 1, with another 0; the paper has seven
    of these to one of those) it is the paper's; with ``clip`` over texts paired with themselves (``pairs=same``) the
    negatives are the batch's. Checked against sentence-transformers' ContrastiveTensionLoss and its in-batch form in
    loss and gradients; there too the model kept is that of the second texts. Judged and searched is the model alone,
    on both sides.
    """

    def begin(self, run: Run) -> None:
        if getattr(run.trainee, "reads_pairs", False):
            raise UserError("two_encoders embeds each side by a model, and a cross-encoder reads pairs: leave it out")
        self.run = run
        self.second = twin(run.trainee)
        run.modules[SECOND] = self.second.module
        run.optimizers += self.second.optimizers(run.recipe)

    def embed(self, batch: Batch, embed: Callable[[Batch], Sides]) -> Sides:
        if batch.keys is None or batch.vectors is not None:
            raise UserError("two_encoders needs keys to embed beside the queries, as pairs have: leave it out here")
        with self._second_embeds():
            queries, _ = embed(replace(batch, keys=None))
        # the model embeds no more queries than there must be; lists of keys have one each
        rest = batch.queries[: _processes()] if batch.keys.ndim == 1 else batch.queries
        _, keys = embed(replace(batch, queries=rest))
        return queries, keys

    @contextmanager
    def _second_embeds(self) -> Iterator[None]:
        first = self.run.trainee
        self.second.module.train(first.module.training)
        self.run.trainee = self.second
        try:
            yield
        finally:
            self.run.trainee = first


def twin(trainee: Trainee) -> Trainee:
    """The same with weights of its own; texts and rows are shared."""
    other, memo = copy.copy(trainee), dict[int, Any]()
    for name, value in vars(trainee).items():
        if isinstance(value, nn.Module) or hasattr(value, "module"):
            setattr(other, name, copy.deepcopy(value, memo))
    return other


def _processes() -> int:
    here = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if here else 1
