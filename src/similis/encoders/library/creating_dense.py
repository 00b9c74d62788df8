"""New dense models from a transformer's folder: another pooling, a projection, a tower for each side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from similis.encoders.folder import read_settings
from similis.encoders.library.starting import transformer
from similis.errors import UserError, did_you_mean
from similis.text import Call, parse_call

if TYPE_CHECKING:
    from similis.encoders.library.dense import SentenceTransformerEncoder

#: Poolings of the library, and those of ours with the arguments they take.
_PLAIN = ("mean", "cls", "max", "weightedmean", "lasttoken", "mean_sqrt_len_tokens")
_LEARNED = {
    "weighted_layer": ("start",),
    "scalar_mix": ("start",),
    "latent_attention": ("latents", "heads"),
}


def dense(
    path: str | Path,
    *,
    pooling: str | Call | None = None,
    documents: str | Path | None = None,
    dimension: int | None = None,
    query_prompt: str | None = None,
    document_prompt: str | None = None,
    windows: str | Call | None = None,
    positions: str | Call | None = None,
    temperature: float | None = None,
    seed: int = 0,
) -> SentenceTransformerEncoder:
    """A dense model to train, with parts chosen here.

    Args:
        path: a transformer's folder, plain or in sentence-transformers format, or a name on the hub.
        pooling: ``mean``, ``cls``, ``max``, ``weightedmean`` (later tokens count more), ``lasttoken``,
            ``mean_sqrt_len_tokens``; ``weighted_layer(start=1)``: a weighted mean of the layers from ``start`` on, then
            of tokens; ``scalar_mix(start=1)``: likewise, by a softmax and a factor; ``latent_attention(latents=512,
            heads=8)``: NV-Embed's. None: the folder's own, ``mean`` where it has none.
        documents: another folder that reads documents while ``path`` reads queries: asymmetric towers. Where it has
            another number of dimensions, queries are projected to that.
        dimension: coordinates of a vector, by a new projection whose directions are orthogonal; None: the
            transformer's own.
        query_prompt: put before each query; likewise ``document_prompt`` before each document.
        windows: how long texts are read in windows and aggregated, as ``attention_mean(size=256, step=128)``: see
            :func:`~similis.encoders.library.long_texts.windowed`.
        positions: how a longer window is made of learned positions, as ``recurrent(factor=4)``: see
            :func:`~similis.encoders.library.long_texts.extended`.
        temperature: of the attention: see :func:`~similis.encoders.library.attention.tempered`.
        seed: of what is new.

    A final normalisation of the folder's own is kept. With ``latent_attention``, ``scalar_mix``, windows and
    interpolated positions, sentence-transformers loads the saved model where similis can be imported and
    ``trust_remote_code=True`` is given.

    Raises:
        UserError: no transformer, or an unknown or impossible pooling or dimension.

    Sources: see :class:`~similis.encoders.modules.LatentAttention` and :class:`~similis.encoders.modules.ScalarMix`;
    a fixed-size projection of the mean: "Large Dual Encoders Are Generalizable Retrievers", Ni et al., 2021.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Router

    from similis.encoders.library.dense import SentenceTransformerEncoder
    from similis.encoders.loading import folder_of

    home = folder_of(path)
    queries, ends = _tower(home, pooling, seed)
    _project(queries, dimension, seed, str(path))
    modules = queries
    if documents is not None:
        read, ends = _tower(folder_of(documents), pooling, seed)
        if any(isinstance(steps[0], Router) for steps in (queries, read)):
            raise UserError(f"{path} or {documents} has towers already; give a transformer for each side")
        _project(read, dimension, seed, str(documents))
        if _size(read) != _size(queries):
            queries.append(_projection(_size(queries), _size(read), seed))
        modules = [Router.for_query_document(query_modules=queries, document_modules=read)]
    given = {"query": query_prompt, "document": document_prompt}
    settings = read_settings(home)
    prompts = dict(settings.get("prompts") or {}) | {name: text for name, text in given.items() if text is not None}
    model = SentenceTransformer(
        modules=[*modules, *ends],
        prompts=prompts or None,
        default_prompt_name=settings.get("default_prompt_name"),
        similarity_fn_name=settings.get("similarity_fn_name"),
        device="cpu",
    )
    return _changed(SentenceTransformerEncoder(model), windows, positions, temperature)


def _changed(
    made: SentenceTransformerEncoder,
    windows: str | Call | None,
    positions: str | Call | None,
    temperature: float | None,
) -> SentenceTransformerEncoder:
    """The model with another attention, more positions, or windows over it."""
    if temperature is not None:
        from similis.encoders.library.attention import tempered

        made = tempered(made, temperature)
    if positions is not None:
        from similis.encoders.library.long_texts import extended

        call = _call("positions", positions, ("factor",))
        made = extended(made, how=call.name, **cast(Any, call.arguments))
    if windows is not None:
        from similis.encoders.library.long_texts import windowed

        call = windows if isinstance(windows, Call) else parse_call(windows)
        split = {name: value for name, value in call.arguments.items() if name == "split"}
        rest = Call(call.name, {name: value for name, value in call.arguments.items() if name != "split"})
        rest = _call("windows", rest, ("size", "step", "most"))
        made = windowed(made, call.name, **cast(Any, rest.arguments), **cast(Any, split))
    return made


def _call(what: str, given: str | Call, known: tuple[str, ...], least: int = 1) -> Call:
    """An option's text as a call with whole numbers.

    Raises:
        UserError: an argument that it does not take.
    """
    call = given if isinstance(given, Call) else parse_call(given)
    for name, value in call.arguments.items():
        if name not in known or not isinstance(value, int) or isinstance(value, bool) or value < least:
            takes = f"takes whole numbers {' and '.join(known)}" if known else "takes no arguments"
            raise UserError(f"{what} {call.name} {takes}, not {name}={value!r}")
    return call


def _tower(folder: Path, pooling: str | Call | None, seed: int) -> tuple[list[Any], list[Any]]:
    """The steps from a text to its vector, and the normalisation after them where the folder ends in one."""
    from sentence_transformers.sentence_transformer.modules import Normalize

    if pooling is None and (folder / "modules.json").is_file():
        from similis.encoders.loading import load

        found = load(folder)
        steps = list(found.model.children()) if found.family == "dense" else []
        if not steps or type(steps[0]).__name__ not in ("Transformer", "Router"):
            raise UserError(f"{folder} is no dense transformer; a new model is made from one")
        ends = [step for step in steps if isinstance(step, Normalize)]
        return [step for step in steps if not isinstance(step, Normalize)], ends
    first = transformer(folder, "feature-extraction", seed)
    return [first, *_pooled(first, pooling or "mean", seed)], [Normalize()] if _normalizes(folder) else []


def _normalizes(folder: Path) -> bool:
    """Whether the model in a folder ends in a normalisation."""
    from similis.encoders.folder import read_modules

    return (folder / "modules.json").is_file() and read_modules(folder)[-1].kind == "Normalize"


def _pooled(first: Any, pooling: str | Call, seed: int) -> list[Any]:
    """The steps of a pooling by its text."""
    from sentence_transformers.sentence_transformer.modules import Pooling

    call = pooling if isinstance(pooling, Call) else parse_call(pooling)
    own = int(first.get_embedding_dimension())
    if call.name in _PLAIN:
        known: tuple[str, ...] = ()
    elif call.name in _LEARNED:
        known = _LEARNED[call.name]
    else:
        names = (*_PLAIN, *_LEARNED)
        said = f"pooling must be one of {', '.join(names)}, not {call.name!r}"
        raise UserError(said + did_you_mean(call.name, names))
    _call("pooling", call, known, least=0 if "start" in known else 1)
    if call.name in _PLAIN:
        return [Pooling(own, pooling_mode=call.name)]
    given: dict[str, Any] = dict(call.arguments)
    return [_learned(call.name, first, own, given, seed), Pooling(own, pooling_mode="mean")]


def _learned(name: str, first: Any, own: int, given: dict[str, Any], seed: int) -> Any:
    """The step before the mean that has weights."""
    from sentence_transformers.sentence_transformer.modules import WeightedLayerPooling

    from similis.encoders.modules import LatentAttention, ScalarMix

    if name == "latent_attention":
        heads = given.get("heads", 8)
        if heads > own:
            raise UserError(f"latent_attention has at most {own} heads for vectors of {own} coordinates, got {heads}")
        return LatentAttention(own, given.get("latents", 512), heads, seed=seed)
    layers, start = int(first.auto_model.config.num_hidden_layers), given.get("start", 1)
    if start > layers:
        raise UserError(f"{name} starts at a layer from 0 (the input vectors) to {layers}, got {start}")
    first.auto_model.config.output_hidden_states = True
    if name == "scalar_mix":
        return ScalarMix(own, layers + 1 - start, start)
    return WeightedLayerPooling(own, num_hidden_layers=layers, layer_start=start)


def _size(steps: list[Any]) -> int:
    return int(steps[-1].get_embedding_dimension())


def _project(steps: list[Any], dimension: int | None, seed: int, path: str) -> None:
    """Append a projection where a dimension is asked for that is not the tower's own.

    Raises:
        UserError: it is larger than that.
    """
    own = _size(steps)
    if dimension is None or dimension == own:
        return
    if not 1 <= dimension <= own:
        raise UserError(f"dimension must lie between 1 and {own} for {path}, got {dimension}")
    steps.append(_projection(own, dimension, seed))


def _projection(own: int, dimension: int, seed: int) -> Any:
    """A linear map whose directions are orthogonal to begin with."""
    from sentence_transformers.base.modules import Dense

    step = Dense(own, dimension, bias=False, activation_function=nn.Identity())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        nn.init.orthogonal_(step.linear.weight)
    return step
