"""Softmax and sigmoid criteria that learn their scale, or a temperature for each sample."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from similis.criteria import ops
from similis.criteria.softmax.infonce import BOTH, RANKING, infonce
from similis.criteria.softmax.terms import (
    Positives,
    known,
    known_mass,
    negative_count,
    negative_mass,
    not_negative,
    softplus,
)
from similis.registry import Source, register
from similis.relation import Rows


@register(
    "criterion",
    "clip",
    source=Source("Learning Transferable Visual Models From Natural Language Supervision", "Radford et al.", 2021),
    accepts=RANKING,
    family="softmax",
    needs=BOTH,
    directions=("q2k", "k2q"),
)
class Clip(nn.Module):
    """Both-sided softmax cross-entropy with a learnt temperature.

    Definition: :func:`infonce` of e^t · s, averaged over queries→keys and keys→queries; t starts at -log τ and e^t
    is kept at or below ``most``.

    Args:
        temperature: τ at the start, in units of the score.
        most: the largest scale e^t.
    """

    def __init__(self, temperature: float = 0.07, most: float = 100.0) -> None:
        super().__init__()
        self.most = most
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))

    def forward(self, scores: Tensor, relation: Rows) -> Tensor:
        """Scores ``[..., m]`` → ``[...]``."""
        scale = self.log_scale.clamp_max(math.log(self.most)).exp()
        return infonce(scores * scale, relation, temperature=1.0)


@register(
    "criterion",
    "siglip",
    source=Source("Sigmoid Loss for Language Image Pre-Training", "Zhai, Mustafa, Kolesnikov and Beyer", 2023),
    accepts=(*RANKING, "labeled_pairs"),
    family="softmax",
)
class SigLip(nn.Module):
    """Logistic loss of every pair by itself, with a learnt scale and bias: no softmax over the batch.

    Definition: -Σ_{known k} log σ(z_k (e^t s_k + b)), z = 1 for positives and -1 for negatives. Checked against
    public copies of the paper's algorithm 1: t starts at log 10, b at -10, the sum runs over the keys and the mean
    over the queries.

    Args:
        scale: e^t at the start.
        bias: b at the start.
    """

    def __init__(self, scale: float = 10.0, bias: float = -10.0) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.bias = nn.Parameter(torch.tensor(float(bias)))

    def forward(self, scores: Tensor, relation: Rows) -> Tensor:
        """Scores ``[..., m]`` → ``[...]``."""
        logits = scores * self.log_scale.exp() + self.bias
        values = softplus(logits)
        values = values if relation.left_out is None else values.masked_fill(relation.left_out, 0.0)
        count = ops.count(relation.positive).to(scores.dtype)
        return values.sum(-1) - Positives.of(logits, relation).mean_score(logits) * count


class _Remembering(nn.Module):
    """A criterion with values remembered for each sample of the data set, once :meth:`prepare` knows how many."""

    def prepare(self, *, dimension: int, classes: int | None, rows: int | None) -> None:
        """Make room for ``rows`` samples."""
        if rows is not None:
            for name, start in self.remembered().items():
                self.register_buffer(name, torch.full((rows,), start))

    def remembered(self) -> dict[str, float]:
        """The buffers and what they start from."""
        return {}

    def recall(self, name: str, relation: Rows, like: Tensor) -> Tensor:
        """``[...]`` values of the rows' samples; the start where nothing is remembered of them."""
        buffer = getattr(self, name, None)
        if buffer is None or relation.samples is None:
            return torch.full_like(like, self.remembered()[name])
        return buffer[relation.samples].to(like)  # type: ignore[no-any-return]

    def learning(self) -> bool:
        """Whether what is seen now is to be remembered: only a pass that trains."""
        return self.training and torch.is_grad_enabled()

    def remember(self, relation: Rows, values: dict[str, Tensor], where: Tensor) -> None:
        """Keep new values of the rows ``where`` they are meant."""
        if relation.samples is None:
            return
        for name, value in values.items():
            buffer = getattr(self, name, None)
            if buffer is not None:
                buffer[relation.samples[where]] = value.detach()[where].to(buffer)


@register(
    "criterion",
    "isogclr",
    source=Source(
        "Not All Semantics are Created Equal: Contrastive Self-supervised Learning with Automatic Temperature "
        "Individualization",
        "Qiu et al.",
        2023,
    ),
    accepts=RANKING,
    family="softmax",
    needs=BOTH,
    surrogate_gradient=True,
)
class IsoGclr(_Remembering):
    """A global contrastive loss with a temperature for each sample, learnt with it: robust to small batches.

    Definition: τ_i log E_n exp((s_in - s_ip)/τ_i) + τ_i ρ. The expectation over all negatives is a moving
    average u_i of the batch's; the gradient with respect to the scores is Σ_n exp((s_in - s_ip)/τ_i)/(N u_i) ·
    ∂(s_in - s_ip), and τ_i descends along log u_i + ρ - Σ_n w_n (s_in - s_ip)/τ_i with momentum.

    Checked against the authors' public implementation (the two-tower one: clipping of τ's gradient at 5 included).
    Averages are kept as logarithms, so no running maximum is needed. Rows whose relation names no sample, and keys
    as rows, have the starting temperature and the batch alone. Several positives enter by their mean score.

    Args:
        temperature: τ_i at the start, in units of the score.
        rho: ρ, the robustness radius; the larger, the lower the temperatures stay.
        decay: γ, weight of the batch in the moving average.
        step: η, learning rate of the temperatures.
        momentum: β, weight of the new gradient of a temperature.
        lowest: least temperature.
        highest: greatest temperature.
    """

    def __init__(
        self,
        temperature: float = 0.05,
        rho: float = 6.0,
        decay: float = 0.8,
        step: float = 0.01,
        momentum: float = 0.5,
        lowest: float = 0.005,
        highest: float = 0.7,
    ) -> None:
        super().__init__()
        self.temperature, self.rho, self.decay = temperature, rho, decay
        self.step, self.momentum, self.lowest, self.highest = step, momentum, lowest, highest

    def remembered(self) -> dict[str, float]:
        """Temperature, log of the average, and the temperature's gradient of each sample."""
        return {"temperatures": self.temperature, "log_average": -math.inf, "slopes": 0.0}

    def forward(self, scores: Tensor, relation: Rows) -> Tensor:
        """Scores ``[..., m]`` → ``[...]``."""
        own = Positives.of(scores, relation).mean_score(scores)
        temperature = self.recall("temperatures", relation, own.detach())
        scaled = (scores - own.unsqueeze(-1)) / temperature.unsqueeze(-1)
        valid = relation.negative.any(-1) & relation.positive.any(-1)
        log_batch = negative_mass(scaled, relation) - negative_count(relation).to(scores.dtype).log()
        log_batch = torch.where(valid, log_batch, torch.zeros_like(log_batch))
        learning = self.learning()
        with torch.no_grad():
            before = self.recall("log_average", relation, log_batch)
            blended = torch.logaddexp(before + math.log1p(-self.decay), log_batch + math.log(self.decay))
            log_average = torch.where(torch.isfinite(before), blended, log_batch)
            ratio = (log_batch - log_average).exp()
            if learning:
                self._adapt(scaled, relation, temperature, log_average, ratio, valid)
        value = ratio * (log_batch - log_batch.detach()) + log_average
        return temperature * (value + self.rho)

    def _adapt(
        self, scaled: Tensor, relation: Rows, temperature: Tensor, log_average: Tensor, ratio: Tensor, valid: Tensor
    ) -> None:
        share = ops.drop(scaled, not_negative(relation)).softmax(-1)
        tilted = ratio * (share * scaled).sum(-1)
        slope = (log_average + self.rho - tilted).clamp(-5.0, 5.0)
        slope = (1 - self.momentum) * self.recall("slopes", relation, slope) + self.momentum * slope
        changed = (temperature - self.step * slope).clamp(self.lowest, self.highest)
        self.remember(relation, {"temperatures": changed, "log_average": log_average, "slopes": slope}, where=valid)


@register(
    "criterion",
    "aldr_kl",
    source=Source(
        "Label Distributionally Robust Losses for Multi-class Classification: Consistency, Robustness and Adaptivity",
        "Zhu, Ying and Yang",
        2023,
    ),
    accepts=RANKING,
    family="softmax",
    needs=BOTH,
    surrogate_gradient=True,
)
class AldrKl(_Remembering):
    """The LDR loss with a temperature for each sample that grows where its label is in doubt.

    Definition: max over λ of λ log(1/K Σ_k exp((s_k - s_p + c_k)/λ)) - (α log K)/(2 λ₀) · (λ - λ₀)², k over the
    known keys, c the margin on negatives. One step of the fixed point λ = λ₀ (1 - KL(π_λ, uniform)/(α log K)) a
    visit, from the λ remembered of the sample; π_λ is the softmax of (s + c)/λ. Certain rows get a small
    temperature, undecided ones (flipped labels) a large one. The gradient takes λ as given.

    Checked against the paper's abstract and a public implementation of the update. Several positives enter by their
    mean score.

    Args:
        temperature: λ₀, in units of the score.
        alpha: α > 1, the stiffness of the temperatures.
        margin: c ≥ 0, in units of the score.
    """

    def __init__(self, temperature: float = 0.1, alpha: float = 2.0, margin: float = 0.0) -> None:
        super().__init__()
        self.temperature, self.alpha, self.margin = temperature, alpha, margin

    def remembered(self) -> dict[str, float]:
        """The temperature of each sample."""
        return {"temperatures": self.temperature}

    def forward(self, scores: Tensor, relation: Rows) -> Tensor:
        """Scores ``[..., m]`` → ``[...]``."""
        own = Positives.of(scores, relation).mean_score(scores)
        if self.margin:
            scores = scores + self.margin * relation.negative
        size = ops.count(relation.known).clamp_min(2).to(scores.dtype)
        learning = self.learning()
        with torch.no_grad():
            before = self.recall("temperatures", relation, own)
            temperature = self._settled(known(scores / before.unsqueeze(-1), relation), size.log())
            if learning:
                self.remember(relation, {"temperatures": temperature}, where=relation.known.any(-1))
        everything = known_mass(scores / temperature.unsqueeze(-1), relation)
        worst = temperature * (everything - size.log()) - own
        return worst - self.alpha * size.log() / (2 * self.temperature) * (temperature - self.temperature).square()

    def _settled(self, scaled: Tensor, entropy: Tensor) -> Tensor:
        """``[...]``: the next temperature of each row."""
        mass = scaled.logsumexp(-1, keepdim=True)
        share = (scaled - mass).exp()
        divergence = (share * (scaled - mass)).sum(-1) + entropy
        return (self.temperature * (1 - divergence / (self.alpha * entropy))).clamp_min(self.temperature / 20)
