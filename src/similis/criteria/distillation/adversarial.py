"""What a retriever learns of a ranker that it also plays against."""

from __future__ import annotations

import torch
from torch import Tensor

from similis.criteria import ops
from similis.criteria.ranking.ops import known_scores
from similis.errors import UserError
from similis.registry import Source, register
from similis.relation import Rows


@register(
    "criterion",
    "adversarial_ranker",
    source=Source(
        "Adversarial Retriever-Ranker for dense text retrieval", "Zhang, Gong, Shen, Lv, Duan and Chen", 2021
    ),
    accepts=("teacher",),
    family="distillation",
    positional=True,
)
def adversarial_ranker(
    scores: Tensor,
    relation: Rows,
    *,
    share: float = 0.5,
    temperature: float = 0.05,
    teacher_temperature: float = 1.0,
) -> Tensor:
    """The retriever's loss of AR2: rank high what the ranker mistakes for relevant, and what it rightly ranks high.

    Definition: with p = softmax(s/τ), t = softmax(r/τ_t) of the ranker's scores r and R_j = ln σ(r_+ - r_j), + the
    first known key: λ Σ_j R_j ln p_j - (1 - λ) Σ_j t_j ln p_j, λ the ``share``. A negative that the ranker scores near
    or above the positive has a low R, so its p grows: it is searched for, and the ranker learns from it next. Checked
    against the authors' code, where the first sum too is over the whole list (the positive's R is ln ½, a constant)
    but is added up over a batch's queries, not averaged as here.

    Args:
        scores: ``[..., m]`` of the retriever.
        relation: rows of the same shape; grades are the ranker's scores, its positive's first.
        share: λ in 0..1; 0 is distillation alone.
        temperature: τ > 0.
        teacher_temperature: τ_t > 0.

    Returns:
        ``[...]``.
    """
    if not 0.0 <= share <= 1.0:
        raise UserError(f"adversarial_ranker needs a share between 0 and 1, not {share}")
    known, ranker = relation.known, relation.grade.to(scores.dtype)
    first = known.to(torch.uint8).argmax(-1, keepdim=True)
    log_share = known_scores(scores / temperature, relation).log_softmax(-1).masked_fill(~known, 0.0)
    target = known_scores(ranker / teacher_temperature, relation).softmax(-1).masked_fill(~known, 0.0)
    mistaken = torch.nn.functional.logsigmoid(ranker.gather(-1, first) - ranker)
    return ops.total((share * mistaken - (1 - share) * target) * log_share, known)
