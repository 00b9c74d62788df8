"""A cross-encoder is judged by what it re-ranks or scores, and the command line re-ranks an index by it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cross_models import WORDS, tiny_dense
from typer.testing import CliRunner

import similis
from similis.cli.app import app
from similis.encoders.scorers.cross import CrossEncoderScorer
from similis.errors import UserError
from similis.indexes import Index, LexicalRetriever
from similis.indexes.pairs import pair_scores


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dense(tmp_path_factory.mktemp("dense"))


@pytest.fixture(scope="module")
def model(dense: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cross") / "model"
    CrossEncoderScorer.new(dense).save(folder)
    return folder


TEXTS = [" ".join(WORDS[place : place + 3]) for place in range(0, 60, 2)]


def test_evaluating_on_pairs_re_ranks_bm25_and_says_so(model: Path, tmp_path: Path) -> None:
    rows = [{"anchor": text.split()[1], "positive": text} for text in TEXTS]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = similis.evaluate(str(model), tmp_path / "pairs.jsonl", metrics=["MRR@10"])
    assert "re-ranked: the 100 best documents of BM25" in report.as_text()
    scorer, words = similis.load(model), LexicalRetriever.build(TEXTS, TEXTS)
    ranks = []
    for row in rows:
        found = words.search(row["anchor"], 100)[0].ids
        scores = scorer.score([(row["anchor"], text) for text in found], raw=True)  # type: ignore[attr-defined]
        order = [found[place] for place in np.argsort(-scores, kind="stable")[:10]]
        ranks.append(1 / (1 + order.index(row["positive"])) if row["positive"] in order else 0.0)
    assert report["MRR@10"].mean == pytest.approx(np.mean(ranks))


def test_pairs_are_judged_by_their_scores_and_labels_are_refused(model: Path, tmp_path: Path) -> None:
    scorer = similis.load(model)
    both = (TEXTS[:9], TEXTS[1:10])
    expected = scorer.score(list(zip(*both, strict=True)))  # type: ignore[attr-defined]
    assert np.array_equal(pair_scores(scorer, *both), expected)
    rows = [{"text": text, "label": str(place % 2)} for place, text in enumerate(TEXTS)]
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UserError, match="this is a cross model: it gives scores of pairs"):
        similis.evaluate(str(model), tmp_path / "labels.jsonl")


def test_the_command_line_re_ranks_an_index(model: Path, dense: Path, tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text(
        "".join(json.dumps({"_id": f"d{place}", "text": text}) + "\n" for place, text in enumerate(TEXTS))
    )
    index = Index.build(similis.load(dense), tmp_path / "c.jsonl", tmp_path / "index")
    asked = TEXTS[4].split()[2]
    first = index.search(asked, k=8, mode="lexical")[0].ids
    scorer = similis.load(model)
    scores = scorer.score([(asked, TEXTS[int(name[1:])]) for name in first], raw=True)  # type: ignore[attr-defined]
    expected = [first[place] for place in np.argsort(-scores, kind="stable")]
    run = CliRunner().invoke
    command = ["search", str(tmp_path / "index"), asked, "--mode", "lexical", "--rerank", str(model), "--json"]
    done = run(app, command)
    assert [result["id"] for result in json.loads(done.stdout)["results"]] == expected
    refused = run(app, [*command[:-2], str(dense)])
    assert "--rerank takes a cross-encoder" in refused.output + str(refused.exception)
