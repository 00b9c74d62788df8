"""AR2: the loss, what the rounds do to both models, and that a stopped call goes on."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cross_models import WORDS, tiny_dense

from similis.criteria.distillation.adversarial import adversarial_ranker
from similis.encoders import load
from similis.errors import UserError
from similis.objective import Objective
from similis.relation import Relation
from similis.training.teachers import adversarial as module
from similis.training.teachers.adversarial import adversarial

TOPICS, GOOD, BAD = WORDS[:16], WORDS[80], WORDS[81]
SETTINGS: dict[str, Any] = {"count": 3, "depth": 8, "epochs": 4, "batch_size": 16, "lr": 3e-3}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dense(tmp_path_factory.mktemp("dense"), dropout=0.0)


def planted() -> tuple[list[tuple[str, str]], list[str]]:
    """Queries of a topic; of the documents on it, the one with the good word is relevant, others have the bad one."""
    generator = random.Random(0)

    def document(topic: str, marker: str) -> str:
        words = [topic, marker, *generator.sample(WORDS[20:60], 3)]
        return " ".join(generator.sample(words, len(words)))

    pairs = [(f"{topic} {generator.choice(WORDS[20:60])}", document(topic, GOOD)) for topic in TOPICS]
    return pairs, [document(topic, BAD) for topic in TOPICS for _ in range(3)]


def rank_of_good(encoder: Any, pairs: list[tuple[str, str]], others: list[str]) -> float:
    """Mean reciprocal rank of each query's document among all."""
    documents = [document for _, document in pairs] + others
    queries, keys = encoder.encode_query([q for q, _ in pairs]), encoder.encode_document(documents)
    units = [vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (queries, keys)]
    scores = units[0] @ units[1].T
    own = scores[np.arange(len(pairs)), np.arange(len(pairs))]
    return float((1 / (scores >= own[:, None]).sum(1)).mean())


def test_the_loss_is_that_of_the_authors_code() -> None:
    """Their sums, written as they are there: probabilities, logarithms of softmaxes over two, the whole list."""
    generator = torch.Generator().manual_seed(0)
    retriever, ranker = torch.randn(6, 5, generator=generator), 3 * torch.randn(6, 5, generator=generator)
    p = torch.softmax(retriever / 0.5, 1)
    pairs = torch.stack([ranker[:, :1].expand_as(ranker), ranker], -1)
    reward = torch.log(torch.softmax(pairs, 2)[:, :, 0])
    wanted = 0.3 * (reward * torch.log(p)).sum(1) - 0.7 * (torch.softmax(ranker, 1) * torch.log(p)).sum(1)
    rows = Relation.teacher(ranker, layout="lists").rows()
    assert torch.allclose(adversarial_ranker(retriever, rows, share=0.3, temperature=0.5), wanted, atol=1e-5)


def test_places_without_a_key_count_for_nothing() -> None:
    scores, ranker = torch.tensor([[0.1, 0.7, 0.3, 9.0]]), torch.tensor([[1.0, 2.0, 0.5, 7.0]])
    known = torch.tensor([[True, True, True, False]])
    whole = adversarial_ranker(scores[:, :3], Relation.teacher(ranker[:, :3], layout="lists").rows())
    padded = adversarial_ranker(scores, Relation.teacher(ranker, known, layout="lists").rows())
    assert torch.allclose(whole, padded, atol=1e-6)


def test_without_the_adversary_its_gradient_is_that_of_distillation() -> None:
    generator = torch.Generator().manual_seed(1)
    queries, keys = torch.randn(4, 3, generator=generator), torch.randn(4, 5, 3, generator=generator)
    relation = Relation.teacher(torch.randn(4, 5, generator=generator), layout="lists")
    found = []
    for text in ("adversarial_ranker(share=0, temperature=1)", "distill_kl(temperature=1)"):
        own = queries.clone().requires_grad_()
        Objective(text)(own, keys, relation).backward()
        found.append(own.grad)
    assert torch.allclose(*found, atol=1e-6)


def test_the_adversary_raises_what_the_ranker_mistakes() -> None:
    scores = torch.zeros(1, 3, requires_grad=True)
    ranker = torch.tensor([[0.0, 4.0, -4.0]])  # the second is mistaken for relevant, the third is not
    adversarial_ranker(scores, Relation.teacher(ranker, layout="lists").rows(), share=1.0).sum().backward()
    assert scores.grad[0, 1] < scores.grad[0, 2]
    assert scores.grad[0, 1] < 0 < scores.grad[0, 2]


def test_both_learn_from_each_other(dense: Path, tmp_path: Path) -> None:
    pairs, others = planted()
    found = adversarial(dense, f"cross:{dense}", pairs, corpus=others, output=tmp_path / "out", rounds=3, **SETTINGS)
    assert len(found.history) == 3
    assert rank_of_good(found.encoder, pairs, others) > rank_of_good(load(dense), pairs, others) + 0.1
    own = found.scorer.score([(q, d) for q, d in pairs], raw=True)
    other = found.scorer.score([(q, others[3 * n]) for n, (q, _) in enumerate(pairs)], raw=True)
    assert (own > other).mean() > 0.9
    assert all(0 <= record["above"] <= 1 for record in found.history)


def test_a_stopped_call_goes_on_to_the_same_models(
    dense: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs, others = planted()
    given = {"corpus": others, "rounds": 2, **SETTINGS, "epochs": None, "max_steps": 1}
    whole = adversarial(dense, f"cross:{dense}", pairs, output=tmp_path / "whole", **given)
    real, calls = module._Run._stage, 0

    def stop_at_the_last(self: Any, folder: Path, name: str, *rest: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return real(self, folder, name, *rest)

    monkeypatch.setattr(module._Run, "_stage", stop_at_the_last)
    with pytest.raises(KeyboardInterrupt):
        adversarial(dense, f"cross:{dense}", pairs, output=tmp_path / "cut", **given)
    monkeypatch.setattr(module._Run, "_stage", real)
    again = adversarial(dense, f"cross:{dense}", pairs, output=tmp_path / "cut", **given)
    queries = [query for query, _ in pairs]
    assert np.array_equal(again.encoder.encode(queries), whole.encoder.encode(queries))
    assert again.history == whole.history
    with pytest.raises(UserError, match="other arguments"):
        adversarial(dense, f"cross:{dense}", pairs, output=tmp_path / "cut", **{**given, "lr": 1e-4})


def test_mistakes_of_adversaries_are_one_sentence(dense: Path, tmp_path: Path) -> None:
    pairs, _ = planted()
    with pytest.raises(UserError, match="two pairs"):
        adversarial(dense, dense, pairs[:1], output=tmp_path / "o")
    with pytest.raises(UserError, match="no cross-encoder"):
        adversarial(dense, dense, pairs, output=tmp_path / "o")
    with pytest.raises(UserError, match="share between 0 and 1"):
        adversarial_ranker(torch.zeros(1, 2), Relation.teacher(torch.zeros(1, 2), layout="lists").rows(), share=2.0)
    one = [("q", "the document"), ("r", "the document")]
    with pytest.raises(UserError, match="a corpus"):
        adversarial(dense, f"cross:{dense}", one, output=tmp_path / "p")
