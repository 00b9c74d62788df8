"""Steps that ask the model to say the same again: after other dropout, of nearby texts, or as it did before."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from similis.errors import UserError
from similis.registry import Source, register
from similis.similarity import Similarity
from similis.training.stepping.averages import Average
from similis.training.stepping.base import Embedded, Run, Stepping, swapped


@register(
    "stepping",
    "r_drop",
    source=Source(
        "R-Drop: Regularized Dropout for Neural Networks", "Liang, Wu, Li, Wang, Meng, Qin, Chen, Zhang and Liu", 2021
    ),
    family="consistency",
)
class RDrop(Stepping):
    """Every batch is embedded twice, and both draws of dropout are to give the same scores.

    The loss is the mean of both draws' losses plus ``weight`` times their symmetric difference (see
    :func:`difference`); where each row has one score (scored and labelled pairs), the squared difference takes the
    place of the divergence, as in the paper's regression task. Checked against the authors' code for the divergence,
    half the sum of both directions.

    Args:
        weight: of the difference, the paper's alpha.
        scale: scores are multiplied by it before the softmax; 20 is a temperature of 0.05.
    """

    def __init__(self, weight: float = 1.0, scale: float = 20.0) -> None:
        self.weight, self.scale = weight, scale

    def begin(self, run: Run) -> None:
        self.run = run
        if not any(isinstance(m, nn.Dropout) and m.p > 0 for m in run.trainee.module.modules()):
            raise UserError("r_drop compares two draws of dropout, and this model has no dropout: leave it out")

    def loss(self, embedded: Embedded, loss: Tensor) -> Tensor:
        queries, keys = self.run.embedded(embedded.batch)
        with self.run.memories_kept():
            again: Tensor = embedded.objective(queries, keys, embedded.relation)
        similarity = embedded.objective.similarity
        one = scores_of(similarity, embedded, embedded.queries, embedded.keys)
        two = scores_of(similarity, embedded, queries, keys)
        return (loss + again) / 2 + self.weight * difference(one, two, self.scale)


@register(
    "stepping",
    "proximal",
    source=Source(
        "SMART: Robust and Efficient Fine-Tuning for Pre-trained Natural Language Models through Principled "
        "Regularized Optimization",
        "Jiang, He, Chen, Liu, Gao and Zhao",
        2020,
    ),
    family="consistency",
)
class Proximal(Stepping):
    """Scores are held near those of an average of past weights: SMART's Bregman proximal steps with momentum.

    ``weight`` times the symmetric difference (see :func:`difference`) to what the average's model says of the same
    batch is added to the loss. The paper's β is ``decay``, its μ is ``weight``.

    Args:
        weight: of the difference.
        decay: share of the average that stays at each step.
        scale: as of ``r_drop``.
    """

    def __init__(self, weight: float = 1.0, decay: float = 0.99, scale: float = 20.0) -> None:
        if not 0 <= decay < 1:
            raise UserError(f"decay of proximal lies in 0..1 and below 1, not {decay}")
        self.weight, self.decay, self.scale = weight, decay, scale

    def begin(self, run: Run) -> None:
        self.run = run
        self.parameters = {n: p for n, p in run.named_parameters().items() if n.startswith("model/")}
        self.average = Average(self.parameters, self.decay)

    def loss(self, embedded: Embedded, loss: Tensor) -> Tensor:
        similarity = embedded.objective.similarity
        module = self.run.trainee.module
        module.eval()
        with torch.no_grad(), swapped(self.parameters, self.average.values):
            queries, keys = self.run.embedded(embedded.batch)
            before = scores_of(similarity, embedded, queries, keys)
        module.train()
        now = scores_of(similarity, embedded, embedded.queries, embedded.keys)
        return loss + self.weight * difference(before, now, self.scale)

    def stepped(self) -> None:
        self.average.step()

    def state(self) -> dict[str, Tensor]:
        return self.average.state()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.average.restore(state)


def scores_of(similarity: Similarity, embedded: Embedded, queries: Tensor, keys: Tensor | None) -> Tensor:
    """``[n]`` scores where each row has one, ``[n, L]`` of lists, else ``[n, m]``; an item's own score is left out."""
    queries = queries.float()
    if keys is None:
        scores = similarity(queries, queries)
        own = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
        others: Tensor = scores[~own].view(len(scores), -1)
        return others
    keys = keys.float()
    if embedded.relation.layout == "list":
        return similarity.paired(queries, keys)
    if embedded.relation.layout == "lists":
        return similarity.lists(queries, keys)
    together: Tensor = similarity(queries, keys)
    return together


def difference(one: Tensor, two: Tensor, scale: float) -> Tensor:
    """How differently two models score the same batch.

    Of ``[n, m]``, half the sum of the Kullback-Leibler divergences between the rows' softmaxes of ``scale`` times the
    scores, in both directions; of ``[n]``, the squared difference. Means over rows.
    """
    if one.dim() == 1:
        return (one - two).square().mean()
    first, second = (scale * one).log_softmax(-1), (scale * two).log_softmax(-1)
    return ((first.exp() - second.exp()) * (first - second)).sum(-1).mean() / 2


def divergence(one: Tensor, two: Tensor, scale: float) -> Tensor:
    """How far the second model's scores are from the first's: as :func:`difference`, in that direction alone."""
    if one.dim() == 1:
        return difference(one, two, scale)
    first, second = (scale * one).log_softmax(-1), (scale * two).log_softmax(-1)
    return (first.exp() * (first - second)).sum(-1).mean()
