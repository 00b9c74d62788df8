"""Dense rows of a relation, as a criterion reads them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor


@dataclass
class Rows:
    """Dense rows of a relation, as a criterion reads them; every field has the shape ``[..., m]`` of the scores.

    Attributes:
        given_grade: grades 0..1 (or a teacher's scores), or None where ``same`` says it all.
        same: True for positives, where the relation is binary.
        left_out: True where the pair is left out (self, unjudged, suspected false negative), or None for nowhere.
        weight: weight of each pair, or None for 1.
        guide: a guide model's similarity of each pair, or None.
        samples: ``[...]`` index of each row's sample in the data set, or None.
        own: ``[..., P]`` the keys of each row's positives, where every row has as many, no pair is left out, and who
            made the rows knows them; a changed copy does not.
    """

    given_grade: Tensor | None = None
    same: Tensor | None = None
    left_out: Tensor | None = None
    weight: Tensor | None = None
    guide: Tensor | None = None
    samples: Tensor | None = None
    supervision: str = "graded"
    own: Tensor | None = field(default=None, init=False)

    @cached_property
    def grade(self) -> Tensor:
        """``[..., m]`` floats."""
        if self.given_grade is not None:
            return self.given_grade
        assert self.same is not None
        return self.same.float()

    @cached_property
    def known(self) -> Tensor:
        """``[..., m]`` booleans: False = leave this pair out."""
        if self.left_out is None:
            reference = self.same if self.same is not None else self.grade
            return torch.ones_like(reference, dtype=torch.bool)
        return ~self.left_out

    @cached_property
    def positive(self) -> Tensor:
        """``[..., m]`` booleans: known and of a grade above 0."""
        above = self.same if self.same is not None else self.grade > 0
        return above if self.left_out is None else above & ~self.left_out

    @cached_property
    def negative(self) -> Tensor:
        """``[..., m]`` booleans: known and of grade 0 (or less)."""
        if self.left_out is None:
            return ~self.positive
        return ~(self.positive | self.left_out)

    @cached_property
    def ordered(self) -> Tensor:
        """``[..., m]`` booleans: known and graded above the row's lowest known grade, so above some other key."""
        if self.given_grade is None:
            return self.positive & self.negative.any(-1, keepdim=True)
        lowest = self.grade.masked_fill(~self.known, float("inf")).amin(-1, keepdim=True)
        return self.known & (self.grade > lowest)

    def has(self, kind: str) -> Tensor:
        """``[...]`` booleans: whether a row has any pair of the kind ``positive``, ``negative``, ``ordered``, ...."""
        mask: Tensor = getattr(self, kind)
        if not mask.shape[-1]:
            return mask.any(-1)
        # the greatest byte is found many times faster than ``any``, and without a copy of the mask as integers
        return mask.view(torch.uint8).amax(-1).bool()

    def with_all(self, kinds: tuple[str, ...]) -> Tensor | None:
        """``[...]`` booleans: whether a row has pairs of every kind; None where all rows have."""
        if self.own is not None and 0 < self.own.shape[-1] < self.positive.shape[-1]:
            return None  # every row has positives, and negatives beside them
        valid = None
        for kind in kinds:
            valid = self.has(kind) if valid is None else valid & self.has(kind)
        return valid

    def without(self, left_out: Tensor) -> Rows:
        """The same rows with the pairs of ``left_out`` left out too: how a miner narrows a batch."""
        if self.left_out is not None:
            left_out = left_out | self.left_out
        return replace(self, left_out=left_out)

    def where(self, kept: Tensor) -> Rows:
        """The same rows with only the pairs of ``kept`` known."""
        return self.without(~kept)


def join(blocks: list[Rows]) -> Rows:
    """Rows side by side: the keys of every block become the keys of one row."""
    if len(blocks) == 1:
        return blocks[0]
    guides = [b.guide for b in blocks if b.guide is not None]
    return Rows(
        given_grade=torch.cat([b.grade for b in blocks], -1),
        left_out=torch.cat([~b.known for b in blocks], -1),
        guide=torch.cat(guides, -1) if len(guides) == len(blocks) else None,
        samples=blocks[0].samples,
        supervision=blocks[0].supervision,
    )
