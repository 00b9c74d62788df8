"""SPLADE's max pooling without the matrix of all tokens by all words.

A word's weight in a text is log(1 + max(0, its highest logit among the text's tokens)). Only the highest logits are
kept, with the tokens they came from: the matrix ``[n, T, V]`` of a batch, which is most of the memory of such a model
(32 texts of 256 tokens and BERT's words: 1 GB, several times over in training), is never laid out. Its gradient has
one entry for each word that a text holds, so that the way back costs next to nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn


def pools_apart(steps: list[Any]) -> bool:
    """Whether the first two of a model's steps are a transformer with a masked-word head and a max over its tokens.

    That the head ends in its decoder is tried out on a text.
    """
    kinds = [type(step).__name__ for step in steps[:2]]
    if kinds[-1:] != ["SpladePooling"] or steps[1].pooling_strategy != "max":
        return False
    first = steps[0]
    decoder = first.auto_model.get_output_embeddings()
    if not isinstance(decoder, nn.Linear):
        return False
    modes = {module: module.training for module in first.modules()}
    first.eval()
    try:
        with torch.no_grad():
            features = first.preprocess(["a text"])
            inputs = {name: v.to(decoder.weight.device) for name, v in features.items() if isinstance(v, Tensor)}
            logits = first(dict(inputs))["token_embeddings"]
            with _without(decoder):
                hidden = first(dict(inputs))["token_embeddings"]
    finally:
        for module, mode in modes.items():
            module.training = mode
    if hidden.shape[-1] != decoder.in_features:
        return False
    return torch.allclose(decoder(hidden), logits, rtol=1e-4, atol=1e-4)


def pooled(steps: list[Any], features: dict[str, Any]) -> dict[str, Any]:
    """What the first two steps give: weights ``[n, V]`` as ``sentence_embedding``, float32.

    Args:
        steps: for which :func:`pools_apart` holds.
        features: preprocessed texts.
    """
    first, pooling = steps[:2]
    decoder = first.auto_model.get_output_embeddings()
    with _without(decoder):
        features = first(features)
    hidden = features.pop("token_embeddings")
    kind = hidden.device.type
    inner = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
    with torch.autocast(kind, enabled=False):
        weight = decoder.weight.to(inner)
        highest: Tensor = _Highest.apply(hidden.to(inner), features["attention_mask"], weight)  # type: ignore[no-untyped-call]
        highest = highest.float()
        biased = highest if decoder.bias is None else highest + decoder.bias.float()
        weights = biased.relu().log1p()
        if pooling.activation_function == "log1p_relu":
            weights = weights.log1p()
    return {**features, "sentence_embedding": weights}


class _Highest(torch.autograd.Function):
    """``[n, T, d]`` states, the tokens read ``[n, T]``, words ``[V, d]`` → each word's highest product ``[n, V]``.

    A text of no tokens has minus infinity.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, mask: Tensor, words: Tensor) -> Tensor:
        count, longest, _ = hidden.shape
        highest = hidden.new_full((count, len(words)), -torch.inf)
        places = torch.zeros(count, len(words), dtype=torch.int32, device=hidden.device)
        for text in range(count):
            read = mask[text].nonzero().squeeze(1)
            if not len(read):
                continue
            # words by tokens: the highest of a row lies side by side
            values, own = (words @ hidden[text, read].T).max(1)
            highest[text] = values
            places[text] = read[own] + text * longest
        ctx.save_for_backward(hidden, words, places)
        return highest

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None, Tensor | None]:
        (gradient,) = gradients
        hidden, words, places = ctx.saved_tensors
        rows = hidden.flatten(0, 1)
        text, word = gradient.nonzero(as_tuple=True)
        entries = torch.stack([places[text, word].long(), word])
        values = gradient[text, word].float()
        taken = torch.sparse_coo_tensor(entries, values, (len(rows), len(words)), check_invariants=False)
        to_hidden, to_words = None, None
        if ctx.needs_input_grad[0]:
            to_hidden = torch.sparse.mm(taken, words.float()).view_as(hidden).to(hidden.dtype)
        if ctx.needs_input_grad[2]:
            to_words = torch.sparse.mm(taken.t(), rows.float()).to(words.dtype)
        return to_hidden, None, to_words


@contextlib.contextmanager
def _without(decoder: nn.Module) -> Iterator[None]:
    """The model's head gives what its decoder would read."""
    vars(decoder)["forward"] = _as_it_is
    try:
        yield
    finally:
        del vars(decoder)["forward"]


def _as_it_is(rows: Tensor) -> Tensor:
    return rows
