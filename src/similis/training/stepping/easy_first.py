"""A curriculum: rows that a search by words finds easy count more at first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from similis.errors import UserError, did_you_mean
from similis.registry import Source, register
from similis.training.rows.examples import Examples, Integers, TextTable
from similis.training.stepping.base import Embedded, Run, Stepping
from similis.training.stepping.compatible import plain_of

HEURISTICS = ("rank", "score")

Floats = NDArray[np.float32]


@register(
    "stepping",
    "easy_first",
    source=Source(
        "Training Curricula for Open Domain Answer Re-Ranking",
        "MacAvaney, Nardini, Perego, Tonellotto, Goharian and Frieder",
        2020,
    ),
    family="curricula",
)
class EasyFirst(Stepping):
    """Rows whose positive BM25 ranks high, and whose negatives it ranks low, weigh more in the first steps.

    Definition: D(d) is the reciprocal of the rank that BM25 gives document d for the query, or its score, 0 for the
    least of those found and 1 for the best; 0 where it is not found. A row's easiness is
    w = min_j (D(positive) - D(negative_j) + 1) / 2, and its loss is weighted by w + (1 - w) · step / ``steps``: by 1
    from then on. Checked against the authors' code, which goes by epochs and multiplies a batch's mean loss by its
    mean weight, where here, as in the paper, each row's loss has its own. Without given negatives D(negative) is 0.

    Args:
        steps: optimiser steps of the curriculum.
        heuristic: ``rank`` or ``score``.
        depth: documents that BM25 looks at.
    """

    def __init__(self, steps: int = 500, heuristic: str = "rank", depth: int = 100) -> None:
        if steps < 1 or depth < 1:
            raise UserError(f"easy_first needs steps and depth of at least 1, not steps={steps}, depth={depth}")
        if heuristic not in HEURISTICS:
            raise UserError(
                f"easy_first's heuristic is rank or score, not {heuristic!r}{did_you_mean(heuristic, HEURISTICS)}"
            )
        self.steps, self.heuristic, self.depth = steps, heuristic, depth
        self.step = 0

    def begin(self, run: Run) -> None:
        self._easy: dict[int, dict[tuple[int, int], float]] = {}
        for number, part in enumerate(run.parts):
            examples = part.examples
            if examples.supervision not in ("pairs", "triplets") or not isinstance(examples.table, TextTable):
                raise UserError(
                    f"easy_first weighs pairs and triplets of texts, and the rows are {examples.supervision}"
                )
            if part.objective.keys is not None:
                raise UserError("easy_first takes the objective a second time, and its keys remember: leave keys out")
            self._easy[number] = easiness(examples, self.heuristic, self.depth)
        self._parts = run.parts

    def loss(self, embedded: Embedded, loss: Tensor) -> Tensor:
        if self.step >= self.steps:
            return loss
        part, rows = embedded.drawn
        easy = self._easy[next(n for n, each in enumerate(self._parts) if each is part)]
        weight = torch.from_numpy(row_weights(part.examples, rows, easy)).to(embedded.queries.device)
        weight = weight + (1 - weight) * (self.step / self.steps)
        objective, queries, keys = plain_of(part.objective), embedded.queries, embedded.keys
        weighted: Tensor = objective(queries, keys, replace(embedded.relation, row_weight=weight))
        if len(part.objective.regularizers):
            # the regularizers' share stays as it is
            whole: Tensor = objective(queries, keys, embedded.relation)
            return loss - whole + weighted * weight.mean()
        return weighted * weight.mean()

    def stepped(self) -> None:
        self.step += 1

    def state(self) -> dict[str, Tensor]:
        return {"step": torch.tensor(self.step)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.step = int(state["step"])


def easiness(examples: Examples, heuristic: str, depth: int) -> dict[tuple[int, int], float]:
    """D of each (folded query, folded document) that BM25 finds among the rows' documents, in 0..1."""
    from similis.indexes import LexicalRetriever

    assert examples.keys is not None
    table, folded = examples.table, examples.table.folded
    given = [examples.keys] if examples.negatives is None else [examples.keys, examples.negatives.ravel()]
    codes = np.concatenate(given)
    codes = codes[codes >= 0]
    pool = codes[np.unique(folded[codes], return_index=True)[1]]
    queries = examples.queries[np.unique(folded[examples.queries], return_index=True)[1]]
    words = LexicalRetriever.build([str(i) for i in range(len(pool))], [table.texts[code] for code in pool])
    found: dict[tuple[int, int], float] = {}
    hits = words.search([table.texts[code] for code in queries], min(depth, len(pool)))
    for query, hit in zip(folded[queries].tolist(), hits, strict=True):
        scores = np.asarray([score for score in hit.scores if score > 0], np.float64)
        least, most = (float(scores.min()), float(scores.max())) if len(scores) else (0.0, 0.0)
        for rank, (place, score) in enumerate(zip(hit.ids, scores, strict=False), 1):
            value = 1 / rank if heuristic == "rank" else (score - least) / (most - least) if most > least else 1.0
            found[query, int(folded[pool[int(place)]])] = float(value)
    return found


def row_weights(examples: Examples, rows: Integers, easy: Mapping[tuple[int, int], float]) -> Floats:
    """The easiness of rows ``[n]``: 1 where words find the positive first and no negative, 0 the other way round."""
    assert examples.keys is not None
    folded = examples.table.folded
    found = np.zeros(len(rows), np.float32)
    for place, row in enumerate(rows.tolist()):
        query = int(folded[examples.queries[row]])
        own = easy.get((query, int(folded[examples.keys[row]])), 0.0)
        codes = np.zeros(0, np.int64) if examples.negatives is None else examples.negatives[row]
        hardest = max((easy.get((query, int(folded[code])), 0.0) for code in codes if code >= 0), default=0.0)
        found[place] = (own - hardest + 1) / 2
    return found
