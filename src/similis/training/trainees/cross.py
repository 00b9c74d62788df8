"""A cross-encoder in training: what it gives an objective are the scores of pairs of texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from similis.encoders.scorers.cross import CrossEncoderScorer
from similis.errors import UserError
from similis.objective import Objective
from similis.training.recipe import Recipe
from similis.training.rows.examples import Integers
from similis.training.trainees.processor import quickened
from similis.training.trainees.transformer import adamw, drop_no_attention, like_lengths

#: Criteria that make the raw score a log-odds: its sigmoid is then a probability, and stated as the model's score.
_LOG_ODDS = ("binary_cross_entropy",)


class CrossTrainee:
    """Implements :class:`~similis.training.trainees.base.Trainee` for a model that reads pairs.

    The loop asks it for :meth:`score`, and hands the scores to the objective as keys of one dimension against queries
    that are all 1, so that their inner product is the score and every criterion works as it is.

    Args:
        scorer: its model is trained in place.
        texts: the run's table.
        objective: says what the trained scores mean.
    """

    reads_pairs = True
    block = 64
    dev_keys = 12
    shards = True
    dimension = 1

    def __init__(self, scorer: CrossEncoderScorer, texts: Sequence[str], recipe: Recipe, objective: Objective) -> None:
        self._scorer, self._texts = scorer, texts
        drop_no_attention(scorer.model)
        if recipe.max_seq_length is not None:
            scorer.model.max_seq_length = recipe.max_seq_length
        scorer.activation = "sigmoid" if str(objective).startswith(_LOG_ODDS) else "identity"
        self._prompt = scorer.prompts.get(scorer.default_prompt_name or "", "")
        self.lengths: Integers | None = np.fromiter(map(len, texts), np.int64, len(texts))
        self._end: Callable[[], None] = lambda: None

    @property
    def module(self) -> nn.Module:
        module: nn.Module = self._scorer.model
        return module

    def score(self, queries: Integers, keys: Integers) -> Tensor:
        """Raw scores ``[n, L]`` of queries ``[n]`` with their keys ``[n, L]``; 0 where a key is -1.

        A pair that comes several times is read once.
        """
        real = np.flatnonzero(keys.ravel() >= 0)
        pairs = np.stack([np.repeat(queries, keys.shape[1]), keys.ravel()], 1)[real]
        distinct, place = np.unique(pairs, axis=0, return_inverse=True)
        features = self._scorer.preprocess([(self._texts[q], self._texts[k]) for q, k in distinct], self._prompt)
        order, parts = [], []
        for rows, part in like_lengths(features):
            order.append(rows)
            parts.append(self._scorer.forward_features(part))
        found = torch.cat(parts)
        position = torch.empty(len(distinct), dtype=torch.long)
        position[torch.cat(order)] = torch.arange(len(distinct))
        scores = found.new_zeros(keys.size)
        chosen = found[position[torch.from_numpy(place.ravel())].to(found.device)]
        return scores.index_copy(0, torch.from_numpy(real).to(found.device), chosen).view(keys.shape)

    def embed(self, texts: Sequence[tuple[Integers, bool]]) -> NoReturn:
        """Refuse: a text alone has no embedding here.

        Raises:
            UserError: always.
        """
        raise UserError(
            "a cross-encoder embeds no texts, so nothing can be searched by it: take negatives from words, as in "
            "negatives=bm25(count=4)"
        )

    def optimizers(self, recipe: Recipe) -> list[Optimizer]:
        self._end = quickened(self.module)
        return adamw(self.module, recipe)

    def encoder(self) -> Any:
        """The scorer with the module's present weights."""
        self._end()
        self.module.eval()
        return self._scorer
