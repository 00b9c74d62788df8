"""What an encoder says about texts it did not read to their end."""

from __future__ import annotations

from dataclasses import dataclass

from similis.progress import note


@dataclass(frozen=True)
class Truncation:
    """What a call of ``encode`` did not read.

    Attributes:
        texts_cut: texts longer than the limit.
        tokens_cut: tokens of these texts that were left out.
        limit: tokens the model reads of one text; None where there is no limit.
        total: texts encoded.
        tokens_of_cut: tokens the cut texts had, read and unread together.
    """

    texts_cut: int = 0
    tokens_cut: int = 0
    limit: int | None = None
    total: int = 0
    tokens_of_cut: int = 0

    @property
    def share_lost(self) -> float:
        """Tokens left out over all tokens of the cut texts, 0..1."""
        return self.tokens_cut / self.tokens_of_cut if self.tokens_of_cut else 0.0

    def __add__(self, other: Truncation) -> Truncation:
        return Truncation(
            self.texts_cut + other.texts_cut,
            self.tokens_cut + other.tokens_cut,
            self.limit if self.limit is not None else other.limit,
            self.total + other.total,
            self.tokens_of_cut + other.tokens_of_cut,
        )

    def __str__(self) -> str:
        if not self.texts_cut:
            return f"none of {self.total} texts was cut"
        were, their = ("text was", "its") if self.texts_cut == 1 else ("texts were", "their")
        count = f"{self.texts_cut} of {self.total} texts {were.split()[1]}"
        percent = 100 * self.share_lost
        shown = f"{percent:.0f}%" if percent >= 1 else "less than 1%"
        return f"{count} cut at {self.limit} tokens, losing {shown} of {their} tokens"

    def report(self) -> None:
        """Say so on stderr where any text was cut."""
        if self.texts_cut:
            note(str(self))
