"""Criteria over class proxies: one key (or several) a class, learned with the encoder."""

from __future__ import annotations

import torch
from torch import Tensor

from similis.criteria import ops
from similis.criteria.proxy.own import by_class, own_softmax, soft_nearest, square_to_own
from similis.criteria.softmax.infonce import BOTH, LABELLED
from similis.criteria.softmax.terms import not_negative, own_terms, softplus
from similis.errors import UserError
from similis.registry import Source, register
from similis.relation import Rows

#: Similarities whose quartiles are taken exactly; their rank in a sample of as many is off by 0.1% of it.
MANY = 1 << 17


@register(
    "criterion",
    "normalized_softmax",
    source=Source("Classification is a Strong Baseline for Deep Metric Learning", "Zhai and Wu", 2019),
    accepts=LABELLED,
    family="proxy",
    needs=BOTH,
    keys="proxies",
)
def normalized_softmax(scores: Tensor, relation: Rows, *, temperature: float = 0.05) -> Tensor:
    """Softmax cross-entropy over unit class proxies.

    Definition: -log(exp(s_p/τ) / Σ_k exp(s_k/τ)), s the cosine with each proxy. Equals pytorch-metric-learning's
    NormalizedSoftmaxLoss. With ``keys=equiangular`` the proxies are fixed equiangular vectors, with ``keys=anchors``
    vectors spread over the sphere or given ones (a dictionary's entry embeddings, as DefSent+).

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        temperature: τ > 0, in units of the score.

    Returns:
        ``[...]``.
    """
    return own_softmax(scores, relation, 1 / temperature)


@register(
    "criterion",
    "proxy_nca",
    source=Source(
        "ProxyNCA++: Revisiting and Revitalizing Proxy Neighborhood Component Analysis", "Teh, DeVries and Taylor", 2020
    ),
    accepts=LABELLED,
    family="proxy",
    needs=BOTH,
    keys="proxies",
)
def proxy_nca(scores: Tensor, relation: Rows, *, scale: float = 9.0, exclude_own: bool = False) -> Tensor:
    """Neighbourhood components over proxies: softmax of minus squared distances of unit vectors.

    Definition: -log(exp(-α d_p²) / Σ_k exp(-α d_k²)), d² = 2 - 2s of unit vectors, so the logits are 2α s.

    k runs over all proxies (ProxyNCA++, and pytorch-metric-learning's ProxyNCALoss whose softmax_scale is α), or
    over those of other classes only (Proxy-NCA of Movshovitz-Attias et al. 2017) with ``exclude_own``.

    Args:
        scores: ``[..., m]`` cosines.
        relation: rows of the same shape.
        scale: α > 0; ProxyNCA++ uses 9.
        exclude_own: leave the own proxy out of the denominator.

    Returns:
        ``[...]``.
    """
    if exclude_own:
        from similis.criteria.softmax.negatives import decoupled_contrastive

        return decoupled_contrastive(scores, relation, temperature=1 / (2 * scale))
    return own_softmax(scores, relation, 2 * scale)


@register(
    "criterion",
    "proxy_anchor",
    source=Source("Proxy Anchor Loss for Deep Metric Learning", "Kim, Kim, Cho and Kwak", 2020),
    accepts=LABELLED,
    family="proxy",
    keys="proxies",
    directions="k2q",
    whole=True,
)
def proxy_anchor(scores: Tensor, relation: Rows, *, margin: float = 0.1, scale: float = 32.0) -> Tensor:
    """Each proxy an anchor: the batch's items of its class pulled and the others pushed, the hardest most.

    Definition: 1/|P⁺| Σ_{proxies with positives} log(1 + Σ_p exp(-α (s_p - δ)))
    + 1/|P| Σ_{proxies} log(1 + Σ_n exp(α (s_n + δ))).

    The rows are the proxies (direction k2q). Their mean is the loss, so the first term of a proxy is scaled by
    |P|/|P⁺|, for which the whole matrix is read. Equals pytorch-metric-learning's ProxyAnchorLoss.

    Args:
        scores: ``[n, m]``, a row for each proxy.
        relation: rows of the same shape.
        margin: δ, in units of the score.
        scale: α > 0.

    Returns:
        ``[n]``.
    """
    attract = softplus(ops.logsumexp(scale * (margin - scores), relation.positive))
    repel = softplus(ops.logsumexp_outside(scale * (scores + margin), not_negative(relation)))
    present = relation.positive.any(-1)
    share = present.numel() / present.sum().clamp_min(1).to(scores.dtype)
    return attract * present * share + repel


@register(
    "criterion",
    "soft_triple",
    source=Source(
        "SoftTriple Loss: Deep Metric Learning Without Triplet Sampling", "Qian, Shang, Sun, Hu, Li and Jin", 2019
    ),
    accepts=LABELLED,
    family="proxy",
    needs=BOTH,
    keys="proxies(per_class=10)",
)
def soft_triple(
    scores: Tensor, relation: Rows, *, scale: float = 20.0, gamma: float = 0.1, margin: float = 0.01
) -> Tensor:
    """Several centres a class: softmax over each class's soft-maximum similarity, with a margin on the own.

    Definition: S_c = Σ_k softmax_k(s_ck/γ) s_ck; -log softmax of λ(S_c - δ [c = own]). Equals
    pytorch-metric-learning's SoftTripleLoss (la = λ, its 0.1 for gamma is γ) without its centre regularizer.

    Args:
        scores: ``[..., m]`` cosines with the K centres of each of C classes, m = K C.
        relation: rows of the same shape.
        scale: λ > 0.
        gamma: γ > 0, in units of the score; towards 0 the nearest centre alone counts.
        margin: δ, in units of the score.

    Returns:
        ``[...]``.

    Raises:
        UserError: the proxies cannot be K for each class.
    """
    centres, rows = by_class(scores, relation)
    return own_softmax(soft_nearest(centres, gamma), rows, scale, lambda own: own - margin)


@register(
    "criterion",
    "p2sgrad",
    source=Source("P2SGrad: Refined Gradients for Optimizing Deep Face Models", "Zhang et al.", 2019),
    accepts=LABELLED,
    family="proxy",
    keys="proxies",
)
def p2sgrad(scores: Tensor, relation: Rows) -> Tensor:
    """Mean squared difference of each cosine from 1 for the own class and 0 for the others.

    Definition: 1/m Σ_k (s_k - [k own])², whose gradient is the paper's probability-to-similarity gradient, equation
    11. Equals pytorch-metric-learning's P2SGradLoss.

    Args:
        scores: ``[..., m]`` cosines.
        relation: rows of the same shape.

    Returns:
        ``[...]``.
    """
    return square_to_own(scores, relation)


@register(
    "criterion",
    "unpg",
    source=Source(
        "Unified Negative Pair Generation toward Well-discriminative Feature Space for Face Recognition",
        "Jung, Lee and Oh",
        2022,
    ),
    accepts=LABELLED,
    family="proxy",
    needs=BOTH,
    keys="proxies_and_batch",
    whole=True,
)
class Unpg(torch.nn.Module):
    """A margin softmax whose negatives are the other classes' proxies and all negative pairs of the batch.

    Definition: -log(exp(α f(s_y)) / (exp(α f(s_y)) + Σ_{c≠y} exp(α s_c) + Σ_{pairs} exp(α s_pair))), f the margin of
    ArcFace or CosFace. Pairs outside the whiskers [Q1 - w IQR, Q3 + w IQR] of the batch's negative similarities
    are left out: above they are probably wrong labels. The pairs of the whole batch stand in every row.

    Checked against the authors' public implementation (quartiles by index, each unordered pair once).

    Args:
        margin: in radians for arcface, in units of the cosine for cosface.
        scale: α > 0.
        head: "arcface" or "cosface".
        whisker: w ≥ 0.

    Raises:
        UserError: an unknown head.
    """

    def __init__(self, margin: float = 0.5, scale: float = 64.0, head: str = "arcface", whisker: float = 1.0) -> None:
        super().__init__()
        if head not in ("arcface", "cosface"):
            raise UserError(f"unpg takes head=arcface or head=cosface, not {head!r}")
        self.margin, self.scale, self.head, self.whisker = margin, scale, head, whisker
        self.classes: int | None = None

    def prepare(self, *, dimension: int, classes: int | None, rows: int | None) -> None:
        """The first ``classes`` keys are the proxies."""
        self.classes = classes

    def forward(self, scores: Tensor, relation: Rows) -> Tensor:
        """Scores ``[n, C + m]`` → ``[n]``."""
        if self.classes is None:
            raise UserError("unpg must know which keys are proxies: call objective.prepare(dimension=..., classes=...)")
        proxies, pairs = scores[..., : self.classes], scores[..., self.classes :]
        apart = not_negative(relation)
        mass = ops.logsumexp_outside(proxies * self.scale, apart[..., : self.classes])
        outside = apart[..., self.classes :]
        similarities = pairs.detach()[~outside]
        if len(similarities):
            lowest, highest = self._whiskers(similarities)
            outside = outside | (pairs > highest) | (pairs < lowest)
            mass = torch.logaddexp(mass, ops.drop(pairs * self.scale, outside).logsumexp((-2, -1)))
        return own_terms(scores, relation, changed=self._raised, mass=mass)

    def _whiskers(self, similarities: Tensor) -> tuple[Tensor, Tensor]:
        """The range of ``[P]`` similarities that are kept; very many are sampled evenly for their quartiles."""
        sample = similarities[:: 1 + len(similarities) // MANY]
        lower, upper = (sample.kthvalue(int(share * len(sample)) + 1).values for share in (0.25, 0.75))
        reach = self.whisker * (upper - lower)
        return lower - reach, upper + reach

    def _raised(self, own: Tensor) -> Tensor:
        from similis.criteria.proxy.angular import plus_angle

        return self.scale * (plus_angle(own, self.margin) if self.head == "arcface" else own - self.margin)
