"""The families of encoders, and what needs one of them."""

from __future__ import annotations

from typing import Any

from similis.errors import UserError

#: The kinds of encoders, by what they make of a text.
FAMILIES = {
    "static": "one vector a text",
    "dense": "one vector a text",
    "sparse": "sparse vectors over a vocabulary",
    "multi_vector": "several vectors a text",
    "cross": "scores of pairs of texts",
    "array": "one vector a row of numbers",
}


def need_vectors(encoder: Any, what: str) -> None:
    """Refuse an encoder that does not give one vector a text.

    Raises:
        UserError: naming the family and ``what`` was to be done.
    """
    family = getattr(encoder, "family", "dense")
    if family not in ("static", "dense"):
        article = "an" if family == "array" else "a"
        raise UserError(
            f"{what} takes one vector a text, and this is {article} {family} model: it gives {FAMILIES[family]}"
        )
