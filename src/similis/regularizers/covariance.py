"""Penalties on the covariance of embeddings: variance, decorrelation, isotropy, volume."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from similis.registry import Source, register

_VICREG = Source(
    "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning",
    "Bardes, Ponce and LeCun",
    2022,
)


def covariance_of(embeddings: Tensor) -> Tensor:
    """``[n, d]`` → ``[d, d]`` unbiased covariance; zeros for one item."""
    made: Tensor = _Covariance.apply(embeddings)  # type: ignore[no-untyped-call]
    return made


class _Covariance(torch.autograd.Function):
    """The covariance without keeping a centred copy: the gradient needs none."""

    @staticmethod
    def forward(ctx: Any, embeddings: Tensor) -> Tensor:
        ctx.save_for_backward(embeddings)
        centred = embeddings - embeddings.mean(0)
        return centred.T @ centred / max(1, len(embeddings) - 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor]:
        (embeddings,) = ctx.saved_tensors
        slope = (outer[0] + outer[0].T) / max(1, len(embeddings) - 1)
        # centred rows times the slope; their columns sum to 0, so that nothing is left to pass on to the mean
        return (torch.addmm(embeddings.mean(0) @ slope, embeddings, slope, beta=-1),)


class _Variance(torch.autograd.Function):
    """The unbiased variance of each dimension, 0 for one item, whose gradient is the only array of its size."""

    @staticmethod
    def forward(ctx: Any, embeddings: Tensor) -> Tensor:
        made, mean = torch.var_mean(embeddings, 0, correction=min(1, len(embeddings) - 1))
        ctx.save_for_backward(embeddings, mean)
        return made

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor]:
        embeddings, mean = ctx.saved_tensors
        slope = outer[0] * (2 / max(1, len(embeddings) - 1))
        return ((embeddings - mean).mul_(slope),)


@register("regularizer", "variance", source=_VICREG, family="covariance")
def variance(embeddings: Tensor, *, target: float = 1.0, epsilon: float = 1e-4) -> Tensor:
    """Mean over dimensions of [target - sqrt(var + ε)]_+: no dimension may collapse (VICReg).

    Checked against public copies of the authors' code, which takes the mean of the two sides.
    """
    variances: Tensor = _Variance.apply(embeddings)  # type: ignore[no-untyped-call]
    return (target - (variances + epsilon).sqrt()).clamp_min(0).mean()


@register("regularizer", "covariance", source=_VICREG, family="covariance")
def covariance(embeddings: Tensor) -> Tensor:
    """Squared off-diagonal covariances, summed and divided by d: decorrelated dimensions (VICReg).

    Checked against public copies of the authors' code, which adds up the two sides.
    """
    matrix = covariance_of(embeddings)
    return (matrix.square().sum() - matrix.diagonal().square().sum()) / embeddings.shape[-1]


@register(
    "regularizer",
    "barlow_twins",
    source=Source(
        "Barlow Twins: Self-Supervised Learning via Redundancy Reduction", "Zbontar, Jing, Misra, LeCun and Deny", 2021
    ),
    family="covariance",
    reads="pairs",
)
def barlow_twins(queries: Tensor, keys: Tensor, *, off_diagonal: float = 0.005) -> Tensor:
    """Σ_d (1 - C_dd)² + λ Σ_{d≠e} C_de², C the cross-correlation of the two sides standardised over the batch."""
    correlation = _standardised(queries).T @ _standardised(keys) / len(queries)
    diagonal = correlation.diagonal()
    rest = correlation.square().sum() - diagonal.square().sum()
    return (1 - diagonal).square().sum() + off_diagonal * rest


def _standardised(embeddings: Tensor) -> Tensor:
    centred = embeddings - embeddings.mean(0)
    return centred / (centred.square().mean(0) + 1e-12).sqrt()


@register(
    "regularizer",
    "isotropy",
    source=Source("Stable Anisotropic Regularization", "Rudman and Eickhoff", 2024),
    family="covariance",
)
def isotropy(embeddings: Tensor, *, shrinkage: float = 0.0) -> Tensor:
    """1 - IsoScore*: 0 for an isotropic cloud, 1 for one on a line; a negative weight presses the other way (I-STAR).

    The eigenvalues λ of the covariance, scaled to norm √d, have the distance δ = ‖λ - 1‖/sqrt(2(d - √d)) from the
    all-ones vector; then φ = (d - δ²(d - √d))²/d² is the share of dimensions used and IsoScore* = (dφ - 1)/(d - 1).
    ``shrinkage`` ζ mixes in the identity of equal trace, which keeps the eigenvalues stable for small batches
    (the paper mixes in a reference covariance of the data). Checked against the authors' published code.
    """
    d = embeddings.shape[-1]
    matrix = covariance_of(embeddings)
    if shrinkage:
        mean = matrix.diagonal().mean()
        matrix = (1 - shrinkage) * matrix + shrinkage * mean * torch.eye(d).to(matrix)
    values: Tensor = torch.linalg.eigvalsh(matrix)
    scaled = values * d**0.5 / values.square().sum().clamp_min(1e-24).sqrt()
    defect = (scaled - 1).square().sum() / (2 * (d - d**0.5))
    used = (d - defect * (d - d**0.5)).square() / d**2
    star: Tensor = (d * used - 1) / (d - 1)
    return 1 - star


@register(
    "regularizer",
    "least_volume",
    source=Source("Compressing Latent Space via Least Volume", "Chen and Fuge", 2024),
    family="covariance",
)
def least_volume(embeddings: Tensor, *, eta: float = 1e-2) -> Tensor:
    """Geometric mean over dimensions of (standard deviation + η): flattens the dimensions that are not needed."""
    centred = embeddings - embeddings.mean(0)
    spread = (centred.square().mean(0) + 1e-12).sqrt()
    return (spread + eta).log().mean().exp()


@register(
    "regularizer",
    "matrix_entropy",
    source=Source("Matrix Information Theory for Self-Supervised Learning", "Zhang, Tan, Yang, Huang and Yuan", 2024),
    family="covariance",
)
def matrix_entropy(embeddings: Tensor) -> Tensor:
    """Minus the von Neumann entropy of the uncentred covariance of unit embeddings, in nats: -H is least when flat."""
    unit = torch.nn.functional.normalize(embeddings, dim=-1)
    values: Tensor = torch.linalg.eigvalsh(unit.T @ unit / len(unit)).clamp_min(1e-12)
    return (values * values.log()).sum()
