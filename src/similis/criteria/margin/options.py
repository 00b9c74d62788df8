"""What the margin criteria share: the positives of a row, how terms are averaged, checks of options and shapes."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from similis.criteria import ops
from similis.errors import UserError, did_you_mean
from similis.relation import Rows

#: How the terms of a row are averaged: over all of them, over those above zero, or added up.
AVERAGES = ("all", "nonzero", "sum")


def one_of(what: str, value: str, allowed: Sequence[str]) -> str:
    """The value, or a :class:`UserError` that names the allowed ones."""
    if value not in allowed:
        raise UserError(f"{what} must be one of {', '.join(allowed)}, not {value!r}{did_you_mean(value, allowed)}")
    return value


def averaged(values: Tensor, mask: Tensor, average: str) -> Tensor:
    """``[..., m]`` terms → ``[...]``: their mean over the kept, over the kept above zero, or their sum."""
    total = ops.total(values, mask)
    if average == "sum":
        return total
    counted = mask & (values > 0) if average == "nonzero" else mask
    return total / ops.count(counted).clamp_min(1)


def positives_of(scores: Tensor, relation: Rows) -> tuple[Tensor, Tensor]:
    """Scores of the positives ``[..., P]`` and which of them are real (the rest pads rows with fewer)."""
    index, real = ops.gather_positives(relation.positive)
    return scores.gather(-1, index), real


def square(scores: Tensor, name: str) -> None:
    """Refuse scores of queries against other keys: key j must be row j.

    Raises:
        UserError: the matrix is not square.
    """
    if scores.dim() != 2 or scores.shape[0] != scores.shape[1]:
        raise UserError(
            f"{name} reads the rows of the keys too, so the keys must be the queries: "
            f"its scores are {' x '.join(map(str, scores.shape))}; call the objective with labels and without keys"
        )


def for_every_row(loss: Tensor, scores: Tensor) -> Tensor:
    """A loss of the whole batch as the loss of each of its rows ``[n]``, so that their mean is it."""
    return loss.expand(scores.shape[:-1])
