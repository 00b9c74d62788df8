"""A cross-encoder that compares two documents under a query: what it reads, and rows to train it on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from similis.encoders.base import Vectors
from similis.encoders.scorers.cross import CrossEncoderScorer
from similis.errors import UserError


class DuoScorer:
    """Reads (query, first document, separator, second document) and says how likely the first one is the better.

    Documents are cut to equal shares of what the query leaves of the model's length. Used by
    :class:`similis.search.Duo`.
    Source: "Multi-Stage Document Ranking with BERT", Nogueira, Yang, Cho and Lin, 2019 (duoBERT).

    Args:
        scorer: a cross-encoder trained on :meth:`rows` by ``binary_cross_entropy``, or one to be trained.

    Raises:
        UserError: its tokenizer has no separator, or is no fast one.
    """

    def __init__(self, scorer: CrossEncoderScorer) -> None:
        self.scorer = scorer
        tokenizer: Any = scorer.model.tokenizer
        if not getattr(tokenizer, "is_fast", False) or not tokenizer.sep_token:
            raise UserError("comparing two documents needs a model whose fast tokenizer has a separator token")
        self._tokenizer = tokenizer

    def compare(self, triples: Sequence[tuple[str, str, str]], *, batch_size: int = 32) -> Vectors:
        """Probabilities ``[n]`` that the first document of (query, first, second) is the better answer."""
        raw = self.scorer.score(self.pairs(triples), batch_size=batch_size, raw=True).astype(np.float64)
        return np.asarray(1 / (1 + np.exp(-raw)), np.float32)

    def rows(self, triplets: Iterable[tuple[str, str, str]]) -> list[tuple[str, str, float]]:
        """Scored pairs to train on, of (query, better, worse): each in both orders, 1 where the better is first."""
        both = [
            (query, first, second, label)
            for query, better, worse in triplets
            for first, second, label in ((better, worse, 1.0), (worse, better, 0.0))
        ]
        pairs = self.pairs([(query, first, second) for query, first, second, _ in both])
        return [(query, text, label) for (query, text), (*_, label) in zip(pairs, both, strict=True)]

    def pairs(self, triples: Sequence[tuple[str, str, str]]) -> list[tuple[str, str]]:
        """What the cross-encoder reads of each: the query, and both documents around the separator."""
        limit = self.scorer.max_tokens
        texts = list(dict.fromkeys(text for triple in triples for text in triple))
        ends = dict(zip(texts, self._ends(texts), strict=True))
        special = self._tokenizer.num_special_tokens_to_add(pair=True) + 1
        made = []
        for query, first, second in triples:
            share = None if limit is None else max(1, (limit - special - len(ends[query])) // 2)
            shown = [_cut(text, ends[text], share) for text in (first, second)]
            made.append((query, f" {self._tokenizer.sep_token} ".join(shown)))
        return made

    def _ends(self, texts: list[str]) -> list[list[int]]:
        """Where each token of each text ends, in characters."""
        if not texts:
            return []
        quiet = {"add_special_tokens": False, "truncation": False, "padding": False, "verbose": False}
        found = self._tokenizer(texts, return_offsets_mapping=True, return_attention_mask=False, **quiet)
        return [[end for _, end in offsets] for offsets in found["offset_mapping"]]


def _cut(text: str, ends: list[int], share: int | None) -> str:
    return text if share is None or len(ends) <= share else text[: ends[share - 1]]
