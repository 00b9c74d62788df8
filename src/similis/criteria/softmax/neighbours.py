"""Criteria of the neighbourhood: NCA, leave-one-out neighbours, hardest negatives, and pointwise logistic losses."""

from __future__ import annotations

import torch
from torch import Tensor

from similis.criteria import ops
from similis.criteria.softmax.infonce import BOTH, RANKING
from similis.criteria.softmax.terms import Positives, known, known_mass, not_negative, softplus
from similis.registry import Source, register
from similis.relation import Rows


@register(
    "criterion",
    "nca",
    source=Source("Neighbourhood Components Analysis", "Goldberger, Hinton, Roweis and Salakhutdinov", 2004),
    accepts=RANKING,
    family="softmax",
    needs=BOTH,
    similarity="euclidean(squared=True)",
)
def nca(scores: Tensor, relation: Rows, *, scale: float = 1.0) -> Tensor:
    """-log of the softmax mass on all positives together: one near positive is enough.

    Definition: -log(Σ_p exp(α s_p) / Σ_{known k} exp(α s_k)), s minus the squared Euclidean distance.

    On cosines it is MIL-NCE (Miech et al. 2020) at temperature 1/α. Equals pytorch-metric-learning's NCALoss,
    which scores unit vectors by default: there it is ``nca(scale=2α), similarity=cosine``.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        scale: α > 0.

    Returns:
        ``[...]``.
    """
    scaled = scores if scale == 1 else scores * scale
    return known_mass(scaled, relation) - Positives.of(scaled, relation).mass(scaled)


@register(
    "criterion",
    "look",
    source=Source("Rethinking supervised pre-training for better downstream transferring", "Feng et al.", 2022),
    accepts=RANKING,
    family="softmax",
    needs=BOTH,
    sorts=True,
)
def look(scores: Tensor, relation: Rows, *, k: int = 20, temperature: float = 0.07) -> Tensor:
    """Leave-one-out k nearest neighbours: the softmax mass, among the k nearest keys, on those of the own class.

    Definition: -log(Σ_{p in N_k} exp(s_p/τ) / Σ_{j in N_k} exp(s_j/τ)), N_k the k highest known keys and the
    nearest positive, which is added where none is among them so that the logarithm is defined.

    A class may keep several modes: positives outside the neighbourhood are not pulled. Checked against the abstract's
    description (weighted leave-one-out kNN error); keys may come from a memory queue.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        k: size of the neighbourhood.
        temperature: τ > 0, in units of the score.

    Returns:
        ``[...]``.
    """
    scaled = known(scores / temperature, relation)
    near, at = scaled.topk(min(k, scaled.shape[-1]), -1)
    same = relation.positive.gather(-1, at)
    with torch.no_grad():
        nearest = ops.keep(scaled, relation.positive).argmax(-1, keepdim=True)
        absent = relation.positive.gather(-1, nearest) & ~same.any(-1, keepdim=True)
    near = torch.cat([near, scaled.gather(-1, nearest)], -1)
    same = torch.cat([same, absent], -1)
    counted = torch.cat([torch.ones_like(at, dtype=torch.bool), absent], -1)
    return ops.logsumexp(near, counted) - ops.logsumexp(near, same)


@register(
    "criterion",
    "mega_batch_margin",
    source=Source(
        "ParaNMT-50M: Pushing the Limits of Paraphrastic Sentence Embeddings with Millions of Machine Translations",
        "Wieting and Gimpel",
        2018,
    ),
    accepts=RANKING,
    family="softmax",
    needs=BOTH,
)
def mega_batch_margin(
    scores: Tensor, relation: Rows, *, positive_margin: float = 0.8, negative_margin: float = 0.3
) -> Tensor:
    """Positives above one margin, the hardest negative of a large batch below another.

    Definition: mean over p of [m⁺ - s_p]_+, plus [max_n s_n - m⁻]_+. Equals sentence-transformers'
    MegaBatchMarginLoss.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        positive_margin: m⁺, in units of the score.
        negative_margin: m⁻, in units of the score.

    Returns:
        ``[...]``.
    """
    positives = Positives.of(scores, relation)
    hardest = ops.drop(scores, not_negative(relation)).amax(-1)
    return positives.mean((positive_margin - positives.take(scores)).relu()) + (hardest - negative_margin).relu()


@register(
    "criterion",
    "logistic",
    source=Source("The Regression Analysis of Binary Sequences", "Cox", 1958),
    accepts=(*RANKING, "labeled_pairs", "scored"),
    family="softmax",
)
def logistic(
    scores: Tensor, relation: Rows, *, temperature: float = 1.0, bias: float = 0.0, positive_weight: float = 1.0
) -> Tensor:
    """Binary cross-entropy of each known pair by itself, its grade as the target probability.

    Definition: mean over known k of w⁺ g_k softplus(-z_k) + (1 - g_k) softplus(z_k), z = s/τ + b. Equals
    ``torch.nn.BCEWithLogitsLoss(pos_weight=w⁺)`` over the row, and so sentence-transformers'
    BinaryCrossEntropyLoss on a list of pairs.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape; grades in 0..1.
        temperature: τ > 0, in units of the score.
        bias: b.
        positive_weight: w⁺ > 0.

    Returns:
        ``[...]``.
    """
    logits = scores / temperature + bias
    grade = relation.grade.to(scores.dtype)
    # softplus(-z) is softplus(z) - z: one softplus serves both sides.
    both = 1 + (positive_weight - 1) * grade if positive_weight != 1 else 1.0
    values = both * softplus(logits) - positive_weight * grade * logits
    return values.mean(-1) if relation.left_out is None else ops.mean(values, relation.known)


@register(
    "criterion",
    "sgns",
    source=Source(
        "Distributed Representations of Words and Phrases and their Compositionality", "Mikolov et al.", 2013
    ),
    accepts=RANKING,
    family="softmax",
    needs=("positive",),
    similarity="dot",
)
def sgns(scores: Tensor, relation: Rows) -> Tensor:
    """Skip-gram with negative sampling: logistic loss of the context word and of the sampled noise words.

    Definition: -Σ_p log σ(s_p) - Σ_n log σ(-s_n) on inner products; the noise words are the given negatives, drawn
    from the unigram distribution to the power 3/4.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.

    Returns:
        ``[...]``.
    """
    values = softplus(scores)
    values = values if relation.left_out is None else values.masked_fill(relation.left_out, 0.0)
    positives = Positives.of(scores, relation)
    count = ops.count(relation.positive).to(scores.dtype)
    return values.sum(-1) - positives.mean_score(scores) * count
