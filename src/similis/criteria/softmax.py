"""Softmax criteria over in-batch and given keys."""

from __future__ import annotations

from torch import Tensor

from similis.criteria import ops
from similis.registry import Source, register
from similis.relation import Rows

RANKING = ("pairs", "triplets", "labels", "graded", "hierarchy")


@register(
    "criterion",
    "infonce",
    source=Source("Representation Learning with Contrastive Predictive Coding", "van den Oord, Li and Vinyals", 2018),
    accepts=RANKING,
    family="softmax",
    needs=("positive", "negative"),
)
def infonce(scores: Tensor, relation: Rows, *, temperature: float = 0.05) -> Tensor:
    """Softmax cross-entropy of the positives among all known keys.

    Definition: -Σ_p w_p log(exp(s_p/τ) / Σ_{known k} exp(s_k/τ)), w the positives' grades divided by their sum.

    One positive gives InfoNCE (MultipleNegativesRankingLoss with scale 1/τ); several of equal grade give
    SupCon's L_out (Khosla et al. 2020, equation 2); graded positives give soft targets.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        temperature: τ > 0, in units of the score.

    Returns:
        ``[...]``.

    >>> import torch
    >>> rows = Rows(same=torch.tensor([[True, False]]))
    >>> infonce(torch.tensor([[1.0, 0.0]]), rows, temperature=1.0)
    tensor([0.3133])
    """
    scaled = scores / temperature
    target = ops.normalized_grade(relation.grade, relation.positive)
    known = scaled if relation.left_out is None else ops.drop(scaled, relation.left_out)
    return (known.logsumexp(-1, keepdim=True) - scaled).mul(target).sum(-1)
