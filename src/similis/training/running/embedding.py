"""What a batch's texts become: embeddings of queries and keys, of lists of keys, or the scores of pairs."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from similis.objective import cached
from similis.training.rows.examples import Batch, Integers
from similis.training.running.dev import Embed, no_graph
from similis.training.running.processes import Processes
from similis.training.trainees.base import Trainee


def embedded(
    batch: Batch, trainee: Trainee, processes: Processes, mini_batch_size: int | None
) -> tuple[Tensor, Tensor | None]:
    """Queries ``[n, ...]`` and keys ``[m, ...]``, ``[n, L, ...]`` of lists, or None where the keys are the queries.

    Args:
        batch: the texts.
        trainee: gives their embeddings, or the scores of pairs.
        processes: of which this one embeds a part.
        mini_batch_size: rows encoded at once with a graph; None: all.
    """
    if reads_pairs(trainee):
        return _scored(batch, trainee, processes, mini_batch_size)
    if batch.vectors is not None:
        queries = _sides([(batch.queries, True)], trainee, processes, mini_batch_size)[0]
        return queries, batch.vectors.to(queries.device)
    if batch.keys is not None and batch.keys.ndim == 2:
        return _listed(batch, trainee, processes, mini_batch_size)
    sides = [(batch.queries, True)] + ([] if batch.keys is None else [(batch.keys, False)])
    found = _sides(sides, trainee, processes, mini_batch_size)
    return found[0], (found[1] if len(found) > 1 else None)


def reads_pairs(trainee: Trainee) -> bool:
    """Whether the trainee scores pairs of texts (a cross-encoder) and embeds none."""
    return bool(getattr(trainee, "reads_pairs", False))


def judged_by(trainee: Trainee) -> Embed:
    """The model as a dev set asks it: embeddings of codes, or scores ``[n, L]`` of queries with lists of keys."""
    if not reads_pairs(trainee):
        return no_graph(lambda codes, side: trainee.embed([(codes, side)])[0].float(), trainee.block)

    def score(queries: Integers, keys: Any) -> Tensor:
        if isinstance(keys, bool):
            trainee.embed([(queries, keys)])  # says that it cannot
        step = max(1, trainee.block // max(1, keys.shape[1]))
        starts = range(0, len(queries), step)
        with torch.no_grad():
            parts = [_score(trainee, queries[i : i + step], keys[i : i + step]).float() for i in starts]
        return torch.cat(parts) if parts else torch.zeros(keys.shape)

    return cast(Embed, score)


def _score(trainee: Trainee, queries: Integers, keys: Integers) -> Tensor:
    return cast(Tensor, cast(Any, trainee).score(queries, keys))


def _scored(batch: Batch, trainee: Trainee, processes: Processes, size: int | None) -> tuple[Tensor, Tensor]:
    """Queries that are all 1 and keys that are scores, so that their inner product is the score."""
    assert batch.keys is not None
    keys = batch.keys if batch.keys.ndim == 2 else batch.keys[:, None]
    rows = np.arange(len(keys))
    own = processes.own_part(rows, trainee)

    def score(chunk: Integers) -> Tensor:
        with processes.autocast():
            return _score(trainee, batch.queries[chunk], keys[chunk]).float()

    found = score(own) if size is None else cached(score, _chunks(own, size))
    scores = processes.gathered(found, rows, trainee)
    return torch.ones_like(scores[:, :1]), scores.unsqueeze(-1) if batch.keys.ndim == 2 else scores


def _listed(batch: Batch, trainee: Trainee, processes: Processes, size: int | None) -> tuple[Tensor, Tensor]:
    """Lists of keys: each distinct text is embedded once; a place without a key has its list's first."""
    assert batch.keys is not None
    filled = np.where(batch.keys < 0, batch.keys[:, :1], batch.keys)
    distinct, place = np.unique(filled, return_inverse=True)
    queries, keys = _sides([(batch.queries, True), (distinct, False)], trainee, processes, size)
    return queries, keys[torch.from_numpy(place.reshape(filled.shape)).to(keys.device)]


def _sides(
    sides: list[tuple[Integers, bool]], trainee: Trainee, processes: Processes, size: int | None
) -> list[Tensor]:
    if size is None:
        return processes.embed(trainee, sides)
    return [processes.gathered(_cached(codes, side, trainee, processes, size), codes, trainee) for codes, side in sides]


def _cached(codes: Integers, queries: bool, trainee: Trainee, processes: Processes, size: int) -> Tensor:
    def encode(chunk: Integers) -> Tensor:
        with processes.autocast():
            return trainee.embed([(chunk, queries)])[0]

    return cached(encode, _chunks(processes.own_part(codes, trainee), size))


def _chunks(codes: Integers, size: int) -> list[Integers]:
    return [codes[i : i + size] for i in range(0, len(codes), size)]
