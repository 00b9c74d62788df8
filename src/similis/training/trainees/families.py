"""What the families of encoders that give more than one dense vector a text ask of an objective."""

from __future__ import annotations

from typing import Any

from similis.encoders.base import HEADS_SIMILARITIES, SIMILARITIES
from similis.encoders.static.encoder import StaticEncoder
from similis.errors import UserError
from similis.objective import Objective
from similis.progress import note
from similis.similarity.sets import TokenSets
from similis.similarity.vector import Dot

#: By family: the similarity an objective takes where it states none.
FAMILY_SIMILARITIES = {"sparse": "dot", "multi_vector": "maxsim(mean=True)"}


def objective_of(text: str, family: str) -> Objective:
    """The objective of a text; where it states no similarity, with that of the encoder's family."""
    if family == "cross":
        return cross_objective(text)
    made = Objective(text)
    if family not in FAMILY_SIMILARITIES or made.similarity_stated:
        return made
    return Objective(text, similarity=FAMILY_SIMILARITIES[family])


def family_similarity(objective: Objective, family: str) -> str:
    """The similarity that a model of the family will state.

    Raises:
        UserError: the objective's similarity cannot compare what such a model gives.
    """
    text = objective.similarity.text
    if family == "multi_vector":
        if not isinstance(objective.similarity, TokenSets):
            raise UserError(
                f"a multi-vector model is compared token by token (maxsim, filip, chamfer), not by {text!r}"
            )
        return text
    if text not in ("dot", "cosine"):
        raise UserError(f"sparse vectors are searched by dot or cosine, and the objective compares them by {text!r}")
    return text


def searched_by(objective: Objective, encoder: Any) -> str:
    """The similarity that the model will state, so that what is trained is what is searched.

    Args:
        objective: what is trained.
        encoder: the one to start from; None: a new static one.
    """
    family = getattr(encoder, "family", "dense")
    if family in FAMILY_SIMILARITIES:
        return family_similarity(objective, family)
    text = objective.similarity.text
    name = text.partition("(")[0]
    if name in SIMILARITIES:
        return name
    if name in HEADS_SIMILARITIES and encoder is not None and not isinstance(encoder, StaticEncoder):
        return text
    note(
        f"the similarity {name!r} is trained, but an index cannot search by it: the model states cosine; "
        f"{', '.join(SIMILARITIES)} are searched as they are trained"
    )
    return "cosine"


def of_head(encoder: Any) -> str | None:
    """The similarity that an objective takes where it states none, if the encoder ends in a head that needs its own."""
    stated = str(getattr(encoder, "similarity_name", ""))
    return stated if stated.partition("(")[0] in HEADS_SIMILARITIES else None


def cross_objective(objective: Objective | str) -> Objective:
    """The objective as a cross-encoder's scores are trained by it: the score is the similarity.

    Raises:
        UserError: it asks for something that only embeddings have.
    """
    stated = (Objective(objective) if isinstance(objective, str) else objective).similarity_stated
    made = Objective(str(objective)) if stated else Objective(str(objective), similarity="dot")
    if not isinstance(made.similarity, Dot):
        raise UserError(
            f"a cross-encoder gives scores, not embeddings to compare by {made.similarity.text!r}: leave similarity out"
        )
    for part in ("keys", "matryoshka", "regularizers"):
        if getattr(made, part):
            raise UserError(f"a cross-encoder gives scores, not embeddings: leave {part} out of the objective")
    return made
