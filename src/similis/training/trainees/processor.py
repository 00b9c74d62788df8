"""What makes a transformer's passes cheaper where it is trained on a processor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

#: Values of a draw of 16 bits: shares that are dropped are whole numbers of them.
_DRAWS = 2**16


def quickened(module: nn.Module) -> Callable[[], None]:
    """Let products, dropout and the lookups of embeddings in a model on a processor cost less; returns what undoes it.

    The parts stay the same objects and take another class of the same name. Elsewhere than on a processor nothing is
    changed.
    """
    if any(parameter.device.type != "cpu" for parameter in module.parameters()):
        return lambda: None
    changed: list[tuple[nn.Module, type[nn.Module]]] = []
    for part in module.modules():
        own = _CHEAPER.get(type(part))
        if own is None or (isinstance(part, nn.Embedding) and not _plain(part)):
            continue
        changed.append((part, type(part)))
        part.__class__ = own

    def undo() -> None:
        for part, before in changed:
            part.__class__ = before
            _VIEWS.pop(part, None)

    return undo


def _plain(part: nn.Embedding) -> bool:
    return part.max_norm is None and not part.scale_grad_by_freq and not part.sparse


class Linear(nn.Linear):
    """A linear layer in float32 by oneDNN, whose products take less time than torch's default.

    On an AMD EPYC it is a seventh, of the layer itself and of the gradient of its rows; that of the weight is as fast
    by either.
    """

    def forward(self, rows: Tensor) -> Tensor:
        """As torch's: ``[..., in]`` to ``[..., out]``."""
        exact = rows.dtype == self.weight.dtype == torch.float32 and rows.dim() > 1
        if not exact or not torch.backends.mkldnn.is_available() or torch.is_autocast_enabled("cpu"):
            return super().forward(rows)
        made: Tensor = _Product.apply(rows, self.weight, self.bias)  # type: ignore[no-untyped-call]
        return made


class _Product(torch.autograd.Function):
    """``[..., in]`` rows, a weight ``[out, in]`` and a bias ``[out]`` or None → ``[..., out]``."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(rows, weight)
        made: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "none")
        return made

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        rows, weight = ctx.saved_tensors
        to_rows, to_weight, to_bias = ctx.needs_input_grad
        gradient = outer[0].flatten(0, -2)
        return (
            _Product.apply(outer[0], weight.T, None) if to_rows else None,  # type: ignore[no-untyped-call]
            gradient.T @ rows.flatten(0, -2) if to_weight else None,
            gradient.sum(0) if to_bias else None,
        )


class Dropout(nn.Dropout):
    """Dropout by a comparison of draws of 16 bits from torch's generator: a quarter of the cost of torch's own.

    The share that is dropped is the multiple of 2⁻¹⁶ nearest to ``p``, and what is kept is divided by exactly the
    share that is kept, so that the mean stays.
    """

    def forward(self, numbers: Tensor) -> Tensor:
        """As torch's: of any shape, and of the same type."""
        dropped = round(self.p * _DRAWS)
        if not self.training or self.inplace or not 0 < dropped < _DRAWS:
            return super().forward(numbers)
        # a number of 64 bits is four draws
        wide = torch.empty(-(-numbers.numel() // 4), dtype=torch.int64, device=numbers.device).random_(-(2**63), None)
        draws = wide.view(torch.int16)[: numbers.numel()].view(numbers.shape)
        mask = draws >= dropped - _DRAWS // 2
        kept: Tensor = _Kept.apply(numbers, mask, _DRAWS / (_DRAWS - dropped))  # type: ignore[no-untyped-call]
        return kept


class _Kept(torch.autograd.Function):
    """Numbers where a mask holds, times a factor; only the mask is remembered."""

    @staticmethod
    def forward(ctx: Any, numbers: Tensor, mask: Tensor, factor: float) -> Tensor:
        ctx.save_for_backward(mask)
        ctx.factor = factor
        return (numbers * mask).mul_(factor)

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None, None]:
        (mask,) = ctx.saved_tensors
        gradient: Tensor = _Kept.apply(outer[0], mask, ctx.factor)  # type: ignore[no-untyped-call]
        return gradient, None, None


class Embedding(nn.Embedding):
    """A table of vectors whose passes give the gradients of the rows they read, where these are few.

    All passes of a step read one view of the weight, which makes of the sum of their rows one gradient of the
    weight's own shape. Torch's own makes a matrix of mostly zeros in each pass, which can cost more than a layer.
    """

    def forward(self, ids: Tensor) -> Tensor:
        """As torch's: ids of any shape → their vectors."""
        few = ids.numel() < self.num_embeddings
        if not few or not torch.is_grad_enabled() or not self.weight.requires_grad:
            return super().forward(ids)
        return nn.functional.embedding(ids, _view(self), self.padding_idx, sparse=True)


#: The view that an embedding's passes read, and the weight it was made of: which, where and in what version. Not an
#: attribute of the embedding: it could not be copied with it.
_VIEWS: WeakKeyDictionary[nn.Module, tuple[tuple[int, int, int], Tensor]] = WeakKeyDictionary()


def _view(part: Embedding) -> Tensor:
    state = id(part.weight), part.weight.data_ptr(), part.weight._version
    known = _VIEWS.get(part)
    if known is None or known[0] != state:
        view: Tensor = _Dense.apply(part.weight)  # type: ignore[no-untyped-call]
        known = _VIEWS[part] = state, view
    return known[1]


class _Dense(torch.autograd.Function):
    """The same numbers; a gradient of rows becomes one of the whole shape."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        return weight.view_as(weight)

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> Tensor:
        return outer[0].to_dense()


_CHEAPER: dict[type[nn.Module], type[nn.Module]] = {nn.Linear: Linear, nn.Dropout: Dropout, nn.Embedding: Embedding}
