"""New models of the sparse and multi-vector families from a transformer's folder, and all new ones from a text."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from similis.encoders.library.starting import transformer
from similis.errors import UserError
from similis.files import read_json
from similis.progress import note
from similis.text import Call

if TYPE_CHECKING:
    from similis.encoders.library.multi_vector import MultiVectorLibraryEncoder
    from similis.encoders.library.sparse import SparseLibraryEncoder

#: Texts a new head is set by, and the share of the vocabulary it gives each of them to begin with.
_SAMPLE, _SHARE = 64, 0.02

#: What may be set in a base's text, as in ``sparse(queries=idf):PATH``.
_OPTIONS: dict[str, dict[str, Any]] = {
    "dense": {
        "pooling": str | Call,
        "documents": str,
        "dimension": int,
        "query_prompt": str,
        "document_prompt": str,
        "windows": str | Call,
        "positions": str | Call,
        "temperature": int | float,
    },
    "unicoil": {},
    "sparse": {"pooling": str, "queries": str, "expansion": bool},
    "multi_vector": {"dimension": int, "skip_punctuation": bool},
}


def sparse(
    path: str | Path,
    *,
    pooling: str = "max",
    queries: str = "same",
    expansion: bool = True,
    corpus_texts: Iterable[str] | None = None,
    seed: int = 0,
) -> SparseLibraryEncoder:
    """A SPLADE model: log(1 + ReLU(logits of the masked-word head)), pooled over a text's tokens.

    Where the checkpoint has no such head a new one is made: its decoder is tied to the input vectors, its transform
    starts as the identity, and with ``corpus_texts`` its bias lets about 2% of the vocabulary into a text.

    Args:
        path: a transformer's folder, plain or in sentence-transformers format.
        pooling: ``max`` or ``sum`` over tokens.
        queries: ``same``: read by the same model; ``words``: the query's words, each with weight 1, no model at all;
            ``idf``: likewise, weighted by their rarity in ``corpus_texts``; else the folder of another (smaller)
            transformer of the same vocabulary.
        expansion: False: only words of the text itself get a weight, none that the model thinks of beside them.
        corpus_texts: the texts to be searched.
        seed: of what is new.

    Raises:
        UserError: no transformer, an unknown pooling, ``idf`` without texts, or vocabularies that differ.

    Sources: "SPLADE v2: Sparse Lexical and Expansion Model for Information Retrieval", Formal, Lassance, Piwowarski
    and Clinchant, 2021 (max, and documents alone expanded; sum is of their first, 2021); "An Efficiency Study for
    SPLADE Models", Lassance and Clinchant, 2022 (another query encoder); "Towards Competitive Search Relevance For
    Inference-Free Learned Sparse Retrievers", Geng, Ru and Yang, 2024 (IDF weights for queries).
    """
    from sentence_transformers import SparseEncoder
    from sentence_transformers.base.modules import Router
    from sentence_transformers.sparse_encoder.modules import SparseStaticEmbedding

    from similis.encoders.library.sparse import SparseLibraryEncoder

    if pooling not in ("max", "sum"):
        raise UserError(f"pooling must be max or sum, not {pooling!r}")
    texts = None if corpus_texts is None else list(corpus_texts)
    documents = _splade(Path(path), pooling, texts, seed, expansion)
    if queries == "same":
        modules = documents
    else:
        read: list[Any]
        if queries in ("words", "idf"):
            if queries == "idf" and not texts:
                raise UserError("queries=idf weights words by their rarity; give corpus_texts")
            tokenizer, size = copy.deepcopy(documents[0].tokenizer), int(documents[1].embedding_dimension)
            weights = idf(tokenizer, texts, size) if texts and queries == "idf" else np.ones(size, np.float32)
            read = [SparseStaticEmbedding(tokenizer, torch.from_numpy(weights), frozen=True)]
        else:
            read = _splade(Path(queries), pooling, texts, seed, expansion)
            if read[0].tokenizer.get_vocab() != documents[0].tokenizer.get_vocab():
                raise UserError(f"{queries} and {path} have different vocabularies; the sides must share one")
        modules = [Router.for_query_document(query_modules=read, document_modules=documents)]
    return SparseLibraryEncoder(SparseEncoder(modules=modules, similarity_fn_name="dot", device="cpu"))


def unicoil(path: str | Path, *, seed: int = 0) -> SparseLibraryEncoder:
    """A uniCOIL model: one weight for each word of a text, no words beside them.

    Expansion is done on the texts (append what a query generator gives) before they are encoded.
    :func:`~similis.encoders.library.sparse.quantized` makes whole numbers of the weights. sentence-transformers loads
    the saved model where similis can be imported and ``trust_remote_code=True`` is given.

    Args:
        path: a transformer's folder, plain or in sentence-transformers format.
        seed: of the new weights.

    Raises:
        UserError: no transformer.

    Source: see :class:`~similis.encoders.modules.TokenImpacts`.
    """
    from sentence_transformers import SparseEncoder

    from similis.encoders.library.sparse import SparseLibraryEncoder
    from similis.encoders.modules import TokenImpacts

    first = transformer(Path(path), "feature-extraction", seed)
    words = len(first.auto_model.get_input_embeddings().weight)
    impacts = TokenImpacts(int(first.get_embedding_dimension()), words, sorted(first.tokenizer.all_special_ids), seed)
    return SparseLibraryEncoder(SparseEncoder(modules=[first, impacts], similarity_fn_name="dot", device="cpu"))


def multi_vector(
    path: str | Path, *, dimension: int | None = None, seed: int = 0, skip_punctuation: bool = False
) -> MultiVectorLibraryEncoder:
    """A late-interaction model: token vectors, projected and of unit length.

    Args:
        path: a transformer's folder, plain or in sentence-transformers format.
        dimension: coordinates of a token, by a new projection whose directions are orthogonal, so that angles are
            about kept; None: 128, or the transformer's own where it has fewer. At its own there is no projection.
        seed: of the projection.
        skip_punctuation: leave punctuation out of documents, as ColBERT does.

    Raises:
        UserError: no transformer, or more dimensions than it has.

    Source: "ColBERT: Efficient and Effective Passage Search via Contextualized Late Interaction over BERT", Khattab
    and Zaharia, 2020.
    """
    import string

    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Dense
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
    from sentence_transformers.sentence_transformer.modules import Normalize

    from similis.encoders.library.multi_vector import MultiVectorLibraryEncoder

    first = transformer(Path(path), "feature-extraction", seed)
    own = int(first.get_embedding_dimension())
    dimension = min(128, own) if dimension is None else dimension
    if not 1 <= dimension <= own:
        raise UserError(f"dimension must lie between 1 and {own} for {path}, got {dimension}")
    modules: list[Any] = [first]
    if dimension != own:
        names = {"module_input_name": "token_embeddings"}
        dense = Dense(own, dimension, bias=False, activation_function=nn.Identity(), **names)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            nn.init.orthogonal_(dense.linear.weight)
        modules.append(dense)
    skipped = list(string.punctuation) if skip_punctuation else None
    modules += [MultiVectorMask(skiplist_words=skipped), Normalize(module_input_name="token_embeddings")]
    model = MultiVectorEncoder(modules=modules, similarity_fn_name="maxsim", device="cpu")
    return MultiVectorLibraryEncoder(model)


def idf(tokenizer: Any, texts: list[str], size: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """``[size]`` weights ln(1 + (N - n + ½) / (n + ½)) of tokens that n of N texts hold (BM25's)."""
    counts = np.zeros(size, np.int64)
    for start in range(0, len(texts), 1024):
        found = tokenizer(texts[start : start + 1024], add_special_tokens=False, verbose=False)["input_ids"]
        for ids in found:
            counts[np.unique(np.array(ids, np.int64))] += 1
    return np.log1p((len(texts) - counts + 0.5) / (counts + 0.5)).astype(np.float32)


def _splade(folder: Path, pooling: str, texts: list[str] | None, seed: int, expansion: bool) -> list[Any]:
    from sentence_transformers.sparse_encoder.modules import SparseStaticEmbedding, SpladePooling

    first = transformer(folder, "fill-mask", seed)
    model = first.auto_model
    modules = [first, SpladePooling(pooling, embedding_dimension=len(model.get_output_embeddings().weight))]
    kinds = read_json(Path(model.name_or_path) / "config.json").get("architectures") or []
    if not any(kind.endswith("ForMaskedLM") for kind in kinds):
        note(f"{folder} has no masked-word head: a new one is tied to its input vectors, its transform is the identity")
        _new_head(model)
        if texts:
            _let_few_in(modules, texts)
    if not expansion:
        # the library's token weights multiply what comes before them: 1 for a text's own words, 0 for all others
        own = torch.ones(int(modules[1].embedding_dimension))
        own[first.tokenizer.all_special_ids] = 0.0
        modules.append(SparseStaticEmbedding(copy.deepcopy(first.tokenizer), own, frozen=True))
    return modules


def _new_head(model: Any) -> None:
    """Tie the decoder to the input vectors; square layers of the head start as the identity."""
    model.get_output_embeddings().weight = model.get_input_embeddings().weight
    body = {id(module) for module in model.base_model.modules()}
    with torch.no_grad():
        for module in model.modules():
            if id(module) not in body and isinstance(module, nn.Linear) and module is not model.get_output_embeddings():
                nn.init.eye_(module.weight)
                if module.bias is not None:
                    module.bias.zero_()


def _let_few_in(modules: list[Any], texts: list[str]) -> None:
    """Lower the decoder's bias so that a text has weights for about 2% of the vocabulary: a start near the end."""
    first = modules[0]
    few = list(islice((text for text in texts if text.strip()), _SAMPLE))
    bounds = []
    was_training = first.training
    first.eval()
    with torch.inference_mode():
        for text in few:
            logits = first(first.preprocess([text]))["token_embeddings"][0]
            bounds.append(float(logits.amax(0).quantile(1 - _SHARE)))
    first.train(was_training)
    with torch.no_grad():
        first.auto_model.get_output_embeddings().bias -= float(np.median(bounds))


def from_text(family: str, call: Call, path: str, corpus_texts: Iterable[str] | None, seed: int) -> Any:
    """A new model from ``family(options):path``.

    Raises:
        UserError: an option the family does not have, or of the wrong type.
    """
    known = _OPTIONS[family]
    for name, value in call.arguments.items():
        if name not in known or not isinstance(value, known[name]):
            if not known:
                raise UserError(f"{family} takes no options, not {name}={value!r}")
            takes = ", ".join(f"{n} ({_told(t)})" for n, t in known.items())
            raise UserError(f"{family} takes {takes}, not {name}={value!r}")
    given: dict[str, Any] = dict(call.arguments)
    if family == "dense":
        from similis.encoders.library.creating_dense import dense

        return dense(path, seed=seed, **given)
    if family == "unicoil":
        return unicoil(path, seed=seed)
    if family == "sparse":
        return sparse(path, corpus_texts=corpus_texts, seed=seed, **given)
    return multi_vector(path, seed=seed, **given)


def _told(kind: Any) -> str:
    """A type as a user writes it."""
    return {str | Call: "str", int | float: "float"}.get(kind) or str(kind.__name__)
