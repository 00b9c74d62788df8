"""Listwise criteria: the likelihood of the order that the grades give, and cross-entropy of distributions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from similis.criteria import ops
from similis.criteria.ranking.ops import grade_places, known_scores, running_logsumexp
from similis.criteria.ranking.pairwise import ORDERED
from similis.criteria.softmax.infonce import RANKING
from similis.registry import Source, register
from similis.relation import Rows


@register(
    "criterion",
    "list_net",
    source=Source("Learning to Rank: From Pairwise Approach to Listwise Approach", "Cao, Qin, Liu, Tsai and Li", 2007),
    accepts=ORDERED,
    family="ranking",
)
def list_net(scores: Tensor, relation: Rows, *, temperature: float = 1.0, target_temperature: float = 1.0) -> Tensor:
    """Cross-entropy from softmax(grades/τ_t) to softmax(scores/τ): the top-one probabilities of ListNet.

    Every known key has a share of the target, grade 0 too; ``infonce`` gives the grades themselves as the target.
    Equals sentence-transformers' ListNetLoss.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        temperature: τ > 0 of the scores.
        target_temperature: τ_t > 0 of the grades.

    Returns:
        ``[...]``.
    """
    logits = known_scores(scores / temperature, relation)
    target = known_scores(relation.grade.to(scores.dtype) / target_temperature, relation).softmax(-1)
    target = target.masked_fill(~relation.known, 0.0)
    log_share = logits - logits.logsumexp(-1, keepdim=True)
    return -ops.total(log_share * target, relation.known)


@register(
    "criterion",
    "poly1_softmax",
    source=Source(
        "RankT5: Fine-Tuning T5 for Text Ranking with Ranking Losses",
        "Zhuang, Qin, Jagerman, Hui, Ma, Lu, Ni, Wang and Bendersky",
        2023,
    ),
    accepts=RANKING,
    family="ranking",
    needs=("positive", "negative"),
)
def poly1_softmax(scores: Tensor, relation: Rows, *, epsilon: float = 1.0, temperature: float = 1.0) -> Tensor:
    """Softmax cross-entropy plus the first term of its polynomial expansion: Σ_p w_p (-log q_p + ε(1 - q_p)).

    q is the softmax over known keys, w the positives' grades divided by their sum. PolyLoss (Leng et al. 2022),
    which RankT5 applies to lists; ε = 0 is ``infonce``.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        epsilon: ε, weight of the added term.
        temperature: τ > 0, in units of the score.

    Returns:
        ``[...]``.
    """
    logits = known_scores(scores / temperature, relation)
    target = ops.normalized_grade(relation.grade.to(scores.dtype), relation.positive)
    log_share = logits - logits.logsumexp(-1, keepdim=True)
    entropy = -(log_share * target).sum(-1)
    return entropy + epsilon * (1 - (log_share.exp() * target).sum(-1))


@dataclass
class Ladder:
    """The keys of each row by rising grade (or as they stand, where the relation is binary): fields ``[..., m]``.

    Attributes:
        own: their scores.
        tails: log Σ exp over the known keys of their grade and below.
        ordered: whether a key is known and above some other.
        known: whether it is known.
        higher: known keys of a higher grade.
        equal: known keys of the same grade, itself among them.
    """

    own: Tensor
    tails: Tensor
    ordered: Tensor
    known: Tensor
    higher: Tensor
    equal: Tensor


def ladder(scores: Tensor, relation: Rows) -> Ladder:
    """Scores by rising grade with the denominators of Plackett-Luce: one sort of the grades, none if binary."""
    logits = known_scores(scores, relation)
    if relation.given_grade is None:
        every = ops.logsumexp_outside(scores, relation.left_out).unsqueeze(-1)
        rest = ops.logsumexp(scores, relation.negative).unsqueeze(-1)
        tails = torch.where(relation.positive, every, rest)
        return Ladder(scores, tails, relation.ordered, relation.known, *grade_places(relation))
    # keys left out come last, where they add nothing to the running sums of those before
    line = relation.grade.masked_fill(~relation.known, float("inf"))
    order = ops.order(line)
    line = line.gather(-1, order)
    own, known = logits.gather(-1, order), relation.known.gather(-1, order)
    places = torch.arange(line.shape[-1], device=line.device).expand_as(order)
    begins = torch.ones_like(known)
    begins[..., 1:] = line[..., 1:] != line[..., :-1]
    first = places.masked_fill(~begins, 0).cummax(-1).values
    ends = begins.roll(-1, -1)
    last = places.masked_fill(~ends, line.shape[-1]).flip(-1).cummin(-1).values.flip(-1)
    tails = running_logsumexp(own).gather(-1, last)
    higher = ops.count(known, keepdim=True) - 1 - last
    return Ladder(own, tails, known & (line > line[..., :1]), known, higher, last - first + 1)


@register(
    "criterion",
    "list_mle",
    source=Source("Listwise Approach to Learning to Rank: Theory and Algorithm", "Xia, Liu, Wang, Zhang and Li", 2008),
    accepts=ORDERED,
    family="ranking",
    needs=("ordered",),
    sorts=True,
)
def list_mle(scores: Tensor, relation: Rows, *, temperature: float = 1.0) -> Tensor:
    """Negative log-likelihood of the grades' order under Plackett-Luce: Σ_i -log(exp s_i / Σ_{g_j ≤ g_i} exp s_j).

    Ties are right whatever the order of the keys: equal grades share one denominator (Breslow's rule for the partial
    likelihood), and the lowest grade, whose order nothing is known of, adds nothing. One positive gives ``infonce``.
    Equals sentence-transformers' ListMLELoss for distinct grades in falling order.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        temperature: τ > 0, in units of the score.

    Returns:
        ``[...]``.
    """
    found = ladder(scores / temperature, relation)
    return ops.total(found.tails - found.own, found.ordered)


@register(
    "criterion",
    "p_list_mle",
    source=Source(
        "Position-Aware ListMLE: A Sequential Learning Process for Ranking", "Lan, Zhu, Guo, Niu and Cheng", 2014
    ),
    accepts=ORDERED,
    family="ranking",
    needs=("ordered",),
    sorts=True,
)
def p_list_mle(scores: Tensor, relation: Rows, *, temperature: float = 1.0) -> Tensor:
    """ListMLE with the first places weighing most: the term of place r weighs 2^(n-r) - 1, over the sum of weights.

    Equal grades share the mean weight of their places. Equals sentence-transformers' PListMLELoss for distinct grades
    in falling order.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        temperature: τ > 0, in units of the score.

    Returns:
        ``[...]``.
    """
    found = ladder(scores / temperature, relation)
    count = ops.count(found.known, keepdim=True).to(scores.dtype)
    # weights over 2^n, so that nothing overflows: 2^-r - 2^-n, whose sum over places h+1..h+t is closed
    before = torch.exp2(-found.higher.to(scores.dtype))
    after = torch.exp2(-(found.higher + found.equal).to(scores.dtype))
    weight = (before - after) / found.equal.clamp_min(1) - torch.exp2(-count)
    whole = 1 - torch.exp2(-count) * (count + 1)
    share = weight / torch.where(whole > 0, whole, torch.ones_like(whole))
    return ops.total((found.tails - found.own) * share, found.ordered)


@register(
    "criterion",
    "rank_n_contrast",
    source=Source(
        "Rank-N-Contrast: Learning Continuous Representations for Regression", "Zha, Cao, Son, Yang and Katabi", 2023
    ),
    accepts=ORDERED,
    family="regression",
    similarity="euclidean",
    sorts=True,
)
def rank_n_contrast(scores: Tensor, relation: Rows, *, temperature: float = 2.0) -> Tensor:
    """Each key against those no nearer in target: mean over j of -log(exp(s_j/τ) / Σ_{g_k ≤ g_j} exp(s_k/τ)).

    For continuous targets, with ``Relation.distances``: embeddings come to lie in the order of the targets. All
    denominators come from one sort by grade. Checked against the authors' RnCLoss (Euclidean distance, τ = 2).

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape; the grades fall with the distance of the targets.
        temperature: τ > 0, in units of the score.

    Returns:
        ``[...]``.
    """
    found = ladder(scores / temperature, relation)
    return ops.mean(found.tails - found.own, found.known)
