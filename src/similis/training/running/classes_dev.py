"""A dev set of classes that are not learnt: do items find others of their class among themselves?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from similis.similarity import Similarity
from similis.training.rows.examples import Integers

if TYPE_CHECKING:
    from similis.training.running.dev import Embed

_BLOCK = 1 << 22  # scores held at once


@dataclass(frozen=True, eq=False)
class ClassesDev:
    """MAP@R over items of held-out classes, each among all others.

    Items alone in their class are left out. Definition: "A Metric Learning Reality Check", Musgrave, Belongie and Lim,
    2020; checked against :func:`similis.evaluation.evaluate_labels`.

    Attributes:
        items: codes ``[n]``.
        labels: ``[n]``.
    """

    items: Integers
    labels: Integers
    metric: str = "MAP@R on new classes"

    def value(self, embed: Embed, similarity: Similarity) -> float:
        vectors = embed(self.items, True)
        labels = torch.from_numpy(self.labels).to(vectors.device)
        others = torch.from_numpy(np.bincount(self.labels)[self.labels] - 1).to(vectors.device)
        keys, step = similarity.prepare_keys(vectors), max(1, _BLOCK // len(vectors))
        depth = int(others.max())
        ranks = torch.arange(1, depth + 1, device=vectors.device)
        values = []
        for start in range(0, len(vectors), step):
            scores = similarity.score(similarity.prepare_queries(vectors[start : start + step]), keys)
            rows = torch.arange(len(scores), device=scores.device)
            scores[rows, start + rows] = -torch.inf
            found = labels[scores.topk(depth, dim=-1).indices] == labels[start + rows].unsqueeze(1)
            wanted = others[start + rows]
            found = found & (ranks <= wanted.unsqueeze(1))
            precision = found.cumsum(1) / ranks
            values.append((precision * found).sum(1)[wanted > 0] / wanted[wanted > 0])
        return float(torch.cat(values).double().mean())


def new_classes(dev: Integers, train: Integers) -> bool:
    """Whether dev labels are all of classes that the training labels lack, and some class has two items."""
    return not np.isin(dev, train).any() and bool((np.bincount(dev) > 1).any())
