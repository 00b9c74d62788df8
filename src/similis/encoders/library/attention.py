"""The temperature of a transformer's attention, and how much its vectors of long texts collapse."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from similis.encoders.base import unit_rows
from similis.errors import UserError

if TYPE_CHECKING:
    from similis.encoders.library.dense import SentenceTransformerEncoder

#: Names of the layers that give queries, in the library's transformers; and of one that gives queries, keys and values.
_QUERIES = ("query", "q_lin", "q_proj", "q")
_FUSED = ("Wqkv",)
#: What is added to the logits beside the product of queries and keys.
_BIASES = ("relative_attention_bias",)
#: Norms between the queries and their product with the keys, which would take a factor away again.
_NORMS = ("q_norm", "query_norm")


def tempered(encoder: SentenceTransformerEncoder, temperature: float) -> SentenceTransformerEncoder:
    """A copy whose attention is softmax(Q K^T / (temperature * sqrt(d))): no training, below 1 sharpens.

    Long texts attend to more tokens and come out alike; a sharper attention smooths less. Queries are divided by the
    temperature in the weights, so the model is saved and loaded as any other. 0.8 to 1 is what the paper tries; choose
    by a dev set.

    Args:
        encoder: a dense transformer.
        temperature: above 0.

    Raises:
        UserError: a temperature that is not positive, or a transformer whose queries are not found.

    Source: "Length-Induced Embedding Collapse in PLM-based Models", Zhou, Dai, Cao, Zhang and Xu, 2025 (TempScale).
    Checked against the authors' code: all that the softmax reads is divided, relative positions among it.
    """
    from similis.encoders.library.dense import SentenceTransformerEncoder

    if not 0 < temperature < float("inf"):
        raise UserError(f"temperature must be above 0, got {temperature}")
    made = SentenceTransformerEncoder(copy.deepcopy(encoder.model))
    made.similarity_name = encoder.similarity_name
    for body in _bodies(made):
        _divide(body, temperature)
    return made


def _bodies(encoder: SentenceTransformerEncoder) -> list[nn.Module]:
    """The transformers of a model, one a side."""
    firsts = [steps[0] for steps in encoder._routes.values()]
    found = [first.auto_model for first in firsts if getattr(first, "auto_model", None) is not None]
    if not found:
        raise UserError("the model has no transformer in it, so no attention")
    return found


def _divide(body: nn.Module, temperature: float) -> None:
    parts = [(name.rpartition(".")[2], part) for name, part in body.named_modules()]
    if any(name in _NORMS for name, _ in parts):
        raise UserError(
            f"{type(body).__name__} normalises its queries, so that its temperature is not in their weights"
        )
    layers = [(name, part) for name, part in parts if name in (*_QUERIES, *_FUSED) and isinstance(part, nn.Linear)]
    if not layers:
        raise UserError(f"the layers of {type(body).__name__} that give queries are not known here")
    with torch.no_grad():
        for name, layer in layers:
            rows = len(layer.weight) // 3 if name in _FUSED else len(layer.weight)
            layer.weight[:rows] /= temperature
            if layer.bias is not None:
                layer.bias[:rows] /= temperature
        for name, part in parts:
            if name in _BIASES and isinstance(part, nn.Embedding):
                part.weight /= temperature


@dataclass(frozen=True)
class Collapse:
    """How alike the vectors of texts of like length are.

    Attributes:
        shortest: tokens of the shortest text; likewise ``longest``.
        texts: how many there are.
        cosine: mean cosine of two of them.
        high_frequency: mean share of the norm of a text's token vectors that is not in their mean, 0..1: what
            attention has not smoothed away.
    """

    shortest: int
    longest: int
    texts: int
    cosine: float
    high_frequency: float


def length_collapse(encoder: SentenceTransformerEncoder, texts: Sequence[str], groups: int = 4) -> list[Collapse]:
    """Cosines and smoothing by length: texts are sorted by their tokens into groups of about the same number.

    Cosines that rise from group to group, while the share of high frequencies falls, are length collapse;
    :func:`tempered` sharpens the attention against it.

    Args:
        encoder: a dense transformer.
        texts: at least two for each group.
        groups: how many.

    Raises:
        UserError: too few texts, or no groups.

    Source: as :func:`tempered`; the share is the norm of X minus its mean over tokens over that of X (``[t, d]``).
    """
    if groups < 1 or len(texts) < 2 * groups:
        raise UserError(f"{groups} groups need at least {2 * max(1, groups)} texts, got {len(texts)}")
    limit = encoder.max_tokens
    lengths = np.minimum(encoder.lengths(list(texts), "document"), limit or np.inf).astype(np.int64)
    parts = np.array_split(np.argsort(lengths, kind="stable"), groups)
    return [_collapse(encoder, [texts[row] for row in rows], lengths[rows]) for rows in parts]


def _collapse(encoder: SentenceTransformerEncoder, texts: list[str], lengths: Any) -> Collapse:
    vectors = unit_rows(encoder.encode_document(texts)).astype(np.float64)
    count = len(vectors)
    total = float((vectors.sum(0) ** 2).sum() - (vectors**2).sum())
    shares = [_high_frequency(encoder, text) for text in texts]
    low, high = int(lengths.min()), int(lengths.max())
    return Collapse(low, high, count, total / (count * (count - 1)), float(np.mean(shares)))


def _high_frequency(encoder: SentenceTransformerEncoder, text: str) -> float:
    """The share of one text, from what the transformer's last layer gives."""
    was_training = encoder.model.training
    encoder.model.eval()
    try:
        with torch.inference_mode():
            features = encoder.preprocess([text], task="document")
            tokens = encoder._first("document")(features)["token_embeddings"].float().flatten(0, 1)
    finally:
        encoder.model.train(was_training)
    return float((tokens - tokens.mean(0)).norm() / tokens.norm())
