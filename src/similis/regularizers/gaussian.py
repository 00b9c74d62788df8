"""Penalties on Gaussian embeddings ``[n, 2d]``: variances neither vanish nor explode."""

from __future__ import annotations

from torch import Tensor

from similis.registry import Source, register
from similis.similarity.gaussian import gaussian


@register(
    "regularizer",
    "gaussian_prior",
    source=Source(
        "Modeling Uncertainty with Hedged Instance Embedding", "Oh, Murphy, Pan, Roth, Schroff and Gallagher", 2019
    ),
    family="gaussian",
)
def gaussian_prior(embeddings: Tensor) -> Tensor:
    """Mean over items of KL(N(μ, σ²) ‖ N(0, I)) = ½Σ_d (μ² + σ² - log σ² - 1): HIB's bottleneck, weighted 1e-4 there.

    Args:
        embeddings: ``[n, 2d]``, means and raw variances as the Gaussian similarities read them.

    Raises:
        UserError: the dimension is odd.
    """
    mean, variance = gaussian(embeddings)
    return (mean.square() + variance - variance.log() - 1).sum(-1).mean() / 2
