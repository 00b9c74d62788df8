"""The static encoder as a torch module: only the rows of the batch's tokens get a gradient."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from similis.encoders.static.tokenized import TokenizedTexts


class StaticModule(nn.Module):
    """Token vectors ``[V, d]``; a text's vector is the mean of its tokens' rows, zero for no tokens.

    The gradient of ``weight`` is a coalesced sparse tensor holding the rows of the batch's distinct tokens:
    clip with ``similis.training.trainees.row_adam.clip_gradient`` and step with its ``RowAdam``, which touch these rows
    alone. ``sparse=False`` gives the dense gradient that any torch optimiser takes.

    Args:
        weights: initial float32 ``[V, d]``; copied.
        sparse: the layout of the gradient.
    """

    def __init__(self, weights: NDArray[np.float32] | Tensor, *, sparse: bool = True) -> None:
        super().__init__()
        copied = weights.detach().clone() if isinstance(weights, Tensor) else torch.from_numpy(np.array(weights))
        self.weight = nn.Parameter(copied.contiguous())
        self.sparse = sparse

    def forward(self, flat_ids: Tensor, offsets: Tensor) -> Tensor:
        """Mean vectors ``[n, d]``.

        Args:
            flat_ids: token ids of all texts one after another, integer ``[tokens]``.
            offsets: integer ``[n + 1]`` as in :class:`TokenizedTexts`: text i is
                ``flat_ids[offsets[i]:offsets[i + 1]]``.
        """
        arguments = (self.weight, flat_ids.long(), offsets.long(), self.sparse)
        return cast(Tensor, _MeanOfRows.apply(*arguments))  # type: ignore[no-untyped-call]

    def encode(self, texts: TokenizedTexts) -> Tensor:
        """Mean vectors ``[n, d]`` of tokenised texts, on the module's device."""
        device = self.weight.device
        ids = torch.from_numpy(np.array(texts.ids, dtype=np.int64)).to(device)
        return self.forward(ids, torch.from_numpy(np.array(texts.offsets)).to(device))

    def weights(self) -> NDArray[np.float32]:
        """A float32 copy ``[V, d]`` for :class:`similis.encoders.static.encoder.StaticEncoder`."""
        return self.weight.detach().cpu().float().numpy().copy()


class _MeanOfRows(torch.autograd.Function):
    """EmbeddingBag's mean with a backward that is itself a bag: token t's gradient is the sum, over the texts
    that hold t, of count/length times the text's gradient. Summing this way costs a quarter of torch's own
    backward (18.5 ms against 4.3 ms for 1,024 texts of 170 tokens, d = 256, one thread)."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, ids: Tensor, offsets: Tensor, sparse: bool) -> Tensor:
        ctx.save_for_backward(ids, offsets)
        ctx.shape, ctx.sparse = weight.shape, sparse
        return nn.functional.embedding_bag(ids, weight, offsets, mode="mean", include_last_offset=True)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        ids, offsets = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        by_token = _by_token_scipy if gradient.device.type == "cpu" else _by_token_torch
        tokens, texts, starts, shares = by_token(ids, offsets, ctx.shape[0], gradient.dtype)
        rows = nn.functional.embedding_bag(texts, gradient, starts, mode="sum", per_sample_weights=shares)
        if ctx.sparse:
            result = torch.sparse_coo_tensor(tokens[None], rows, ctx.shape, is_coalesced=True, check_invariants=False)
            return result, None, None, None
        dense = torch.zeros(ctx.shape, dtype=rows.dtype, device=rows.device)
        return dense.index_copy_(0, tokens, rows), None, None, None


_Turned = tuple[Tensor, Tensor, Tensor, Tensor]


def _by_token_scipy(ids: Tensor, offsets: Tensor, vocabulary: int, dtype: torch.dtype) -> _Turned:
    """The batch turned round: distinct tokens; for each the texts that hold it, and 1/length of these texts.

    Turning a CSR matrix into CSC is a counting sort, several times faster than comparing token numbers.
    """
    import scipy.sparse

    sizes = offsets.diff().numpy()
    shares = np.repeat(1.0 / np.maximum(sizes, 1), sizes)
    matrix = scipy.sparse.csr_matrix((shares, ids.numpy(), offsets.numpy()), (len(sizes), vocabulary)).tocsc()
    matrix.sum_duplicates()
    tokens = np.flatnonzero(np.diff(matrix.indptr))
    return (
        torch.from_numpy(tokens.astype(np.int64)),
        torch.from_numpy(matrix.indices.astype(np.int64)),
        torch.from_numpy(matrix.indptr[tokens].astype(np.int64)),
        torch.from_numpy(matrix.data).to(dtype),
    )


def _by_token_torch(ids: Tensor, offsets: Tensor, vocabulary: int, dtype: torch.dtype) -> _Turned:
    """The same in torch, for accelerators."""
    sizes = offsets.diff()
    texts = torch.repeat_interleave(torch.arange(len(sizes), device=ids.device), sizes)
    order = torch.argsort(ids, stable=True)
    tokens, counts = torch.unique_consecutive(ids[order], return_counts=True)
    shares = (1.0 / sizes.clamp(min=1).to(dtype)).index_select(0, texts)
    return tokens, texts[order], torch.cumsum(counts, 0) - counts, shares[order]
