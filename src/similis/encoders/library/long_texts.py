"""Models for texts longer than their transformer reads: windows, and positions beyond those learned."""

from __future__ import annotations

import copy
import inspect
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from similis.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from similis.encoders.library.dense import SentenceTransformerEncoder

POSITIONS = ("interpolate", "recurrent")


def windowed(
    encoder: SentenceTransformerEncoder,
    how: str = "mean",
    *,
    size: int | None = None,
    step: int | None = None,
    most: int | None = None,
    split: str = "tokens",
) -> SentenceTransformerEncoder:
    """An encoder of the same weights that reads long texts whole: in windows, whose vectors are aggregated.

    A text that fits into one window has the vector it had. The steps are saved with the model.

    Args:
        encoder: a dense transformer; asymmetric towers get windows on both sides.
        how: ``mean``, ``max``, ``attention`` or ``attention_mean`` (both learned in training; they start as the mean).
        size: tokens of a window, special tokens among them; None: what the model reads, 512 at most.
        step: tokens between the starts of two windows; None: half a window.
        most: windows read of a text; None: all.
        split: ``tokens``: windows begin anywhere; ``paragraphs``, or statements of ``python``: whole ones fill a
            window as far as it goes.

    Raises:
        UserError: an unknown aggregation or split, or a size or step that cannot be.

    Source: see :class:`~similis.encoders.modules.WindowTransformer`.
    """
    from similis.encoders.modules import WindowTransformer
    from similis.encoders.modules.splitting import SPLITS
    from similis.encoders.modules.windows import AGGREGATES

    if split not in SPLITS:
        raise UserError(f"texts are split at {', '.join(SPLITS)}, not at {split!r}{did_you_mean(split, SPLITS)}")
    if how not in AGGREGATES:
        raise UserError(
            f"windows are aggregated by {', '.join(AGGREGATES)}, not by {how!r}{did_you_mean(how, AGGREGATES)}"
        )
    return _replaced(encoder, lambda first: WindowTransformer.over(first, size, step, most, split), how)


def extended(
    encoder: SentenceTransformerEncoder, factor: int = 2, how: str = "interpolate"
) -> SentenceTransformerEncoder:
    """A copy that reads ``factor`` times as many tokens, without training; short texts keep their vectors.

    Args:
        encoder: a dense transformer with learned positions (BERT, RoBERTa, MPNet, DistilBERT and their kin).
        factor: at least 2; to be judged on your own long texts: a model may lose much beyond some factor.
        how: ``interpolate``: new positions lie between the learned ones (a step of ours, saved with the model);
            ``recurrent``: the learned ones begin anew, which any library loads.

    Raises:
        UserError: a factor below 2, another way, or a transformer without a table of positions.

    Source: see :class:`~similis.encoders.modules.LongTransformer`; ``recurrent`` is theirs too.
    """
    from similis.encoders.modules import LongTransformer

    if how not in POSITIONS:
        raise UserError(
            f"positions are extended by {' or '.join(POSITIONS)}, not by {how!r}{did_you_mean(how, POSITIONS)}"
        )
    if factor < 2:
        raise UserError(f"positions are extended by a factor of at least 2, got {factor}")

    def longer(first: Any) -> Any:
        made = copy.deepcopy(first)
        if how == "interpolate" and "position_ids" not in inspect.signature(made.auto_model.forward).parameters:
            raise UserError(f"{type(made.auto_model).__name__} takes no positions from outside: extend it by recurrent")
        learned, offset = _stretch(made.auto_model, factor, how)
        read = min(int(made.max_seq_length or learned), learned)
        made.max_seq_length = factor * read
        return LongTransformer.over(made, factor, learned, offset) if how == "interpolate" else made

    return _replaced(encoder, longer, None)


def _replaced(encoder: SentenceTransformerEncoder, change: Any, aggregate: str | None) -> SentenceTransformerEncoder:
    """An encoder whose transformers were changed, and whose windows are aggregated where there are such."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Router, Transformer

    from similis.encoders.library.dense import SentenceTransformerEncoder
    from similis.encoders.modules import WindowAggregation

    old = encoder.model
    steps = list(old.children())

    def changed(parts: list[Any]) -> list[Any]:
        first = parts[0]
        if type(first) is not Transformer:
            raise UserError(f"a model that starts with {type(first).__name__} reads as it does; give a transformer")
        return [change(first), *parts[1:]]

    if isinstance(steps[0], Router):
        read = {name: changed(list(parts)) for name, parts in steps[0].sub_modules.items()}
        steps = [Router(read, default_route=steps[0].default_route), *steps[1:]]
    else:
        steps = changed(steps)
    if aggregate is not None:
        at = len(steps) - (type(steps[-1]).__name__ == "Normalize")
        steps.insert(at, WindowAggregation(encoder.dimension, aggregate))
    model = SentenceTransformer(
        modules=steps,
        prompts=dict(old.prompts),
        default_prompt_name=old.default_prompt_name,
        similarity_fn_name=old.similarity_fn_name,
        device=str(old.device),
    )
    made = SentenceTransformerEncoder(model)
    made.similarity_name = encoder.similarity_name
    return made


def _stretch(model: Any, factor: int, how: str) -> tuple[int, int]:
    """Give a transformer a longer table of positions.

    Returns:
        The positions that were learned, and the rows of the table before them.
    """
    inside = getattr(model, "embeddings", None)
    table = getattr(inside, "position_embeddings", None)
    if not isinstance(table, nn.Embedding):
        raise UserError(
            f"{type(model).__name__} has no table of learned positions to extend; "
            "windows read long texts with any transformer"
        )
    # RoBERTa and its kin count from the row after that of padding
    offset = 0 if table.padding_idx is None else table.padding_idx + 1
    learned = len(table.weight) - offset
    rows = torch.cat([table.weight[:offset], _longer(table.weight[offset:].detach(), factor, how)])
    made = nn.Embedding(len(rows), rows.shape[1], padding_idx=table.padding_idx)
    with torch.no_grad():
        made.weight.copy_(rows)
    inside.position_embeddings = made  # type: ignore[union-attr]
    model.config.max_position_embeddings = len(rows)
    for name, buffer in list(inside.named_buffers(recurse=False)):  # type: ignore[union-attr]
        if name == "position_ids":
            inside.position_ids = torch.arange(len(rows)).expand((1, -1))  # type: ignore[union-attr]
        elif name == "token_type_ids":
            inside.token_type_ids = buffer.new_zeros(1, len(rows))  # type: ignore[union-attr]
    return learned, offset


def _longer(rows: Tensor, factor: int, how: str) -> Tensor:
    """``[factor * n, d]`` of ``[n, d]``: row i becomes row ``factor * i`` with even steps between, or all repeat."""
    if how == "recurrent":
        return rows.repeat(factor, 1)
    following = torch.cat([rows[1:], rows[-1:]])
    shares = (torch.arange(factor) / factor).view(1, -1, 1)
    return (rows.unsqueeze(1) * (1 - shares) + following.unsqueeze(1) * shares).reshape(-1, rows.shape[1])
