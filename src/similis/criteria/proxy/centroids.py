"""Criteria over class centroids: prototypical networks, angular prototypical, GE2E."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from similis.criteria import ops
from similis.criteria.softmax.infonce import BOTH, LABELLED
from similis.criteria.softmax.terms import Positives, not_negative, own_terms
from similis.errors import UserError
from similis.registry import Source, register
from similis.relation import Rows


@register(
    "criterion",
    "prototypical",
    source=Source("Prototypical Networks for Few-shot Learning", "Snell, Swersky and Zemel", 2017),
    accepts=LABELLED,
    family="proxy",
    needs=BOTH,
    keys="centroids",
    similarity="euclidean(squared=True)",
)
def prototypical(scores: Tensor, relation: Rows, *, temperature: float = 1.0) -> Tensor:
    """Softmax cross-entropy over minus squared distances to the centroids of the classes in the batch.

    Definition: -log(exp(s_y/τ) / Σ_c exp(s_c/τ)), s_c = -‖q - centroid_c‖². The own centroid is that of the other
    items of the class (leave one out), so each item of a balanced batch is a query once; with separate keys
    (a support set) the centroids are the keys' and the loss is the paper's for one episode.

    Args:
        scores: ``[..., m]``.
        relation: rows of the same shape.
        temperature: τ > 0, in units of the score.

    Returns:
        ``[...]``.
    """
    return own_terms(scores / temperature, relation)


class _Affine(nn.Module):
    """A learnt scale above zero and a learnt bias of cosines."""

    def __init__(self, scale: float, bias: float) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.bias = nn.Parameter(torch.tensor(float(bias)))

    def logits(self, scores: Tensor) -> Tensor:
        return scores * self.log_scale.exp() + self.bias


@register(
    "criterion",
    "angular_prototypical",
    source=Source("In defence of metric learning for speaker recognition", "Chung et al.", 2020),
    accepts=LABELLED,
    family="proxy",
    needs=BOTH,
    keys="centroids",
)
class AngularPrototypical(_Affine):
    """Softmax cross-entropy over w cos(q, centroid) + b, w and b learnt: the prototypical loss on angles.

    Definition: cross-entropy of softmax(w cos(q, c) + b), w > 0 kept as the exponential of a parameter. The paper
    takes one item of a class as query and the others as its centroid; here each item is the query in turn. b
    cancels in the softmax and is there for scoring. Checked against the authors' public implementation.

    Args:
        scale: w at the start.
        bias: b at the start.
    """

    def __init__(self, scale: float = 10.0, bias: float = -5.0) -> None:
        super().__init__(scale, bias)

    def forward(self, scores: Tensor, relation: Rows) -> Tensor:
        """Scores ``[..., m]`` → ``[...]``."""
        return own_terms(self.logits(scores), relation)


@register(
    "criterion",
    "ge2e",
    source=Source("Generalized End-to-End Loss for Speaker Verification", "Wan, Wang, Papir and Lopez Moreno", 2018),
    accepts=LABELLED,
    family="proxy",
    needs=BOTH,
    keys="centroids",
)
class Ge2e(_Affine):
    """Each item against all centroids of the batch, its own computed without it, as softmax or contrast.

    Definition: S_c = w cos(e, c) + b, w > 0; softmax form -S_y + log Σ_c exp S_c, contrast form
    1 - σ(S_y) + max_{c≠y} σ(S_c). Checked against a public implementation. (The paper sums over the items; the
    reduction says mean or sum here.)

    Args:
        form: "softmax" (text-independent data) or "contrast" (text-dependent).
        scale: w at the start.
        bias: b at the start.

    Raises:
        UserError: an unknown form.
    """

    def __init__(self, form: str = "softmax", scale: float = 10.0, bias: float = -5.0) -> None:
        super().__init__(scale, bias)
        if form not in ("softmax", "contrast"):
            raise UserError(f"ge2e takes form='softmax' or form='contrast', not {form!r}")
        self.form = form

    def forward(self, scores: Tensor, relation: Rows) -> Tensor:
        """Scores ``[..., m]`` → ``[...]``."""
        logits = self.logits(scores)
        if self.form == "softmax":
            return own_terms(logits, relation)
        own = Positives.of(logits, relation)
        nearest = torch.sigmoid(ops.drop(logits, not_negative(relation)).amax(-1))
        return 1 - own.mean(torch.sigmoid(own.take(logits))) + nearest
