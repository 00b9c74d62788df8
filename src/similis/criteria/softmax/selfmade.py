"""Criteria of self-supervised recipes: pairs that nobody judged, made from the texts themselves."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from similis.criteria import ops
from similis.criteria.softmax.infonce import RANKING
from similis.criteria.softmax.terms import Positives, softplus
from similis.registry import Source, register
from similis.relation import Rows


@register(
    "criterion",
    "contrastive_tension",
    source=Source(
        "Semantic Re-Tuning with Contrastive Tension", "Carlsson, Gyllensten, Gogoulou, Hellqvist and Sahlgren", 2021
    ),
    accepts=(*RANKING, "labeled_pairs"),
    family="softmax",
    similarity="dot",
)
def contrastive_tension(scores: Tensor, relation: Rows) -> Tensor:
    """Logistic loss of inner products, added up over a text with itself and with the others.

    Definition: Σ_p softplus(-s_p) + Σ_n softplus(s_n): -log σ of the pair that is one text encoded by two encoders,
    -log (1 - σ) of the pairs of different texts. The paper starts both encoders from one model and lets them drift
    apart (give each side its own), with 7 negatives a positive. Checked against sentence-transformers'
    ContrastiveTensionLoss, which is its sum over pairs.

    Args:
        scores: ``[..., m]`` inner products.
        relation: rows of the same shape.

    Returns:
        ``[...]``.
    """
    values = softplus(scores)
    values = values if relation.left_out is None else values.masked_fill(relation.left_out, 0.0)
    count = ops.count(relation.positive).to(scores.dtype)
    return values.sum(-1) - Positives.of(scores, relation).mean_score(scores) * count


@register(
    "criterion",
    "byol",
    source=Source(
        "Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning",
        "Grill, Strub, Altché, Tallec, Richemond et al.",
        2020,
    ),
    accepts=RANKING,
    family="softmax",
    needs=("positive",),
    keys="still",
)
def byol(scores: Tensor, relation: Rows) -> Tensor:
    """Squared distance of unit embeddings to their positives, without negatives: 2 - 2 cos, the keys standing still.

    Definition: mean over p of 2 - 2 s_p. What keeps it from collapse is outside the criterion: keys without gradient
    (``keys=still``, the default, SimSiam's stop-gradient; with a momentum encoder's keys it is BYOL) and a predictor
    on the query side. With ``miner=false_negatives(action=attract)`` other items that are found similar are
    positives too (self-labelling). Checked against the authors' regression_loss, which they add up over both orders
    of the two views.

    Args:
        scores: ``[..., m]`` cosines.
        relation: rows of the same shape.

    Returns:
        ``[...]``.
    """
    has_any = relation.has("positive")
    return (2 - 2 * Positives.of(scores, relation).mean_score(scores)) * has_any


@register(
    "criterion",
    "replaced_token",
    source=Source(
        "DiffCSE: Difference-based Contrastive Learning for Sentence Embeddings",
        "Chuang, Dangovski, Luo, Zhang, Chang, Soljačić, Li, Yih, Kim and Glass",
        2022,
    ),
    accepts=("graded",),
    family="softmax",
    similarity="bilinear",
)
class ReplacedToken(nn.Module):
    """Which tokens of an edited sentence were replaced, told from the sentence's embedding: DiffCSE's second term.

    Definition: mean over the known tokens k of BCE(σ(s_k + b), g_k), g_k = 1 where the token was replaced. A query is
    the embedding of the sentence before the edit, its keys are the contextual states ``[n, m, d]`` of the edited
    sentence's tokens (``Relation.graded(replaced, known=not padding, layout="lists")``): an embedding that tells them
    apart is sensitive to the edit, where the contrastive term makes it insensitive to dropout. The score is a learnt
    product, the discriminator's head conditioned on the sentence. Added to the contrastive loss with a weight of
    0.005. Checked against the authors' published loss, a cross-entropy of two logits a token, of which s + b is the
    difference; there the mean is over all tokens of the batch, padding among them as kept, and the sentence's
    embedding is an input of the discriminator network, whose head reads the token alone.

    Args:
        bias: b at the start; learnt, as most tokens are kept.
    """

    def __init__(self, bias: float = 0.0) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor(float(bias)))

    def forward(self, scores: Tensor, relation: Rows) -> Tensor:
        """Scores ``[..., m]`` → ``[...]``."""
        logits = scores + self.bias
        values = softplus(logits) - relation.grade.to(scores.dtype) * logits
        return ops.mean(values, relation.known)
