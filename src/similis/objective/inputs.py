"""Embeddings as an objective takes them: finite, wide enough to add up, cut to a prefix."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from similis.errors import UserError
from similis.registry import Entry, entries


def check_supervision(criterion: Entry, supervision: str) -> None:
    """Refuse a supervision that the criterion has no meaning for.

    Raises:
        UserError: names those it accepts, and the criteria that accept this one.
    """
    if not criterion.accepts or supervision in criterion.accepts:
        return
    fitting = [e.name for e in entries("criterion") if not e.accepts or supervision in e.accepts]
    raise UserError(
        f"criterion {criterion.name!r} has no meaning for {supervision}: it accepts "
        f"{', '.join(criterion.accepts)}; for {supervision} use one of {', '.join(fitting)}"
    )


def check_finite(embeddings: Tensor, name: str) -> None:
    """Refuse NaN and infinity.

    Raises:
        UserError: names the first row that has one.
    """
    # A finite sum has finite terms, and needs no array of booleans; one that overflows is looked into.
    if math.isfinite(float(embeddings.detach().sum())):
        return
    finite = torch.isfinite(embeddings).flatten(1).all(-1)
    if not bool(finite.all()):
        first = int((~finite).nonzero()[0])
        raise UserError(f"the embedding of {name} {first} is not finite (NaN or infinity)")


def wide(embeddings: Tensor) -> Tensor:
    """Half precision is scored in float32."""
    return embeddings.float() if embeddings.dtype in (torch.float16, torch.bfloat16) else embeddings


def prefix(embeddings: Tensor, dimension: int) -> Tensor:
    """The first ``dimension`` coordinates; the very tensor where that is all."""
    return embeddings if dimension == embeddings.shape[-1] else embeddings[..., :dimension]
