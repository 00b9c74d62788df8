"""Transformers that end in a head: Gaussians, or points of hyperbolic space (see :mod:`similis.encoders.heads`)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from similis.encoders.base import HEADS_SIMILARITIES
from similis.encoders.heads import head_of
from similis.encoders.library.dense import SentenceTransformerEncoder
from similis.errors import UserError
from similis.text import Call


def headed(encoder: Any, head: str | Call, seed: int = 0) -> SentenceTransformerEncoder:
    """A dense model with a new head behind it, over its vectors brought to length 1.

    The head is a linear layer of sentence-transformers, which runs the saved model by itself; the similarity that
    reads its numbers is stated with the model.

    Args:
        encoder: a dense model of sentence-transformers; its parts are used, not copied.
        head: such as ``gaussian(dimension=64)``.
        seed: of the head's first weights.

    Raises:
        UserError: the model is of another family or has a head already, or the head is not known.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense
    from sentence_transformers.sentence_transformer.modules import Normalize

    made = head_of(head)
    if not isinstance(encoder, SentenceTransformerEncoder):
        family = getattr(encoder, "family", "static")
        raise UserError(f"a head stands behind a dense transformer, and this is a {family} model")
    if encoder.similarity_name.partition("(")[0] in HEADS_SIMILARITIES:
        raise UserError(f"the model has a head already, compared by {encoder.similarity_name}: start from one without")
    model = encoder.model
    steps = list(model.children())
    width = int(model.get_embedding_dimension())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = made.layer(width)
    dense = Dense(width, made.outputs, activation_function=nn.Identity())
    dense.linear = layer
    unit = [] if encoder.normalizes else [Normalize()]
    model = SentenceTransformer(
        modules=[*steps, *unit, dense],
        prompts=model.prompts,
        default_prompt_name=model.default_prompt_name,
        device="cpu",
    )
    found = SentenceTransformerEncoder(model)
    found.similarity_name = made.similarity
    return found
