"""A criterion for judgements that were only asked for where some retriever looked."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from similis.criteria import ops
from similis.criteria.softmax.infonce import BOTH, RANKING
from similis.criteria.softmax.terms import softplus
from similis.registry import Source, register
from similis.relation import Rows


@register(
    "criterion",
    "coupled_estimation",
    source=Source(
        "Hard Negatives or False Negatives: Correcting Pooling Bias in Training Neural Ranking Models",
        "Cai, Guo, Fan, Ai, Zhang and Cheng",
        2022,
    ),
    accepts=RANKING,
    family="softmax",
    needs=BOTH,
    each_positive=True,
    surrogate_gradient=True,
)
class CoupledEstimation(nn.Module):
    """Pairwise logistic loss whose negatives count by how likely an annotator saw them: a key never shown is no proof.

    Definition: mean over p, n of w(o_n) log(1 + exp(r_n - r_p)) + w(r_n) log(1 + exp(o_n - o_p)), with
    w(x) = 1/(1 - σ(x/ρ)) = 1 + exp(x/ρ) not differentiated and at most ``largest``, r = s/τ the relevance and
    o = a · guide + b the selection model over the guide's scores (those of the retriever that made the pool). The
    first term debiases relevance by selection, the second selection by relevance (CET). Without a guide it is the
    pairwise logistic loss. Checked against the authors' code (pairs, detached weights, ρ = 2), where both models are
    cross-encoders and no weight is capped; the shift b only matters to the weights, so it is not learnt.

    Args:
        temperature: τ > 0, in units of the score.
        debias: ρ > 0; larger is nearer to equal weights.
        scale: a at the start; learnt.
        shift: b.
        largest: weight of a pair.
    """

    def __init__(
        self,
        temperature: float = 0.1,
        debias: float = 2.0,
        scale: float = 1.0,
        shift: float = 0.0,
        largest: float = 100.0,
    ) -> None:
        super().__init__()
        self.temperature, self.debias, self.shift, self.largest = temperature, debias, shift, largest
        self.scale = nn.Parameter(torch.tensor(float(scale)))

    def forward(self, scores: Tensor, relation: Rows) -> Tensor:
        """Scores ``[..., m]`` → ``[...]``."""
        relevance = scores / self.temperature
        if relation.guide is None:
            return _pairwise(relevance, relation.negative.to(scores.dtype), relation)
        selection = self.scale * relation.guide.to(scores.dtype) + self.shift
        return _pairwise(relevance, self._weight(selection, relation), relation) + _pairwise(
            selection, self._weight(relevance, relation), relation
        )

    def _weight(self, judged: Tensor, relation: Rows) -> Tensor:
        """``[..., m]`` inverse probability that a key is without the other model's reason; 0 but for negatives."""
        raised = (judged.detach() / self.debias).clamp_max(50.0).exp() + 1
        return torch.where(relation.negative, raised.clamp_max(self.largest), 0.0)

    def selected(self, guide: Tensor) -> Tensor:
        """``[..., m]`` estimated probability that a key of these guide scores was looked at."""
        return torch.sigmoid((self.scale * guide + self.shift) / self.debias)


def _pairwise(scores: Tensor, weight: Tensor, relation: Rows) -> Tensor:
    """``[..., m]`` → ``[...]``: weighted mean over (positive, negative) of log(1 + exp(s_n - s_p))."""
    index, real = ops.gather_positives(relation.positive)
    own = scores.gather(-1, index)
    terms = softplus(scores.unsqueeze(-2) - own.unsqueeze(-1)) * weight.unsqueeze(-2)
    pairs = (ops.count(real) * ops.count(relation.negative)).clamp_min(1)
    return (terms.sum(-1) * real).sum(-1) / pairs
