"""Kernels of the Euclidean distance, in 0..1: 1 for equal vectors, falling with distance."""

from __future__ import annotations

from torch import Tensor

from similis.errors import UserError
from similis.registry import Source, register
from similis.similarity.vector import Euclidean


@register(
    "similarity",
    "rbf",
    source=Source("Multivariable functional interpolation and adaptive networks", "Broomhead and Lowe", 1988),
    family="kernel",
)
class Rbf(Euclidean):
    """Gaussian kernel exp(-γ‖q - k‖²); same order as the Euclidean distance, so it reduces likewise.

    Args:
        gamma: γ > 0, per squared unit of distance.
    """

    def __init__(self, gamma: float = 1.0) -> None:
        super().__init__(squared=True)
        if gamma <= 0:
            raise UserError(f"rbf needs gamma above 0, as in rbf(gamma=1.0), not {gamma}")
        self.gamma = gamma

    def finish(self, products: Tensor, offset: Tensor | None) -> Tensor:
        return (self.gamma * super().finish(products, offset)).exp()


@register(
    "similarity",
    "student_t",
    source=Source("Visualizing Data using t-SNE", "van der Maaten and Hinton", 2008),
    family="kernel",
)
class StudentT(Euclidean):
    """Student-t kernel (1 + ‖q - k‖²/ν)^(-(ν + 1)/2): heavy tails, so that far pairs still have a gradient.

    ν = 1 is t-SNE's 1/(1 + ‖q - k‖²).

    Args:
        freedom: ν > 0, degrees of freedom.
    """

    def __init__(self, freedom: float = 1.0) -> None:
        super().__init__(squared=True)
        if freedom <= 0:
            raise UserError(f"student_t needs freedom above 0, as in student_t(freedom=1.0), not {freedom}")
        self.freedom = freedom

    def finish(self, products: Tensor, offset: Tensor | None) -> Tensor:
        return (1 - super().finish(products, offset) / self.freedom).pow(-(self.freedom + 1) / 2)
