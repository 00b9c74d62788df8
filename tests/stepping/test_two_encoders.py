"""Two encoders that learn together: loss and gradients are sentence-transformers', and the second one is kept."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import losses
from stepped import rows, steps_of
from torch import Tensor, nn

from similis.encoders.creating import create
from similis.errors import UserError
from similis.objective import Objective
from similis.training import train
from similis.training.recipe import Recipe
from similis.training.rows.examples import Examples, TextTable
from similis.training.running.checkpoints import Position
from similis.training.running.mixing import Part
from similis.training.running.steps import Steps
from similis.training.stepping.copies import SECOND, TwoEncoders
from similis.training.trainees.transformer import TransformerTrainee

TEXTS = [text for pair in rows(16) for text in pair]


def still(module: nn.Module) -> nn.Module:
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    return module


def drift(module: nn.Module) -> None:
    """Weights as they may be after a while: the two are compared where they differ."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)


def made(small: Path, examples: Examples, loss: str) -> Steps:
    """One step over all rows, of encoders that have drifted apart."""
    recipe = Recipe().with_settings({"learning_rate": 1e-3, "batch_size": len(examples), "stepping": "two_encoders"})
    encoder: Any = create(str(small))
    still(encoder.module)
    part = Part("", examples, Objective(loss), "shuffle", examples.items())
    steps = Steps(TransformerTrainee(encoder, examples.table.texts, recipe), [part], recipe, Position())  # type: ignore[arg-type]
    drift(steps.modules[SECOND])
    steps.trainee.module.train()
    return steps


def peer(small: Path, loss: type) -> Any:
    model = SentenceTransformer(str(small), device="cpu")
    still(model)
    found = loss(model)
    drift(found.model1)
    return found.train()


def same_gradients(module: nn.Module, wanted: nn.Module) -> None:
    other = {name: p.grad for name, p in wanted.named_parameters() if p.grad is not None}
    checked = 0
    for name, parameter in module.named_parameters():
        (peers,) = [gradient for theirs, gradient in other.items() if name.endswith(theirs)] or [None]
        if peers is not None:
            assert parameter.grad is not None, name
            assert torch.allclose(parameter.grad, peers, rtol=1e-3, atol=1e-5 * float(peers.abs().max()) + 1e-7), name
            checked += 1
    assert checked == len(other) > 10


def features(model: SentenceTransformer, texts: list[str]) -> dict[str, Tensor]:
    return dict(model.preprocess(texts))


def test_labelled_pairs_learn_as_contrastive_tension_does(small: Path) -> None:
    first = TEXTS[:16]
    second = [text if number % 8 == 0 else TEXTS[16 + number] for number, text in enumerate(first)]
    table = TextTable()
    labels = np.array([float(a == b) for a, b in zip(first, second, strict=True)], np.float32)
    examples = Examples("labeled_pairs", table, table.add(first), table.add(second), scores=labels)
    steps = made(small, examples, "contrastive_tension")
    theirs = peer(small, losses.ContrastiveTensionLoss)
    expected = theirs([features(theirs.model2, first), features(theirs.model2, second)])
    expected.backward()
    assert steps.gradients(steps.first_batches(1)) == pytest.approx(float(expected.detach()), rel=1e-4)
    same_gradients(steps.modules[SECOND], theirs.model1)
    same_gradients(steps.trainee.module, theirs.model2)


def test_texts_with_themselves_learn_as_its_in_batch_form_does(small: Path) -> None:
    table = TextTable()
    codes = table.add(TEXTS[:12])
    examples = Examples("pairs", table, codes, codes.copy())
    steps = made(small, examples, "clip(temperature=0.05)")
    theirs = peer(small, losses.ContrastiveTensionLossInBatchNegatives)
    expected = theirs([features(theirs.model2, TEXTS[:12])], None)
    expected.backward()
    assert steps.gradients(steps.first_batches(1)) == pytest.approx(float(expected.detach()), rel=1e-4)
    same_gradients(steps.modules[SECOND], theirs.model1)
    same_gradients(steps.trainee.module, theirs.model2)


@pytest.mark.parametrize("size", [None, 4])
def test_each_encoder_takes_the_steps_of_its_own_side(size: int | None, small: Path) -> None:
    steps = steps_of(small, 16, dropout=0.0, stepping="two_encoders", mini_batch_size=size, weight_decay=0.0)
    two = steps.stepping[0]
    assert isinstance(two, TwoEncoders)
    drawn = steps.first_batches(1)
    before = copy.deepcopy(steps.trainee.module), copy.deepcopy(two.second.module)
    batch = drawn[0].part.examples.batch(drawn[0].rows)
    queries, keys = steps.embedded(batch)
    assert torch.allclose(queries, two.second.embed([(batch.queries, True)])[0], atol=1e-6)
    assert keys is not None
    assert len(keys) == len(queries) == len(batch.queries)
    steps.take(drawn)
    for module, old in zip((steps.trainee.module, two.second.module), before, strict=True):
        moved = [not torch.equal(p, q) for p, q in zip(module.parameters(), old.parameters(), strict=True)]
        assert np.mean(moved) > 0.9
    pairs = zip(steps.trainee.module.parameters(), two.second.module.parameters(), strict=True)
    assert np.mean([not torch.equal(p, q) for p, q in pairs]) > 0.9


def test_the_model_that_is_kept_is_that_of_the_keys(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[TwoEncoders] = []
    begin = TwoEncoders.begin

    def noticed(self: TwoEncoders, run: Any) -> None:
        begin(self, run)
        seen.append(self)

    monkeypatch.setattr(TwoEncoders, "begin", noticed)
    settings = {"max_steps": 3, "batch_size": 8, "dev": False, "learning_rate": 1e-3, "stepping": "two_encoders"}
    encoder = train(rows(24), base=small, **settings).encoder
    texts = TEXTS[:4]
    run = seen[0].run
    assert np.allclose(encoder.encode(texts), vectors_of(run.trainee, texts), atol=1e-5)
    assert not np.allclose(encoder.encode(texts), vectors_of(seen[0].second, texts), atol=1e-3)


def vectors_of(trainee: Any, texts: list[str]) -> Any:
    trainee.module.eval()
    return trainee.encoder().encode(texts)


def test_it_is_refused_where_there_is_one_side() -> None:
    labels = {"text": TEXTS, "label": [number % 3 for number in range(len(TEXTS))]}
    with pytest.raises(UserError, match="needs keys"):
        train(labels, dimension=8, batch_size=8, max_steps=2, stepping="two_encoders")
