"""Texts longer than a transformer reads: split into windows, encode each, aggregate (SEA)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch
from sentence_transformers.base.modules import Transformer
from torch import Tensor, nn

from similis.encoders.modules.splitting import packed, pieces
from similis.encoders.modules.weighted import WeightedModule, retyped
from similis.errors import UserError

#: Windows that go through the transformer at once where no gradient is asked for; bounds memory.
_AT_ONCE = 64

AGGREGATES = ("mean", "max", "attention", "attention_mean")


class WindowTransformer(Transformer):  # type: ignore[misc]
    """A transformer that reads a text in windows, each of them a text to it; a short text is one window.

    Each window has the special tokens and the prompt of its own. What follows sees windows as rows, and ``windows``
    ``[n]`` says how many each text has: :class:`WindowAggregation` makes one row a text of them.

    Args:
        window: tokens of a window, special tokens and prompt among them.
        step: tokens from the start of a window to that of the next; windows overlap where it is smaller.
        most: windows read of a text; None: all.
        split: where a text is cut: ``tokens``: anywhere; ``paragraphs`` or ``python`` (statements, by the syntax tree):
            whole ones fill a window as far as it goes, and only one that is longer is read in overlapping windows.

    Source: "Tackling Long Code Search with Splitting, Encoding, and Aggregating", Hu, Wang, Du, Zhang, Han, Zhang and
    Li, 2024 (SEA); their windows overlap by half.
    """

    __module__ = "similis.encoders.modules"
    config_keys: ClassVar[list[str]] = [*Transformer.config_keys, "window", "step", "most", "split"]

    def __init__(
        self,
        model_name_or_path: str,
        *,
        window: int | None = None,
        step: int | None = None,
        most: int | None = None,
        split: str = "tokens",
        **kwargs: Any,
    ) -> None:
        super().__init__(model_name_or_path, **kwargs)
        self._set(window, step, most)
        self.split = split

    @classmethod
    def over(
        cls,
        transformer: Transformer,
        window: int | None,
        step: int | None,
        most: int | None,
        split: str = "tokens",
    ) -> WindowTransformer:
        """The same transformer, its weights shared, reading windows.

        Raises:
            UserError: a window that is larger than what it reads or has no room for a token, a step that would leave
                tokens out, or a tokenizer that does not split texts.
        """
        made = retyped(transformer, cls)
        made._set(window, step, most)
        made.split = split
        return made

    def _set(self, window: int | None, step: int | None, most: int | None) -> None:
        tokenizer = self.tokenizer
        if not getattr(tokenizer, "is_fast", False):
            raise UserError("windows need a fast tokenizer (tokenizer.json), which this transformer lacks")
        longest = int(tokenizer.model_max_length)
        special = int(tokenizer.num_special_tokens_to_add())
        window = min(512, longest) if window is None else window
        room = window - special
        step = max(1, room // 2) if step is None else step
        if not (room >= 1 and window <= longest):
            raise UserError(f"a window has from {special + 1} to {longest} tokens for this model, got {window}")
        if not 1 <= step <= room:
            raise UserError(f"the step between windows of {window} tokens lies between 1 and {room}, got {step}")
        if most is not None and most < 1:
            raise UserError(f"at least 1 window of a text is read, got {most}")
        self.window, self.step, self.most = window, step, most

    @property
    def max_seq_length(self) -> int | None:
        """Tokens read of a text; None: all."""
        return None if self.most is None else self.window + (self.most - 1) * self.step

    @max_seq_length.setter
    def max_seq_length(self, value: int | None) -> None:
        if value is not None:  # what a run reads of a text at most is what it reads of a window
            self._set(value, min(self.step, value - (self.window - self._room)), self.most)

    @property
    def _room(self) -> int:
        """Tokens of a window that are the text's own."""
        return self.window - int(self.tokenizer.num_special_tokens_to_add())

    def preprocess(self, inputs: Sequence[Any], prompt: str | None = None, **kwargs: Any) -> dict[str, Any]:
        """Token ids and mask ``[n, windows, tokens]``, padded; ``windows`` ``[n]`` counts each text's own."""
        if not inputs:
            return {}
        texts = [text.lower() for text in inputs] if self.do_lower_case else list(inputs)
        added = self.tokenizer(prompt, add_special_tokens=False)["input_ids"] if prompt else []
        own = self._room - len(added)
        if own < 1:
            raise UserError(f"the prompt has {len(added)} tokens and leaves no room in windows of {self.window}")
        blocks, owners = self._blocks(texts, own)
        found = self.tokenizer(
            blocks,
            truncation=True,
            max_length=self.window - len(added),
            stride=max(0, own - self.step),
            return_overflowing_tokens=True,
            return_special_tokens_mask=True,
        )
        texts_of = np.array(owners)[found["overflow_to_sample_mapping"]]
        starts = np.searchsorted(texts_of, np.arange(len(texts) + 1))
        rows = [range(start, stop)[: self.most] for start, stop in pairwise(starts.tolist())]
        ids, special = found["input_ids"], found["special_tokens_mask"]
        tokens = [[_with_prompt(ids[row], special[row], added) for row in each] for each in rows]
        most, longest = max(map(len, rows)), max(len(row) for each in tokens for row in each)
        padded = torch.full((len(texts), most, longest), int(self.tokenizer.pad_token_id or 0))
        mask = torch.zeros_like(padded)
        for text, each in enumerate(tokens):
            for number, row in enumerate(each):
                padded[text, number, : len(row)] = torch.tensor(row)
                mask[text, number, : len(row)] = 1
        features: dict[str, Any] = {"input_ids": padded, "attention_mask": mask, "modality": "text"}
        features["windows"] = torch.tensor([len(each) for each in rows])
        if added:
            features["prompt_length"] = len(added) + [*special[0], 0].index(0)
        return features

    def _blocks(self, texts: list[str], room: int) -> tuple[list[str], list[int]]:
        """What is cut into windows by itself, and the number of the text that each is of."""
        if self.split == "tokens":
            return texts, list(range(len(texts)))
        found: list[str] = []
        owners: list[int] = []
        for number, text in enumerate(texts):
            parts = pieces(text, self.split) or [""]
            lengths = [len(ids) for ids in self.tokenizer(parts, add_special_tokens=False, verbose=False)["input_ids"]]
            own = packed(parts, lengths, room)
            found += own
            owners += [number] * len(own)
        return found, owners

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Token vectors ``[windows of all texts, tokens, d]``, with their ids and mask."""
        real = features["attention_mask"].any(-1)
        features["input_ids"], features["attention_mask"] = (
            features[name][real] for name in ("input_ids", "attention_mask")
        )
        count = len(features["input_ids"])
        size = count if torch.is_grad_enabled() else _AT_ONCE
        parts = []
        for start in range(0, count, size):
            part = {name: features[name][start : start + size] for name in ("input_ids", "attention_mask")}
            parts.append(super().forward({**part, "modality": "text"}, **kwargs))
        features[self.module_output_name] = torch.cat([part[self.module_output_name] for part in parts])
        if "all_layer_embeddings" in parts[0]:
            layers = zip(*(part["all_layer_embeddings"] for part in parts), strict=True)
            features["all_layer_embeddings"] = tuple(torch.cat(layer) for layer in layers)
        return features


def _with_prompt(ids: list[int], special: list[int], prompt: list[int]) -> list[int]:
    """A window's ids with the prompt's after the special tokens that it starts with."""
    place = [*special, 0].index(0)
    return [*ids[:place], *prompt, *ids[place:]]


class WindowAggregation(WeightedModule):
    """One vector a text from those of its windows ``[windows of all texts, d]``.

    ``mean`` and ``max`` over windows; ``attention``: the sum of softmax(w · e_i)_i e_i with learned w;
    ``attention_mean``: half of that and half of the mean. w starts at zero, so that both start as the mean, and a text
    of one window has that window's vector by any of them.

    Args:
        embedding_dimension: d.
        how: one of :data:`AGGREGATES`.

    Source: SEA (see :class:`WindowTransformer`), whose best is one layer of attention with the mean. Checked against
    the authors' code; theirs adds the mean once for every window,
    which only weighs it more, and has a bias, which a softmax does not see.
    """

    __module__ = "similis.encoders.modules"
    config_keys: ClassVar[list[str]] = ["embedding_dimension", "how"]

    def __init__(self, embedding_dimension: int, how: str = "mean") -> None:
        super().__init__()
        self.embedding_dimension, self.how = embedding_dimension, how
        if how.startswith("attention"):
            self.scores = nn.Linear(embedding_dimension, 1, bias=False)
            nn.init.zeros_(self.scores.weight)

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Replace ``sentence_embedding`` by ``[n, d]``; without ``windows`` nothing is done."""
        counts = features.pop("windows", None)
        if counts is not None:
            features["sentence_embedding"] = self._aggregated(features["sentence_embedding"], counts)
        return features

    def _aggregated(self, windows: Tensor, counts: Tensor) -> Tensor:
        real = torch.arange(int(counts.max()), device=counts.device) < counts.unsqueeze(1)
        sets = windows.new_zeros(*real.shape, windows.shape[1])
        sets[real] = windows
        if self.how == "max":
            return sets.masked_fill(~real.unsqueeze(-1), -torch.inf).amax(1)
        mean = sets.sum(1) / counts.unsqueeze(1)
        if self.how == "mean":
            return mean
        shares = self.scores(sets).squeeze(-1).masked_fill(~real, -torch.inf).softmax(1)
        attended = torch.einsum("nw,nwd->nd", shares, sets)
        return attended if self.how == "attention" else (attended + mean) / 2

    def get_embedding_dimension(self) -> int:
        """d: as many as come in."""
        return self.embedding_dimension
