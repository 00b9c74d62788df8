"""A sentence-transformers model in training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from similis.encoders.base import DOCUMENT_PROMPTS
from similis.encoders.library.batching import most_tokens
from similis.encoders.library.encoder import LibraryEncoder
from similis.similarity.padding import joined
from similis.training.recipe import Recipe
from similis.training.rows.examples import Integers
from similis.training.trainees.peft import adapt
from similis.training.trainees.processor import quickened

_NO_DECAY = ("bias", "LayerNorm.weight", "layer_norm.weight", "norm.weight")

#: Padded tokens that one more forward pass costs about as much as: what it must save to be worth taking.
_PASS_TOKENS = 256


class TransformerTrainee:
    """Implements :class:`~similis.training.trainees.base.Trainee`.

    Texts of a step are sorted by length and embedded in as many passes as save more padding than a pass costs.

    Args:
        encoder: its module is trained in place.
        texts: the run's table.
    """

    block = 64
    dev_keys = 1_000
    shards = True

    def __init__(self, encoder: LibraryEncoder[Any], texts: Sequence[str], recipe: Recipe) -> None:
        self._encoder = encoder
        if encoder.family == "sparse":
            self.block = 16  # every token has a row over the vocabulary
        self._texts = texts
        self._module: nn.Module = encoder.module
        if recipe.max_seq_length is not None:
            encoder.model.max_seq_length = recipe.max_seq_length
        if recipe.peft is not None:
            with torch.random.fork_rng():
                torch.manual_seed(recipe.seed)
                adapt(encoder.model, recipe.peft)
        drop_no_attention(self._module)
        # characters stand for tokens: close enough to group like lengths, and nothing is tokenised twice
        self.lengths: Integers | None = np.fromiter(map(len, texts), np.int64, len(texts))
        prompts = encoder.prompts
        default = encoder.default_prompt_name
        document = next((prompts[name] for name in DOCUMENT_PROMPTS if prompts.get(name)), "")
        fallback = prompts.get(default, "") if default else ""
        self._prompts = {True: prompts.get("query") or fallback, False: document or fallback}
        self._end: Callable[[], None] = lambda: None

    @property
    def module(self) -> nn.Module:
        return self._module

    @property
    def dimension(self) -> int:
        return int(self._encoder.dimension)

    def embed(self, texts: Sequence[tuple[Integers, bool]]) -> list[Tensor]:
        if self._encoder.sided or self._prompts[True] != self._prompts[False] or _with_themselves(texts):
            return [self._embed(codes, queries) for codes, queries in texts]
        every = self._embed(np.concatenate([codes for codes, _ in texts]), True)
        return list(every.split([len(codes) for codes, _ in texts]))

    def _embed(self, codes: Integers, queries: bool) -> Tensor:
        # a text that comes several times in a batch is encoded once
        distinct, place = np.unique(codes, return_inverse=True)
        own = [self._texts[code] for code in distinct]
        features = self._encoder.preprocess(own, self._prompts[queries], "query" if queries else "document")
        order, parts = [], []
        for rows, part in like_lengths(features):
            order.append(rows)
            parts.append(self._encoder.forward_features(part))
        vectors = joined(parts)
        position = torch.empty(len(distinct), dtype=torch.long)
        position[torch.cat(order)] = torch.arange(len(distinct))
        return vectors[position[torch.from_numpy(place)].to(vectors.device)]

    def optimizers(self, recipe: Recipe) -> list[Optimizer]:
        self._end = quickened(self.module)  # not before: only now is it where it will be trained
        return adamw(self.module, recipe)

    def encoder(self) -> LibraryEncoder[Any]:
        self._end()
        self.module.eval()
        return self._encoder


def _with_themselves(texts: Sequence[tuple[Integers, bool]]) -> bool:
    """Whether rows pair a text with itself (SimCSE): only another pass, with dropout of its own, makes them differ."""
    if len(texts) != 2 or len(texts[0][0]) > len(texts[1][0]):
        return False
    queries, keys = texts[0][0], texts[1][0]
    return bool((queries == keys[: len(queries)]).any())


def adamw(module: nn.Module, recipe: Recipe) -> list[Optimizer]:
    """AdamW over a transformer's parameters; biases and norms do not decay."""
    named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    groups = [
        {"params": [p for n, p in named if not n.endswith(_NO_DECAY)], "weight_decay": recipe.weight_decay},
        {"params": [p for n, p in named if n.endswith(_NO_DECAY)], "weight_decay": 0.0},
    ]
    # fused: a step of a small model on a CPU would else take a quarter of the run
    return [torch.optim.AdamW([g for g in groups if g["params"]], lr=recipe.learning_rate or 0.0, fused=True)]


def drop_no_attention(module: nn.Module) -> None:
    """Switch off dropout of attention weights: with it, torch's fast attention cannot be used in training.

    Dropout of the hidden states stays. The saved model's settings are not changed.
    """
    for part in module.modules():
        if "Attention" not in type(part).__name__:
            continue
        for name in ("dropout", "attention_dropout", "attn_dropout"):
            value = getattr(part, name, None)
            if isinstance(value, nn.Dropout) and not hasattr(part, "LayerNorm"):
                value.p = 0.0
            elif isinstance(value, float):
                setattr(part, name, 0.0)


def like_lengths(features: Mapping[str, Any]) -> Iterator[tuple[Tensor, dict[str, Any]]]:
    """Model inputs of ``n`` texts in parts of like length: rows ``[n_i]``, and their inputs with less padding.

    Inputs that are not padded on the right, have no attention mask, or have tokens beyond it, are one part.
    """
    mask = features.get("attention_mask")
    if "query_expansion_positions" in features:
        mask = None
    if not isinstance(mask, Tensor) or mask.dim() != 2 or bool((mask[:, 1:] > mask[:, :-1]).any()):
        count = len(next(value for value in features.values() if isinstance(value, Tensor)))
        yield torch.arange(count), dict(features)
        return
    lengths = mask.sum(1).cpu()
    order = torch.argsort(lengths, descending=True, stable=True)
    bounds = _cuts(lengths[order].tolist(), most_tokens(mask.device))
    for start, stop in pairwise(bounds):
        rows = order[start:stop]
        longest = int(lengths[rows[0]])
        yield rows, {name: _cut(value, mask.shape, rows, longest) for name, value in features.items()}


def _cut(value: Any, shape: torch.Size, rows: Tensor, longest: int) -> Any:
    return value[rows.to(value.device), :longest] if isinstance(value, Tensor) and value.shape[:2] == shape else value


def _cuts(lengths: Sequence[int], most: int | None) -> list[int]:
    """Bounds of the parts of texts of falling ``lengths`` that cost least, padding and passes together.

    The best last part of the first ``i`` texts is found for every ``i`` among starts at multiples of four. No part has
    more than ``most`` tokens, if it can be cut there.
    """
    count = len(lengths)
    starts = list(range(0, count, 4))
    best, come_from = {0: 0}, {}
    for stop in [*starts[1:], count]:
        sizes = ((lengths[start] * (stop - start), start) for start in starts if start < stop)
        costs = (
            (best[start] + size + _PASS_TOKENS, start)
            for size, start in sizes
            if most is None or size <= most or stop - start <= 4
        )
        best[stop], come_from[stop] = min(costs)
    bounds = [count]
    while bounds[-1]:
        bounds.append(come_from[bounds[-1]])
    return bounds[::-1]
