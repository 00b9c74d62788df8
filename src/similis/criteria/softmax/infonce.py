"""Softmax criteria over in-batch and given keys."""

from __future__ import annotations

from torch import Tensor

from similis.criteria import ops
from similis.criteria.softmax.terms import Positives, known_mass, own_terms, softmax_terms
from similis.errors import UserError
from similis.registry import Source, register
from similis.relation import Rows

RANKING = ("pairs", "triplets", "labels", "graded", "hierarchy")
BOTH = ("positive", "negative")
#: What class proxies and centroids need.
LABELLED = ("labels", "hierarchy")


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
    positives = Positives.of(scaled, relation, graded=True)
    return positives.mean(softmax_terms(positives, scaled, relation))


@register(
    "criterion",
    "supcon",
    source=Source("Supervised Contrastive Learning", "Khosla et al.", 2020),
    accepts=RANKING,
    family="softmax",
    needs=BOTH,
)
def supcon(scores: Tensor, relation: Rows, *, temperature: float = 0.1, form: str = "out") -> Tensor:
    """Mean over the positives of -log softmax among all known keys (form "out"), or -log of their mean ("in").

    Definition: out: -1/|P| Σ_p log(exp(s_p/τ) / Σ_{known k} exp(s_k/τ)), the paper's equation 2; in: the logarithm
    outside the sum, equation 3, -log(1/|P| Σ_p exp(s_p/τ) / Σ_{known k} exp(s_k/τ)).

    Every positive counts alike, whatever its grade; :func:`infonce` weighs by grade. The form "out" is
    pytorch-metric-learning's SupConLoss, which averages over rows of non-zero loss (``reduction=mean_nonzero``).

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        temperature: τ > 0, in units of the score.
        form: where the mean over the positives stands, "out" or "in".

    Returns:
        ``[...]``.

    Raises:
        UserError: an unknown form.
    """
    scaled = scores / temperature
    everything = known_mass(scaled, relation)
    if form == "out":
        return everything - Positives.of(scaled, relation).mean_score(scaled)
    if form == "in":
        count = ops.count(relation.positive).clamp_min(1).to(scores.dtype)
        return everything - Positives.of(scaled, relation).mass(scaled) + count.log()
    raise UserError(f"supcon takes form='out' or form='in', not {form!r}")


@register(
    "criterion",
    "multi_positive",
    source=Source(
        "Improving the Consistency in Cross-Lingual Cross-Modal Retrieval with 1-to-K Contrastive Learning",
        "Nie et al.",
        2024,
    ),
    accepts=RANKING,
    family="softmax",
    needs=BOTH,
    directions=("q2k", "k2q"),
)
def multi_positive(scores: Tensor, relation: Rows, *, temperature: float = 0.05) -> Tensor:
    """1-to-K softmax: the K keys of a query are equal positives at once, in both directions.

    Definition: -Σ_p (1/K) log(exp(s_p/τ) / Σ_{known k} exp(s_k/τ)), averaged over queries→keys and keys→queries.

    The soft target puts 1/K on each language version of one item, so none is the pivot. Checked against the
    abstract and the symmetric cross-entropy with such targets.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        temperature: τ > 0, in units of the score.

    Returns:
        ``[...]``.
    """
    return supcon(scores, relation, temperature=temperature)


@register(
    "criterion",
    "nt_xent",
    source=Source(
        "A Simple Framework for Contrastive Learning of Visual Representations",
        "Chen, Kornblith, Norouzi and Hinton",
        2020,
    ),
    accepts=RANKING,
    family="softmax",
    needs=BOTH,
    terms="positives",
)
def nt_xent(scores: Tensor, relation: Rows, *, temperature: float = 0.07) -> Tensor:
    """Each positive its own softmax against the negatives: other positives are not in its denominator.

    Definition: mean over p of -log(exp(s_p/τ) / (exp(s_p/τ) + Σ_n exp(s_n/τ))).

    One log-sum-exp over the negatives serves every positive, so no (positive, negative) list is made. Equals
    pytorch-metric-learning's NTXentLoss, which averages over pairs, with ``reduction="mean_terms"``; with one
    positive it is SimCLR's loss.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        temperature: τ > 0, in units of the score.

    Returns:
        ``[...]``.
    """
    return own_terms(scores / temperature, relation)


@register(
    "criterion",
    "decoupled_softmax",
    source=Source("Dual-Encoders for Extreme Multi-Label Classification", "Gupta et al.", 2024),
    accepts=RANKING,
    family="softmax",
    needs=BOTH,
)
def decoupled_softmax(scores: Tensor, relation: Rows, *, temperature: float = 0.05) -> Tensor:
    """:func:`nt_xent` with the positives weighed by grade: the gradient of one positive is independent of the others.

    Definition: -Σ_p w_p log(exp(s_p/τ) / (exp(s_p/τ) + Σ_n exp(s_n/τ))), w the grades divided by their sum.

    The paper's decoupled softmax has grades of 1. Unlike InfoNCE with many positives,
    a positive already ranked above the negatives is not pushed down for the others' sake.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        temperature: τ > 0, in units of the score.

    Returns:
        ``[...]``.
    """
    return own_terms(scores / temperature, relation, graded=True)


@register(
    "criterion",
    "n_pair",
    source=Source("Improved Deep Metric Learning with Multi-class N-pair Loss Objective", "Sohn", 2016),
    accepts=RANKING,
    family="softmax",
    needs=BOTH,
    similarity="dot",
)
def n_pair(scores: Tensor, relation: Rows) -> Tensor:
    """log(1 + Σ_n exp(s_n - s_p)) on inner products, averaged over the positives.

    Definition: mean over p of log(1 + Σ_n exp(s_n - s_p)); with pairs (one positive a query, the others' positives
    as negatives) it is the softmax cross-entropy of pytorch-metric-learning's NPairsLoss. The paper adds an L2
    penalty on the embeddings, which is a regularizer here.

    Args:
        scores: ``[..., m]`` inner products.
        relation: rows of the same shape.

    Returns:
        ``[...]``.
    """
    return own_terms(scores, relation)
