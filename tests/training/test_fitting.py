"""Fitting learns from every supervision, holds out honestly, and refuses what cannot be trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training_rows import labelled, pairs

from similis.data.dataset import Dataset
from similis.encoders import load
from similis.errors import UserError
from similis.objective import Objective
from similis.training import Recipe, fit, train
from similis.training.rows.columns import dataset_of, examples_of
from similis.training.rows.examples import TextTable
from similis.training.rows.splitting import same_side, split
from similis.training.running.dev import PairsDev, RetrievalDev
from similis.training.running.steps import Steps

SMALL: dict[str, Any] = {"dimension": 16, "epochs": 4, "batch_size": 16}


def scored(count: int) -> list[tuple[str, str, float]]:
    rows = pairs(count)
    return [(q, rows[(i + shift) % count][1], 1.0 - shift) for i, (q, _) in enumerate(rows) for shift in (0, 1)]


def judged(count: int) -> dict[str, list[Any]]:
    first, second, score = zip(*scored(count), strict=True)
    return {"sentence1": list(first), "sentence2": list(second), "label": [int(s) for s in score]}


def triplets(count: int) -> list[tuple[str, str, str]]:
    rows = pairs(count)
    return [(q, d, rows[(i + 1) % count][1]) for i, (q, d) in enumerate(rows)]


@pytest.mark.parametrize(
    ("data", "metric", "better"),
    [
        (labelled(200), "1-NN accuracy", 0.02),
        (scored(100), "spearman", 0.02),
        (judged(100), "average precision", 0.02),
    ],
    ids=["labels", "scored", "labeled_pairs"],
)
def test_every_supervision_is_learned(data: Any, metric: str, better: float) -> None:
    fitted = train(data, **{**SMALL, "epochs": 8}, vocabulary=60)
    position = fitted.outcome.position
    assert fitted.metric == metric
    assert position.before is not None
    assert position.best is not None
    assert position.best > position.before + better or position.best > 0.98


@pytest.mark.parametrize("mini_batch_size", [None, 5])
@pytest.mark.parametrize("objective", ["triplet(margin=0.2)", "infonce, similarity=euclidean", "mse"])
def test_objectives_and_executions_can_be_chosen(objective: str, mini_batch_size: int | None) -> None:
    data = scored(40) if objective == "mse" else triplets(40)
    fitted = train(data, objective=objective, mini_batch_size=mini_batch_size, dev=False, max_steps=6, **SMALL)
    assert fitted.outcome.position.step == 6
    assert fitted.plan.objective == str(Objective(objective))
    expected = "euclidean" if "euclidean" in objective else "cosine"
    assert fitted.encoder.similarity_name == expected


def test_chunks_and_accumulation_change_memory_not_the_result() -> None:
    given = {**SMALL, "dev": False, "max_steps": 5}
    whole = fit(triplets(40), **given)
    chunked = fit(triplets(40), **given, mini_batch_size=4)
    assert np.allclose(whole.encode(["bal bel"]), chunked.encode(["bal bel"]), atol=1e-4)


def test_proxies_are_trained_with_the_encoder() -> None:
    objective = Objective("infonce(temperature=0.1)", keys="proxies")
    fit(labelled(80), objective=objective, dev=False, **SMALL)
    [proxies] = [p for name, p in objective.named_parameters() if "weight" in name]
    assert proxies.shape == (4, 16)
    fresh = Objective("infonce(temperature=0.1)", keys="proxies").prepare(dimension=16, classes=4)
    assert not torch.equal(proxies, next(fresh.parameters()))


def test_the_saved_model_is_a_sentence_transformer_with_its_recipe(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    output = tmp_path / "model"
    fitted = train(pairs(120), output=output, **SMALL, seed=7)
    texts = ["bal bel bil", "", "unheard words"]
    vectors = fitted.encoder.encode(texts)
    assert np.array_equal(vectors, load(output).encode(texts))
    theirs = SentenceTransformer(str(output), device="cpu").encode(texts)
    assert np.allclose(vectors, theirs, atol=1e-6)
    record = json.loads((output / "similis.json").read_text())
    assert record["seed"] == 7
    assert record["data"]["rows"] + record["data"]["dev_rows"] == 120
    assert record["dev"]["best"] >= record["dev"]["before"]
    assert record["data"]["fingerprint"] == dataset_of(pairs(120)).fingerprint
    assert {"torch", "python"} <= set(record["versions"])
    assert Recipe.read(output / "recipe.toml") == fitted.plan.recipe
    again = fit(pairs(120), recipe=output / "recipe.toml")
    assert np.array_equal(vectors, again.encode(texts))


def test_a_trained_static_model_is_trained_on(tmp_path: Path) -> None:
    first = train(pairs(120), output=tmp_path / "first", **SMALL)
    second = train(pairs(120, seed=1), base=tmp_path / "first", epochs=2, batch_size=16, learning_rate=1e-6)
    texts = ["bal bel bil"]
    assert np.allclose(first.encoder.encode(texts), second.encoder.encode(texts), atol=1e-3)


def test_documents_alone_are_enough() -> None:
    texts = [f"{query}. {document}" for query, document in pairs(80)]
    fitted = train(texts, **SMALL)
    assert "no supervision" in fitted.plan.reasons[0]
    assert fitted.metric == "nDCG@10"


def test_a_split_depends_on_texts_alone_and_keeps_near_identical_ones_together() -> None:
    rows = [*pairs(300), *((q.upper() + "?!", d) for q, d in pairs(300)), *((q, d + " more") for q, d in pairs(300))]
    sides = []
    for order in (range(900), np.random.default_rng(0).permutation(900)):
        ordered = [rows[i] for i in order]
        table = TextTable()
        kept, held = split(examples_of(dataset_of(ordered), table), 0.1)
        assert held is not None
        assert 80 <= len(held) <= 90
        assert len(kept) + len(held) == 900
        train_keys = {same_side(table.texts[q]) for q in kept.queries}
        dev_keys = {same_side(table.texts[q]) for q in held.queries}
        assert not train_keys & dev_keys
        sides.append(dev_keys)
    assert sides[0] == sides[1]


def test_too_few_rows_are_all_for_training() -> None:
    _, held = split(examples_of(dataset_of(pairs(15)), TextTable()), 0.05)
    assert held is None
    assert train(pairs(15), **SMALL).metric == ""


def test_a_dev_set_may_be_given() -> None:
    fitted = train(pairs(100), dev=pairs(30, seed=5), **SMALL)
    assert fitted.rows == (100, 30)
    with pytest.raises(UserError, match="dev data are supervised by labels"):
        train(pairs(100), dev=labelled(30), **SMALL)


def test_dev_ndcg_is_that_of_trec_eval() -> None:
    import pytrec_eval

    generator = np.random.default_rng(0)
    vectors = torch.from_numpy(generator.standard_normal((70, 8), dtype=np.float32))
    queries, keys = np.arange(20), np.arange(20, 70)
    relevant = [np.sort(generator.choice(50, generator.integers(1, 14), replace=False)) for _ in queries]
    ours = RetrievalDev(queries, keys, relevant).value(lambda codes, _: vectors[codes], Objective("infonce").similarity)
    scores = torch.nn.functional.cosine_similarity(vectors[:20, None], vectors[None, 20:], dim=-1)
    qrels = {str(q): {str(k): 1 for k in found.tolist()} for q, found in enumerate(relevant)}
    run = {str(q): {str(k): float(scores[q, k]) for k in range(50)} for q in range(20)}
    found = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10"}).evaluate(run)
    assert ours == pytest.approx(np.mean([v["ndcg_cut_10"] for v in found.values()]), abs=1e-6)


def test_dev_average_precision_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import average_precision_score

    generator = np.random.default_rng(1)
    vectors = torch.from_numpy(generator.standard_normal((80, 4), dtype=np.float32))
    grades = generator.integers(0, 2, 40).astype(np.float32)
    dev = PairsDev(np.arange(40), np.arange(40, 80), grades, "average precision")
    ours = dev.value(lambda codes, _: vectors[codes], Objective("cosent").similarity)
    scores = torch.nn.functional.cosine_similarity(vectors[:40], vectors[40:])
    assert ours == pytest.approx(average_precision_score(grades, scores.numpy()), abs=1e-6)


@pytest.mark.parametrize(
    ("data", "given", "message"),
    [
        (pairs(40), {"objective": "cosent"}, "has no meaning for pairs"),
        (pairs(40), {"learning_rte": 1.0}, "did you mean 'learning_rate'"),
        (pairs(40), {"sampler": "pk"}, "needs labels"),
        (pairs(40), {"base": "/no/such/folder"}, "/no/such/folder"),
        ("absent.jsonl", {}, "absent.jsonl"),
    ],
)
def test_mistakes_are_one_sentence(data: Any, given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        train(data, **given)


def test_an_output_that_is_no_model_is_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds files that are no model"):
        train(pairs(40), output=tmp_path, **SMALL)
    assert (tmp_path / "notes.txt").exists()


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Steps.loss

    def spoilt(self: Steps, rows: np.ndarray[Any, Any]) -> torch.Tensor:
        loss = real(self, rows)
        return loss * float("nan") if self.position.step == 8 else loss

    monkeypatch.setattr(Steps, "loss", spoilt)
    with pytest.raises(UserError, match=r"loss became nan at step 9 \(epoch \d, batch \d+, rows \d+.*step-000000006"):
        train(pairs(60), output=tmp_path / "m", save_steps=3, **SMALL)
    assert not (tmp_path / "m").exists()
    monkeypatch.undo()
    assert train(pairs(60), output=tmp_path / "m", save_steps=3, **SMALL).outcome.position.step > 9


def test_an_exploding_rate_is_an_error_not_a_broken_model() -> None:
    with pytest.raises(UserError, match="learning_rate below 1e"):
        fit(pairs(60), **SMALL, learning_rate=1e38)


def test_a_beir_folder_is_learned_from_with_its_corpus_and_dev_queries(tmp_path: Path) -> None:
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    rows = pairs(60)
    corpus = [{"_id": f"d{i}", "title": "", "text": d} for i, (_, d) in enumerate(rows)]
    queries = [{"_id": f"q{i}", "text": q} for i, (q, _) in enumerate(rows)]
    for name, values in (("corpus", corpus), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(v) + "\n" for v in values))
    for name, part in (("train", range(40)), ("dev", range(40, 50)), ("test", range(50, 60))):
        lines = ["query-id\tcorpus-id\tscore", *(f"q{i}\td{i}\t1" for i in part)]
        (folder / "qrels" / f"{name}.tsv").write_text("\n".join(lines) + "\n")
    fitted = train(folder, **SMALL)
    assert fitted.rows == (40, 10)
    assert fitted.metric == "nDCG@10"
    assert isinstance(dataset_of(folder), Dataset)
