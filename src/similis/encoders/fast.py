"""Faster encoding by a transformer: its matrix products in bfloat16, laid out once for the processor.

A processor with bfloat16 instructions multiplies twice as many numbers a second as in float32. Weights are brought
into the processor library's own layout once instead of at each call, and the activation between the two halves of a
layer is taken while a product is still in the cache. Token vectors are pooled and normalised in float32.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from similis.encoders.base import Vectors, unit_rows
from similis.encoders.library.dense import SentenceTransformerEncoder
from similis.encoders.library.encoder import EncoderModule
from similis.errors import UserError, did_you_mean

#: What may be asked for; see :func:`fast`.
PRECISIONS = ("auto", "float32", "bfloat16")
#: The lowest cosine to float32, averaged over a sample, at which a faster encoder is still given out.
LEAST_COSINE = 0.99
#: Nearest neighbours whose agreement is told, and texts a sample must have to have them.
_NEAREST = 10
#: Rows of a product for which the processor library chooses its layout; others are as fast.
_ROWS = 2048


@dataclass(frozen=True)
class Fidelity:
    """How near a faster encoder's vectors are to those in float32, on a sample.

    Attributes:
        texts: how many texts were compared.
        cosine: mean cosine of a text's two vectors.
        worst: the smallest of these cosines.
        neighbours: mean share, 0..1, of a text's ten nearest in float32 that are among its ten nearest; nan for
            fewer than twelve texts, which have no ten nearest to tell apart.
    """

    texts: int
    cosine: float
    worst: float
    neighbours: float

    def __str__(self) -> str:
        said = f"cosine to float32 {self.cosine:.5f} (worst {self.worst:.5f})"
        if not np.isnan(self.neighbours):
            said += f", {self.neighbours:.1%} of the ten nearest the same"
        return f"{said}, on {self.texts} texts"


def fidelity(exact: Vectors, fast: Vectors) -> Fidelity:
    """Compare vectors ``[n, d]`` of the same texts, row by row and by who is nearest to whom."""
    first, second = unit_rows(exact), unit_rows(fast)
    cosines = np.einsum("nd,nd->n", first, second)
    shared = float("nan")
    if len(first) >= _NEAREST + 2:
        near = [_nearest(each) for each in (first, second)]
        shared = float(np.mean([len(set(a) & set(b)) / _NEAREST for a, b in zip(*near, strict=True)]))
    return Fidelity(len(first), float(cosines.mean()), float(cosines.min()), shared)


def _nearest(vectors: Vectors) -> list[list[int]]:
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -np.inf)
    return cast(list[list[int]], np.argsort(-scores, axis=1, kind="stable")[:, :_NEAREST].tolist())


class FastEncoder(SentenceTransformerEncoder):
    """A dense transformer that computes in bfloat16; see :func:`fast`.

    Args:
        original: the encoder in float32; kept as it is, for saving and for :meth:`compare`.
    """

    precision = "bfloat16"

    def __init__(self, original: SentenceTransformerEncoder) -> None:
        super().__init__(_in_bfloat16(original.model))
        self.original = original
        self.similarity_name = original.similarity_name

    @property
    def fingerprint(self) -> str:
        """32 hex digits: other than the original's, because the vectors are."""
        return hashlib.sha256(f"{self.precision} {self.original.fingerprint}".encode()).hexdigest()[:32]

    @property
    def module(self) -> EncoderModule:
        """The float32 model as a torch module: what is trained is the original."""
        return self.original.module

    def compare(self, sample: Sequence[str]) -> Fidelity:
        """Encode a sample both ways.

        Raises:
            UserError: the sample is empty, or the mean cosine is below :data:`LEAST_COSINE`.
        """
        texts = list(sample)
        if not texts:
            raise UserError("a faster encoder is compared on texts, and the sample has none")
        found = fidelity(self.original.encode(texts), self.encode(texts))
        if not found.cosine >= LEAST_COSINE:
            raise UserError(f"{self.precision} is too far from float32 for this model ({found}); encode in float32")
        return found

    def save(self, folder: str | Path) -> None:
        """Write the original, in float32."""
        self.original.save(folder)


def fast(encoder: Any, precision: str = "auto") -> Any:
    """The encoder at a precision: ``float32`` as it is, ``bfloat16``, or ``auto``.

    ``auto`` takes bfloat16 for a transformer where the processor (or GPU) has instructions for it and leaves every
    other encoder as it is. The faster encoder holds a second copy of the weights, of half the size, and its
    vectors differ a little from float32's: :meth:`FastEncoder.compare` says by how much.

    Raises:
        UserError: an unknown precision, or ``bfloat16`` for an encoder that is not a dense transformer.
    """
    if precision not in PRECISIONS:
        hint = did_you_mean(precision, PRECISIONS, most=1)
        if precision == "int8":
            hint = "; backend='onnx' or 'openvino' has it"
        raise UserError(f"precision must be {', '.join(PRECISIONS[:-1])} or {PRECISIONS[-1]}, not {precision!r}{hint}")
    dense = isinstance(encoder, SentenceTransformerEncoder) and bool(_bodies(encoder.model))
    if precision == "bfloat16" and not dense:
        raise UserError("bfloat16 is for dense transformers; encode with this model in float32")
    if precision == "float32" or not dense or isinstance(encoder, FastEncoder):
        return encoder
    if precision == "auto" and not has_bfloat16(encoder.model.device):
        return encoder
    return FastEncoder(encoder)


def has_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is faster than float32 there: it has instructions of its own."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, name, lambda: False)()) for name in asked)


def _bodies(model: nn.Module) -> list[Any]:
    """The steps that are transformers, those that read windows or more positions among them."""
    kinds = [(step, {kind.__name__ for kind in type(step).__mro__}) for step in model.modules()]
    return [step for step, names in kinds if "Transformer" in names and hasattr(step, "auto_model")]


def _in_bfloat16(model: Any) -> Any:
    """A copy of a sentence-transformers model with its transformers in bfloat16 and all other steps in float32."""
    copied = copy.deepcopy(model).eval()
    packs = copied.device.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    for body in _bodies(copied):
        body.auto_model.to(torch.bfloat16)
        if packs:
            _pack(body.auto_model)
        body.register_forward_hook(_to_float32)
    return copied


def _to_float32(_module: nn.Module, _inputs: Any, features: dict[str, Any]) -> dict[str, Any]:
    """A step's bfloat16 results as float32, for the pooling behind it."""
    halves = {name: v for name, v in features.items() if isinstance(v, Tensor) and v.dtype == torch.bfloat16}
    made = {**features, **{name: value.float() for name, value in halves.items()}}
    if "all_layer_embeddings" in made:
        made["all_layer_embeddings"] = tuple(layer.float() for layer in made["all_layer_embeddings"])
    return made


def _pack(body: nn.Module) -> None:
    """Replace the linear layers; where a GELU follows at once, it becomes part of the layer."""
    for module in list(body.modules()):
        for name, child in list(module.named_children()):
            if type(child) is not nn.Linear:
                continue
            follows = name == "dense" and _is_exact_gelu(getattr(module, "intermediate_act_fn", None))
            setattr(module, name, PackedLinear(child, gelu=follows))
            if follows:
                module.intermediate_act_fn = nn.Identity()


def _is_exact_gelu(activation: Any) -> bool:
    """Whether an activation is x Φ(x) itself, not one of its approximations."""
    if isinstance(activation, nn.GELU):
        return activation.approximate == "none"
    function = getattr(activation, "act", None)
    return type(activation).__name__ == "GELUActivation" and function is nn.functional.gelu


class PackedLinear(nn.Module):
    """A linear layer in bfloat16 whose weight lies in the processor library's layout, with a GELU behind it if wanted.

    Args:
        linear: a layer in bfloat16, on the CPU.
        gelu: apply x Φ(x) to the result.
    """

    def __init__(self, linear: nn.Linear, *, gelu: bool = False) -> None:
        super().__init__()
        self.register_buffer("weight", linear.weight.detach(), persistent=False)  # models ask for its dtype
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach(), persistent=False)
        self._packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach().contiguous(), _ROWS)
        self._after = "gelu" if gelu else "none"

    def forward(self, rows: Tensor) -> Tensor:
        """``[..., in]`` to ``[..., out]``."""
        linear = torch.ops.mkldnn._linear_pointwise
        return cast(Tensor, linear(rows, self._packed, self.bias, self._after, [], "none"))
