"""Miners against false negatives: pairs that a guide, or the model itself, finds too similar to be negatives."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from similis.criteria import ops
from similis.criteria.margin.options import one_of
from similis.errors import UserError
from similis.mining.picking import top
from similis.registry import Source, register
from similis.relation import Rows

MARGINS = ("absolute", "relative")


@register(
    "miner",
    "gist",
    source=Source(
        "GISTEmbed: Guided In-sample Selection of Training Negatives for Text Embedding Fine-tuning", "Solatorio", 2024
    ),
    family="guided",
)
def gist(scores: Tensor, relation: Rows, *, margin: float = 0.0, strategy: str = "absolute") -> Rows:
    """Leaves out negatives that the guide finds more similar than the row's positive.

    A negative is left out where g_n > g_p - margin (``absolute``) or g_n > g_p - |g_p| margin (``relative``), g_p the
    guide's lowest similarity among the row's positives. With ``infonce`` and directions ``"q2k+q2q+k2k"`` it is
    GISTEmbedLoss of sentence-transformers.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape, with ``guide``.
        margin: in units of the guide's score, or a share of it.
        strategy: ``absolute`` or ``relative``.

    Raises:
        UserError: the relation has no guide, or an unknown strategy.
    """
    return relation.without(_suspects(_guide(relation, "gist"), relation, margin, strategy))


@register(
    "miner",
    "positive_aware",
    source=Source(
        "NV-Retriever: Improving Text Embedding Models with Effective Hard-Negative Mining",
        "Moreira, Osmulski, Xu, Ak, Schifferer and Oldridge",
        2024,
    ),
    family="guided",
)
def positive_aware(
    scores: Tensor,
    relation: Rows,
    *,
    margin: float = 0.05,
    strategy: str = "relative",
    k: int | None = None,
    judge: str = "own",
) -> Rows:
    """Negatives must score below the positive by a margin, and of these the k hardest stay.

    ``relative`` is the paper's TopK-PercPos (a margin of 0.05 is 95 % of the positive's score), ``absolute`` its
    TopK-MarginPos. With several positives the lowest one judges.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        margin: a share of the positive's score, or in units of the score.
        strategy: ``relative`` or ``absolute``.
        k: negatives kept; None keeps all that pass.
        judge: ``own`` scores, or those of the relation's ``guide`` (the paper's teacher).

    Raises:
        UserError: an unknown strategy or judge, or the relation has no guide.
    """
    judged = scores if one_of("judge", judge, ("own", "guide")) == "own" else _guide(relation, "positive_aware")
    left = relation.without(_suspects(judged, relation, margin, strategy))
    return left if k is None else left.where(left.positive | top(judged, left.negative, k))


@register(
    "miner",
    "false_negatives",
    source=Source(
        "Boosting Contrastive Self-Supervised Learning with False Negative Cancellation",
        "Huynh, Kornblith, Walter, Maire and Khademi",
        2022,
    ),
    family="guided",
)
def false_negatives(
    scores: Tensor,
    relation: Rows,
    *,
    threshold: float = 0.9,
    k: int | None = None,
    action: str = "eliminate",
    judge: str = "own",
) -> Rows:
    """Negatives above a score are taken for false ones: left out, or made positives.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        threshold: negatives above it are suspects, in units of the judge's score.
        k: at most so many suspects of a row, the most similar first; None takes all.
        action: ``eliminate`` leaves suspects out, ``attract`` makes them positives.
        judge: ``own`` scores, or those of the relation's ``guide``.

    Raises:
        UserError: an unknown action or judge, or the relation has no guide.
    """
    one_of("action", action, ("eliminate", "attract"))
    judged = scores if one_of("judge", judge, ("own", "guide")) == "own" else _guide(relation, "false_negatives")
    suspects = relation.negative & (judged > threshold)
    if k is not None:
        suspects = top(judged, suspects, k)
    if action == "eliminate":
        return relation.without(suspects)
    if relation.same is not None:
        return replace(relation, same=relation.same | suspects)
    return replace(relation, given_grade=relation.grade.masked_fill(suspects, 1.0))


def _suspects(judged: Tensor, relation: Rows, margin: float, strategy: str) -> Tensor:
    """Negatives that score above the row's lowest positive less a margin; none in rows without a positive."""
    one_of("strategy", strategy, MARGINS)
    lowest = ops.easiest(judged, relation.positive).unsqueeze(-1)
    allowed = lowest - margin if strategy == "absolute" else lowest - lowest.abs() * margin
    return relation.negative & relation.positive.any(-1, keepdim=True) & (judged > allowed)


def _guide(relation: Rows, name: str) -> Tensor:
    if relation.guide is None:
        raise UserError(
            f"the miner {name} judges by a guide model, and this relation has none: set relation.guide to the "
            "guide's unit embeddings of queries and keys"
        )
    return relation.guide
