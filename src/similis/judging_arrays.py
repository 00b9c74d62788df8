"""Judging a model of arrays, as :mod:`similis.judging` judges models of texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from similis.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from similis.evaluation import Report

RANKING = ("nDCG@10", "MRR@10", "Recall@100", "MAP@100", "Success@10")
Metrics = str | Sequence[str] | None

#: Documents kept of each query's ranking.
_DEPTH = 1000


def evaluate_rows(
    model: Any,
    data: Any,
    *,
    labels: Any = None,
    pairs: Any = None,
    scores: Any = None,
    metrics: Metrics = None,
    seed: int = 0,
) -> Report:
    """Measure a model of arrays on rows, under the model's own similarity.

    Args:
        model: an :class:`~similis.encoders.arrays.ArrayEncoder` or its folder.
        data: rows ``[n, ...]``, NumPy's, torch's or the path of an ``.npy`` file.
        labels: ``[n]``: does a row find others of its class (recall@1, MAP@R)? Classes may be new to the model.
        pairs: numbers of rows ``[m, 2]`` that belong together: each first among all seconds (nDCG and the like).
        scores: of the pairs ``[m]``: Spearman; booleans, same or different: average precision.
        metrics: figures to give; None: those usual for what is said of the rows.
        seed: of the bootstrap.

    Raises:
        UserError: the model is none of arrays, or what is said of the rows does not fit them.
    """
    from similis.evaluation import evaluate_labels, evaluate_pairs, evaluate_scores
    from similis.training.rows.arrays import said_of

    encoder = _encoder(model)
    said = said_of(data, {"labels": labels, "pairs": pairs, "scores": scores})
    chosen: dict[str, Any] = {} if metrics is None else {"metrics": metrics}
    vectors = encoder.encode(said.rows)
    if said.kind == "labels":
        return evaluate_labels(vectors, said.values.tolist(), seed=seed, similarity=encoder.similarity_name, **chosen)
    if said.scores is None:
        return _ranked(vectors, said.values, encoder.similarity_name, metrics or RANKING, seed)
    found = _paired(vectors, said.values, encoder.similarity_name)
    judge = evaluate_pairs if said.scores.dtype.kind == "b" else evaluate_scores
    return judge(found, said.scores.astype(float), seed=seed, **chosen)


def _encoder(model: Any) -> Any:
    from similis.encoders import load

    encoder = load(model) if isinstance(model, str | Path) else model
    if getattr(encoder, "family", None) != "array":
        raise UserError(f"rows of an array are read by a model of arrays, not by a {type(encoder).__name__}")
    return encoder


def _paired(vectors: NDArray[Any], pairs: NDArray[Any], similarity: str) -> NDArray[Any]:
    import torch

    from similis.similarity import build

    first, second = (torch.from_numpy(vectors[side]) for side in pairs.T)
    with torch.inference_mode():
        found: NDArray[Any] = build(similarity).paired(first, second).double().numpy()
    return found


def _ranked(
    vectors: NDArray[Any], pairs: NDArray[Any], similarity: str, metrics: str | Sequence[str], seed: int
) -> Report:
    """Each distinct first row of a pair as a query among the distinct second ones."""
    import numpy as np
    import torch

    from similis.evaluation import evaluate_run
    from similis.similarity import build

    made = build(similarity)
    queries, documents = np.unique(pairs[:, 0]), np.unique(pairs[:, 1])
    depth = min(_DEPTH, len(documents))
    run: dict[str, dict[str, float]] = {}
    with torch.inference_mode():
        keys = made.prepare_keys(torch.from_numpy(vectors[documents]))
        for start in range(0, len(queries), 256):
            part = queries[start : start + 256]
            values, places = made.score(made.prepare_queries(torch.from_numpy(vectors[part])), keys).topk(depth, dim=-1)
            for query, own, found in zip(part.tolist(), values.tolist(), places.tolist(), strict=True):
                run[str(query)] = {str(documents[p]): value for p, value in zip(found, own, strict=True)}
    qrels: dict[str, dict[str, int]] = {}
    for query, document in pairs.tolist():
        qrels.setdefault(str(query), {})[str(document)] = 1
    return evaluate_run(run, qrels, metrics, seed)
