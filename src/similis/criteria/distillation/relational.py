"""Relational distillation: the geometry of a batch, its distances and angles, from a teacher of any dimension."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from similis.criteria import ops
from similis.criteria.ranking.ops import PAIRS_AT_ONCE
from similis.registry import Source, register
from similis.relation import Rows

_RKD = Source("Relational Knowledge Distillation", "Park, Kim, Lu and Cho", 2019)


def _scaled(distance: Tensor, left_out: Tensor | None) -> Tensor:
    """Distances over the mean of those above zero."""
    kept = distance if left_out is None else distance.masked_fill(left_out, 0.0)
    mean = kept.sum() / kept.detach().count_nonzero().clamp_min(1)
    return distance / torch.where(mean > 0, mean, torch.ones_like(mean))


@register(
    "criterion",
    "rkd_distance",
    source=_RKD,
    accepts=("teacher",),
    family="distillation",
    similarity="euclidean",
    whole=True,
)
def rkd_distance(scores: Tensor, relation: Rows) -> Tensor:
    """Smooth L1 difference of the student's and the teacher's distances, each over its batch mean.

    The keys are the queries; the teacher's score of a pair is minus its distance (any dimension). Checked against the
    authors' RkdDistance, which counts the zero diagonal in its mean; ours does where it is known.

    Args:
        scores: ``[n, n]``, minus distances.
        relation: rows of the same shape; grades are minus the teacher's distances.

    Returns:
        ``[n]``.
    """
    student = _scaled((-scores).clamp_min(0), relation.left_out)
    teacher = _scaled((-relation.grade.to(scores.dtype)).clamp_min(0), relation.left_out)
    apart = smooth_l1_loss(student, teacher, reduction="none")
    return apart.mean(-1) if relation.left_out is None else ops.mean(apart, relation.known)


def _angles(own: Tensor, distance: Tensor) -> Tensor:
    """``[c, n]`` distances of c vertices, ``[n, n]`` all → ``[c, n, n]`` cosines at the vertices; 0 where undefined."""
    product = 2 * own.unsqueeze(2) * own.unsqueeze(1)
    squares = own.square()
    above = squares.unsqueeze(2) + squares.unsqueeze(1) - distance.square()
    wide = product > 1e-12
    return torch.where(wide, above / torch.where(wide, product, 1.0), 0.0)


class _AngleGaps(torch.autograd.Function):
    """Mean smooth L1 gap of the angles at each vertex; the backward pass goes over the vertices again."""

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor) -> Tensor:
        ctx.save_for_backward(student, teacher)
        return torch.cat([_gaps(student, teacher, cut) for cut in _vertices(student)])

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None]:
        student, teacher = ctx.saved_tensors
        total = torch.zeros_like(student)
        for cut in _vertices(student):
            leaf = student.detach().requires_grad_()
            with torch.enable_grad():
                gaps = _gaps(leaf, teacher, cut)
            total += torch.autograd.grad(gaps, leaf, outer[0][cut])[0]
        return total, None


def _vertices(student: Tensor) -> Iterator[slice]:
    step = max(1, PAIRS_AT_ONCE // max(1, student.numel()))
    for start in range(0, len(student), step):
        yield slice(start, start + step)


def _gaps(student: Tensor, teacher: Tensor, cut: slice) -> Tensor:
    """``[c]`` mean gaps at the vertices of a slice."""
    mine, theirs = _angles(student[cut], student), _angles(teacher[cut], teacher)
    return smooth_l1_loss(mine, theirs, reduction="none").mean((1, 2))


@register(
    "criterion",
    "rkd_angle",
    source=_RKD,
    accepts=("teacher",),
    family="distillation",
    similarity="euclidean",
    whole=True,
)
def rkd_angle(scores: Tensor, relation: Rows) -> Tensor:
    """Smooth L1 difference of the angles in every triangle of the batch, student against teacher.

    Angles come from distances by the law of cosines, so no [n, n, d] is made; O(n³) time, O(n²) memory, a few
    vertices at a time. Checked against the authors' RKdAngle (mean over all n³, degenerate triangles 0).

    Args:
        scores: ``[n, n]``, minus distances; the keys are the queries.
        relation: rows of the same shape; grades are minus the teacher's distances.

    Returns:
        ``[n]``, one for each vertex.
    """
    student = (-scores).clamp_min(0).masked_fill(~relation.known, 0.0)
    teacher = (-relation.grade.to(scores.dtype)).clamp_min(0).masked_fill(~relation.known, 0.0)
    found: Tensor = _AngleGaps.apply(student, teacher)  # type: ignore[no-untyped-call]
    return found
