"""Adam that updates only the rows of a matrix that got a gradient, and clipping that knows such gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from similis.errors import UserError

#: Elements of a matrix from which on loading the compiled step pays.
_COMPILED = 1 << 20


class RowAdam(torch.optim.Optimizer):
    """Adam whose unit is a row: rows absent from a sparse gradient keep their value and their moments.

    Each row counts its own steps, and its moments are bias-corrected by that count: the first update of a rare
    token is one learning rate long whenever it comes (with a global count, as in torch's SparseAdam, it is
    (1 - b1)/sqrt(1 - b2), 3.2 learning rates at the default betas). On a dense gradient every row is touched at
    every step, and the result is Adam's (AdamW's with ``weight_decay``). All state is in ``state_dict``, so a
    resumed run goes on bit for bit.

    Args:
        params: tensors of at least one dimension, or groups of them; gradients dense or sparse
            with one sparse dimension.
        lr: learning rate.
        betas: decay of the first and second moment.
        eps: added to the root of the second moment.
        weight_decay: decoupled, times the learning rate, on touched rows only.

    Raises:
        UserError: a setting out of range.

    Source: Kingma & Ba, "Adam: a method for stochastic optimization", 2015; decoupled decay: Loshchilov &
    Hutter, "Decoupled weight decay regularization", 2019. Checked against torch.optim.AdamW.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        if lr < 0 or eps <= 0 or weight_decay < 0 or not all(0 <= beta < 1 for beta in betas):
            raise UserError(
                "RowAdam needs lr >= 0, eps > 0, weight_decay >= 0 and betas in [0, 1), got"
                f" lr={lr}, eps={eps}, weight_decay={weight_decay}, betas={betas}"
            )
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)
        return loss

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
            # a float counts exactly to 16 million and survives load_state_dict, which casts to the parameter
            state["row_steps"] = torch.zeros(len(parameter), device=parameter.device)
        assert parameter.grad is not None
        gradient = parameter.grad
        held = (parameter, state["exp_avg"], state["exp_avg_sq"], state["row_steps"])
        if not gradient.is_sparse:
            _adam(*held, gradient, group)
            return
        rows, gradient = row_gradient(gradient)
        if parameter.numel() >= _COMPILED and all(map(_plain, (*held, gradient))):
            from similis.training.trainees.row_adam_kernel import update_rows

            settings = tuple(
                float(each) for each in (group["lr"], *group["betas"], group["eps"], group["weight_decay"])
            )
            flat = (t.reshape(len(t), -1) for t in (*held[:3], gradient))
            value, mean, square, slopes = (t.detach().numpy() for t in flat)
            update_rows(value, mean, square, held[3].numpy(), rows.numpy(), slopes, settings)
            return
        value, mean, square, steps = parts = [whole.index_select(0, rows) for whole in held]
        _adam(value, mean, square, steps, gradient, group)
        for whole, part in zip(held, parts, strict=True):
            whole.index_copy_(0, rows, part)


def _plain(values: Tensor) -> bool:
    """Whether NumPy sees the values as they lie, in single precision."""
    return values.device.type == "cpu" and values.dtype == torch.float32 and values.is_contiguous()


def _adam(
    value: Tensor,
    mean: Tensor,
    square: Tensor,
    steps: Tensor,
    gradient: Tensor,
    group: dict[str, Any],
) -> None:
    """One step in place; ``steps`` ``[rows]`` counts, the others are ``[rows, ...]``."""
    beta1, beta2 = group["betas"]
    steps.add_(1)
    mean.lerp_(gradient, 1 - beta1)
    square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    # in double: 1 - beta2**1 loses four digits in single precision
    counts = steps.double().reshape(-1, *[1] * (value.dim() - 1))
    correct1 = (1 - beta1**counts).to(value.dtype)
    correct2 = (1 - beta2**counts).sqrt().to(value.dtype)
    if group["weight_decay"]:
        value.mul_(1 - group["lr"] * group["weight_decay"])
    length = square.sqrt().div_(correct2).add_(group["eps"]).mul_(correct1)
    value.addcdiv_(mean, length, value=-group["lr"])


def row_gradient(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct rows ``[u]`` of a sparse gradient, ascending, and their values ``[u, ...]``."""
    if not gradient.is_coalesced():  # several backward passes met in one gradient
        gradient = gradient.coalesce()
    return gradient.indices()[0], gradient.values()


@torch.no_grad()
def clip_gradient(parameters: Iterable[Tensor], max_norm: float) -> float:
    """Scale all gradients, dense and sparse, so that their joint L2 norm is at most ``max_norm``.

    Returns:
        The norm before clipping.
    """
    values = []
    for parameter in parameters:
        if parameter.grad is None:
            continue
        if parameter.grad.is_sparse and not parameter.grad.is_coalesced():
            parameter.grad = parameter.grad.coalesce()  # the norm is that of the sums, not of their terms
        values.append(parameter.grad._values() if parameter.grad.is_sparse else parameter.grad)
    norm = (
        float(torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(v) for v in values]))) if values else 0.0
    )
    if norm > max_norm:
        for value in values:
            value.mul_(max_norm / (norm + 1e-6))
    return norm
