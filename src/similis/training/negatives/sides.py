"""A model whose queries are read by a part of their own, so that its documents' vectors can stay as they are."""

from __future__ import annotations

import copy
from typing import Any

from similis.encoders.base import Encoder
from similis.errors import UserError
from similis.registry import bind


def fixes_documents(negatives: str | None) -> bool:
    """Whether a recipe's source of negatives keeps the documents' vectors."""
    return negatives is not None and bool(bind("negatives", negatives).entry.traits.get("fixed_documents"))


def only_queries_learn(encoder: Encoder | None, peft: str | None = None) -> Encoder:
    """The model with a side of its own for queries, of the same weights; the documents' side is not trained.

    A model of one part is copied for the queries: sentence-transformers' ``Router``, which it saves and loads. The
    vectors of documents are bit for bit those of the given model, before and after training.

    Args:
        encoder: where training begins.
        peft: the way to train few parameters, which goes through the whole model.

    Raises:
        UserError: there is no trained model to begin with, or it is not one that gives each text one vector by a
            transformer.
    """
    from similis.encoders.library.dense import SentenceTransformerEncoder

    if peft is not None:
        raise UserError("adore trains the side that reads queries, and peft both sides: leave one of them out")
    if not isinstance(encoder, SentenceTransformerEncoder):
        raise UserError(
            f"adore keeps the documents' vectors of a dense transformer, and the base is "
            f"{getattr(encoder, 'family', 'static') if encoder is not None else 'a new static model'}: give one as "
            "base, or use negatives=hard"
        )
    made = encoder if encoder.asymmetric else _parted(encoder)
    for step in made._routes["document"]:
        step.requires_grad_(False)
    return made


def _parted(encoder: Any) -> Any:
    """The same model twice, as the routes of queries and of documents."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Router

    from similis.encoders.library.dense import SentenceTransformerEncoder

    steps = list(encoder.model.children())
    last = steps[-1:] if encoder.normalizes else []
    steps = steps[: len(steps) - len(last)]
    own = [copy.deepcopy(step) for step in steps]
    model = SentenceTransformer(
        modules=[Router.for_query_document(query_modules=own, document_modules=steps), *last],
        prompts=dict(encoder.prompts),
        default_prompt_name=encoder.default_prompt_name,
        similarity_fn_name=encoder.model.similarity_fn_name,
        device="cpu",
    )
    made = SentenceTransformerEncoder(model)
    made.similarity_name = encoder.similarity_name
    return made
