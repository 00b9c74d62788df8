"""Miners with a schedule: easy negatives first, hard ones as training goes on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from similis.criteria import ops
from similis.mining.picking import top
from similis.registry import Source, register
from similis.relation import Rows


@register(
    "miner",
    "curriculum",
    source=Source("Curriculum Learning", "Bengio, Louradour, Collobert and Weston", 2009),
    family="schedule",
)
class Curriculum(nn.Module):
    """Of each row's negatives only the easier share takes part, and the share grows with training.

    The share runs linearly from ``start`` to ``end`` with the progress that the training loop reports by
    :meth:`set_progress`; the hardest negatives beyond it are left out. With ``k``, the k hardest within it stay.

    Args:
        start: share of negatives at the beginning, 0..1.
        end: share at the end.
        k: negatives kept within the share; None keeps all.
    """

    progress: Tensor

    def __init__(self, start: float = 0.5, end: float = 1.0, k: int | None = None) -> None:
        super().__init__()
        self.start, self.end, self.k = start, end, k
        self.register_buffer("progress", torch.zeros(()))

    def set_progress(self, fraction: float) -> None:
        """Training is this far, 0..1."""
        self.progress.fill_(min(max(fraction, 0.0), 1.0))

    def forward(self, scores: Tensor, relation: Rows) -> Rows:
        """Scores ``[..., m]`` and rows → rows with the negatives beyond the share left out."""
        share = self.start + (self.end - self.start) * float(self.progress)
        negatives = relation.negative
        beyond = ((1 - share) * negatives.sum(-1, keepdim=True)).round().long()
        order = ops.keep(scores, negatives).sort(-1, descending=True).indices
        place = torch.arange(scores.shape[-1], device=scores.device).expand_as(order)
        easier = torch.zeros_like(negatives).scatter(-1, order, place >= beyond) & negatives
        return relation.where(relation.positive | (easier if self.k is None else top(scores, easier, self.k)))
