"""From a new model's space to an old one's, and how well the two search each other's vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from similis.encoders.base import Encoder, unit_rows
from similis.encoders.static.encoder import StaticEncoder
from similis.errors import UserError

Floats = NDArray[np.float32]


def project(new: Any, old: Any, texts: Sequence[str], *, ridge: float = 1e-3) -> Encoder:
    """The new model followed by a linear map into the old model's space, so that it searches the old model's index.

    The map is fitted to texts alone, without queries or judgements, as the first stage of "Towards Cross-modal
    Backward-compatible Representation Learning for Vision-Language Models", Jang and Lim, 2025; there it is a small
    network, here the least squares of the old unit vectors by the new ones. Its second stage tunes the new model:
    train the result with ``stepping="compatible_with(OLD)"``.

    Args:
        new: a static or dense encoder, or its folder; its weights are not changed.
        old: a static or dense encoder, or its folder: the one that made the index.
        texts: any texts of the kind that is searched; at least as many as the new vectors have coordinates.
        ridge: of the least squares, as a share of the mean squared coordinate.

    Returns:
        An encoder of the old model's dimension that states cosine.

    Raises:
        UserError: a model that does not give each text one vector, or fewer than two texts.
    """
    newer, older = _dense(new), _dense(old)
    if len(set(texts)) < 2:
        raise UserError(f"a projection is fitted to texts; give at least two that differ, not {len(set(texts))}")
    own = list(dict.fromkeys(texts))
    map_ = least_squares(unit_rows(newer.encode_document(own)), unit_rows(older.encode_document(own)), ridge)
    if isinstance(newer, StaticEncoder):
        return StaticEncoder(
            newer.tokenizer,
            newer.weights @ map_,
            True,
            similarity_name="cosine",
            prompts=newer.prompts,
            default_prompt_name=newer.default_prompt_name,
        )
    return _followed(newer, map_)


def least_squares(inputs: Floats, targets: Floats, ridge: float) -> Floats:
    """``[d, e]``: the W of least ``|inputs W - targets|² + ridge · mean(diag(inputsᵀ inputs)) · |W|²``."""
    wide = inputs.astype(np.float64)
    second = wide.T @ wide
    second[np.diag_indices_from(second)] += ridge * second.trace() / len(second)
    return np.asarray(np.linalg.solve(second, wide.T @ targets), np.float32)


def crossings(
    old: Any, new: Any, queries: Sequence[str], documents: Sequence[str], relevant: Sequence[int], k: int = 1
) -> dict[str, float]:
    """Recall of the one relevant document among the ``k`` nearest, of queries by either model in either's index.

    Args:
        old: an encoder.
        new: another of the same dimension.
        queries: n texts.
        documents: m texts.
        relevant: place of each query's document, ``[n]``.
        k: places looked at.

    Returns:
        ``old queries, old index``, ``new queries, old index``, ``old queries, new index`` and ``new queries, new
        index``; an upgrade without a new index pays where the second is above the first.
    """
    models = {"old": old, "new": new}
    found = {name: unit_rows(model.encode_query(list(queries))) for name, model in models.items()}
    index = {name: unit_rows(model.encode_document(list(documents))) for name, model in models.items()}
    wanted = np.asarray(relevant)[:, None]
    told = {}
    for searched in models:
        for asked in models:
            scores = found[asked] @ index[searched].T
            best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
            told[f"{asked} queries, {searched} index"] = float((best == wanted).any(1).mean())
    return told


def _dense(model: Any) -> Any:
    from similis.encoders import load

    found = load(model) if not hasattr(model, "encode") else model
    if getattr(found, "family", None) not in ("dense", "static"):
        raise UserError(f"a projection needs models that give each text one vector, and {model} is none")
    return found


def _followed(encoder: Any, map_: Floats) -> Encoder:
    """A sentence-transformers model of the same steps, then the map and a normalisation."""
    import copy

    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize

    from similis.encoders.library.dense import SentenceTransformerEncoder

    steps = [copy.deepcopy(step) for step in encoder.model.children()]
    last = Dense(map_.shape[0], map_.shape[1], bias=False, activation_function=torch.nn.Identity())
    with torch.no_grad():
        last.linear.weight.copy_(torch.from_numpy(map_.T))
    model = SentenceTransformer(
        modules=[*steps, last, Normalize()],
        prompts=dict(encoder.prompts),
        default_prompt_name=encoder.default_prompt_name,
        similarity_fn_name="cosine",
        device="cpu",
    )
    return SentenceTransformerEncoder(model)
