"""Judging a model on data: which figures the data's supervision calls for, and how the model gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from similis.errors import UserError

if TYPE_CHECKING:
    from similis.data import Dataset, Retrieval
    from similis.evaluation import Report
    from similis.search import Retriever

RANKING = ("nDCG@10", "MRR@10", "Recall@100", "MAP@100", "Success@10")
Metrics = str | Sequence[str] | None


def evaluate(
    model: Any,
    data: Any,
    *,
    metrics: Metrics = None,
    split: str = "test",
    seed: int = 0,
    save_run: Path | None = None,
    **said: Any,
) -> Report:
    """Measure a model on data, each figure with a 95% interval.

    Args:
        model: an encoder, a model folder or name, an index folder, or anything with ``search(texts, k)``.
        data: a BEIR folder (nDCG and the like), scored pairs (Spearman), labelled pairs (average precision), labelled
            texts (recall@1, MAP@R), or pairs (each anchor among all positives). A folder of splits is read at
            ``split``. Of a model of arrays: rows ``[n, ...]``.
        metrics: figures to give; None: those usual for the supervision.
        split: which split is judged.
        seed: of the bootstrap.
        save_run: where to write the ranking as a TREC run.
        said: of rows of an array, their ``labels`` or ``pairs`` (see :func:`similis.judging_arrays.evaluate_rows`).

    Where the data have a training split too, the report says what of the judged split stands in it, word for word or
    nearly, and gives the figures without it.

    Raises:
        UserError: data or model cannot be read, or a metric needs what the data lacks.
    """
    from similis import data as readers
    from similis.encoders.arrays.rows import is_rows, reads_rows
    from similis.leaking import with_leakage

    if is_rows(data) or reads_rows(model):
        from similis.judging_arrays import evaluate_rows

        return evaluate_rows(model, data, metrics=metrics, seed=seed, **said)
    if said:
        raise UserError(f"{', '.join(said)} are said of rows of an array, and {data} is none: leave them out")
    path = Path(data)

    def checked(report: Report) -> Report:
        return with_leakage(report, path, split, lambda rows: _judge_rows(model, rows, metrics, seed))

    if (path / "corpus.jsonl").exists() or (path / "corpus.jsonl.gz").exists():
        return checked(_judge_retrieval(model, readers.retrieval(path, split), metrics, seed, save_run))
    read = readers.read(path, split=split) if path.is_dir() else readers.read(path)
    if read.supervision in ("pairs", "triplets"):
        return checked(_judge_retrieval(model, _pairs_as_retrieval(read), metrics, seed, save_run))
    if save_run is not None:
        raise UserError(f"a run ranks documents, and {path} has {read.supervision}: leave --save-run out")
    model = _encoder(model)
    return checked(_judge_rows(model, read, metrics, seed))


def _judge_rows(model: Any, read: Dataset, metrics: Metrics, seed: int) -> Report:
    """Scored or labelled pairs, or labelled texts."""
    if read.supervision in ("scored_pairs", "labeled_pairs"):
        return _judge_scores(_encoder(model), read, metrics, seed)
    if read.supervision == "labels":
        return _judge_labels(_encoder(model), read, metrics, seed)
    raise UserError(
        f"{read.path} has texts only: there is nothing to judge a model by; give pairs, labels or judgements"
    )


def evaluate_run_file(run: Path, qrels: Path, *, metrics: Metrics = None, seed: int = 0) -> Report:
    """Judge a TREC run file by TREC or BEIR judgements."""
    from similis.data import trec
    from similis.evaluation import evaluate_run

    return evaluate_run(trec.read_run(run), trec.read_qrels(qrels), metrics or RANKING, seed)


def evaluate_vectors_file(
    vectors: Path,
    data: str | Path,
    *,
    queries: Path | None = None,
    similarity: str = "cosine",
    split: str = "test",
    **options: Any,
) -> Report:
    """Judge vectors made elsewhere, ``.npy`` files ``[n, d]``, as :func:`evaluate` judges a model.

    Args:
        vectors: of the documents, the labelled texts, or the second texts of pairs, in the order of the data; where a
            file ``NAME.ids.txt`` is beside it, as ``similis encode`` writes, documents are found by their ids.
        data: as for :func:`evaluate`.
        queries: vectors of the queries, or of the first texts of pairs.
        similarity: that the vectors are compared by.
        split: which split is judged.
        options: ``metrics``, ``seed`` and ``save_run`` of :func:`evaluate`.

    Raises:
        UserError: numbers of vectors and texts differ, or the vectors of queries are missing.
    """
    from similis.encoders.precomputed import PrecomputedEncoder, read_vectors

    sides = _sides(Path(data), split)
    if (queries is None) != (len(sides) == 1):
        wanted = "has queries or first texts too: give --query-vectors" if queries is None else "has one text a row"
        raise UserError(f"{data} {wanted}")
    read = [read_vectors(file, ids) for file, (_, ids) in zip([vectors, queries], sides, strict=False) if file]
    further = (sides[1][0], read[1]) if len(sides) > 1 else None
    return evaluate(PrecomputedEncoder(sides[0][0], read[0], further, similarity), data, split=split, **options)


def _sides(path: Path, split: str) -> list[tuple[list[str], list[str] | None]]:
    """Texts (and ids) that data need vectors of: documents, then queries where they are others."""
    from similis import data as readers

    if (path / "corpus.jsonl").exists() or (path / "corpus.jsonl.gz").exists():
        found = readers.retrieval(path, split)
        return [(list(each.texts), list(each.ids)) for each in (found.corpus, found.queries)]
    read = readers.read(path, split=split) if path.is_dir() else readers.read(path)
    if read.supervision in ("pairs", "triplets"):
        return [(read.column("positive"), None), (read.column("anchor"), None)]
    if read.supervision in ("scored_pairs", "labeled_pairs"):
        return [(read.column("sentence2"), None), (read.column("sentence1"), None)]
    return [(read.column("text"), None)]


def evaluate_scores_file(
    scores: Path, data: str | Path, *, metrics: Metrics = None, split: str = "test", seed: int = 0
) -> Report:
    """Judge scores of pairs made elsewhere: one number a line, in the order of the data's scored or labelled pairs.

    Raises:
        UserError: a line is no number, their number is not that of the pairs, or the data are no pairs with labels.
    """
    from similis import data as readers
    from similis.evaluation import evaluate_pairs, evaluate_scores

    path = Path(data)
    read = readers.read(path, split=split) if path.is_dir() else readers.read(path)
    if read.supervision not in ("scored_pairs", "labeled_pairs"):
        raise UserError(f"{path} has {read.supervision}; scores are judged on scored or labelled pairs")
    found = []
    for number, line in enumerate(scores.read_text(encoding="utf-8").splitlines(), 1):
        try:
            found.append(float(line))
        except ValueError:
            raise UserError(f"{scores}:{number}: {line[:40]!r} is not a number") from None
    if len(found) != len(read):
        raise UserError(f"{scores} has {len(found):,} scores and {path} has {len(read):,} pairs")
    if read.supervision == "scored_pairs":
        return evaluate_scores(found, read.column("score"), seed=seed, **_chosen(metrics))
    return evaluate_pairs(found, _same_or_not(read), seed=seed, **_chosen(metrics))


def _same_or_not(data: Dataset) -> list[Any]:
    """Labels of pairs, 1 (same) and 0 (different).

    Raises:
        UserError: there are others.
    """
    labels: list[Any] = data.column("label")
    if not set(labels) <= {0, 1}:
        raise UserError(
            f"{data.path} labels its pairs {', '.join(map(str, sorted(set(labels), key=str)[:4]))}; "
            "to judge a similarity the labels must be 1 (same) and 0 (different)"
        )
    return labels


def _judge_retrieval(
    model: Any, data: Retrieval | _Pairs, metrics: Metrics, seed: int, save_run: Path | None
) -> Report:
    from similis.evaluation import evaluate_run
    from similis.metrics import parse_all

    chosen = parse_all(metrics or RANKING, ["ranking"])
    depth = max([metric.depth or 1000 for metric in chosen])
    retriever = _retriever(model, data.corpus.ids, data.corpus.texts)
    hits = retriever.search(list(data.queries.texts), min(depth, max(1, len(data.corpus.ids))))
    run = {
        query: dict(zip(hit.ids, hit.scores.tolist(), strict=True))
        for query, hit in zip(data.queries.ids, hits, strict=True)
    }
    if save_run is not None:
        from similis.data.trec import write_run

        write_run(run, save_run)
    report = evaluate_run(run, data.qrels, chosen, seed)
    report.notes.extend(_sizes(retriever))
    return report


def _sizes(retriever: Any) -> list[str]:
    """What a document takes in an index whose size the model decides, and what a model that cannot search reads."""
    from similis.search import Rerank

    if isinstance(retriever, Rerank):
        return [f"re-ranked: the {retriever.depth} best documents of BM25 for each query, by a cross-encoder"]
    if hasattr(retriever, "active_dims"):
        words = retriever.vectors.shape[1]
        return [f"active dims: {retriever.active_dims:.1f} of {words:,} words have a weight in a document, on average"]
    if hasattr(retriever, "vectors_per_document"):
        return [f"{retriever.vectors_per_document:.1f} vectors a document, on average"]
    return []


def _retriever(model: Any, ids: Sequence[str], texts: Sequence[str]) -> Retriever:
    from similis.indexes import Index, retriever_of

    if hasattr(model, "search"):
        return model  # type: ignore[no-any-return]
    if isinstance(model, str | Path) and (Path(model) / "manifest.json").is_file():
        return Index.open(model)
    return retriever_of(_encoder(model), ids, texts)  # type: ignore[no-any-return]


def _encoder(model: Any) -> Any:
    from similis.encoders import load

    return load(model) if isinstance(model, str | Path) else model


def _judge_scores(encoder: Any, data: Dataset, metrics: Metrics, seed: int) -> Report:
    from similis.evaluation import evaluate_pairs, evaluate_scores
    from similis.indexes.pairs import pair_scores

    scores = pair_scores(encoder, data.column("sentence1"), data.column("sentence2"))
    if data.supervision == "scored_pairs":
        gold = data.column("score")
        return evaluate_scores(scores, gold, seed=seed, **_chosen(metrics))
    return evaluate_pairs(scores, _same_or_not(data), seed=seed, **_chosen(metrics))


def _judge_labels(encoder: Any, data: Dataset, metrics: Metrics, seed: int) -> Report:
    from similis.encoders.families import need_vectors
    from similis.evaluation import evaluate_labels

    need_vectors(encoder, "judging by labels")
    embeddings = encoder.encode(data.column("text"))
    return evaluate_labels(
        embeddings, data.column("label"), seed=seed, similarity=encoder.similarity_name, **_chosen(metrics)
    )


def _chosen(metrics: Metrics) -> dict[str, Any]:
    """Metrics as an argument, or nothing, so that the usual ones are taken."""
    return {} if metrics is None else {"metrics": metrics}


class _Texts:
    def __init__(self, ids: list[str], texts: list[str]) -> None:
        self.ids, self.texts = ids, texts


class _Pairs:
    """Pairs read as retrieval: every anchor among all distinct positives."""

    def __init__(self, queries: _Texts, corpus: _Texts, qrels: Mapping[str, Mapping[str, int]]) -> None:
        self.queries, self.corpus, self.qrels = queries, corpus, qrels


def _pairs_as_retrieval(data: Dataset) -> _Pairs:
    anchors = {text: f"q{i}" for i, text in enumerate(dict.fromkeys(data.column("anchor")))}
    positives = {text: f"d{i}" for i, text in enumerate(dict.fromkeys(data.column("positive")))}
    qrels: dict[str, dict[str, int]] = {}
    for anchor, positive in zip(data.column("anchor"), data.column("positive"), strict=True):
        qrels.setdefault(anchors[anchor], {})[positives[positive]] = 1
    return _Pairs(
        _Texts(list(anchors.values()), list(anchors)), _Texts(list(positives.values()), list(positives)), qrels
    )
