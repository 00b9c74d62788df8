"""A bottleneck's decoder sees the vector and what it may see of the words; the vector learns to carry the text."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from training_rows import labelled
from transformers import BertTokenizerFast, ElectraConfig, ElectraModel, T5Config, T5EncoderModel

from similis.encoders import load
from similis.errors import UserError
from similis.registry import entries
from similis.training import pretrain
from similis.training.pretraining import Bottleneck, task
from similis.training.pretraining.bottleneck import bag_loss, thinned, visible
from similis.training.trainees.processor import quickened

TEXTS = labelled(64)["text"]
HOWS = ["tsdae", "retromae", "dupmae"]
#: Tested in test_replaced_words.
REPLACING = ["simlm", "diffcse"]


def made(folder: Path, how: str) -> Any:
    torch.manual_seed(0)
    bottleneck = task(how).on(load(folder))  # type: ignore[arg-type]
    bottleneck.encoder.model.eval()
    return bottleneck.eval()


def test_words_are_deleted_with_the_probability_and_one_always_stays() -> None:
    words = " ".join(f"w{number}" for number in range(10_000))
    kept = thinned(words, 0.6, Random(0)).split()
    assert abs(len(kept) - 4000) < 4 * math.sqrt(10_000 * 0.24)
    assert kept == sorted(kept, key=lambda word: int(word[1:]))
    assert all(thinned("one two", 0.99, Random(seed)) for seed in range(50))


def test_a_position_sees_the_vector_and_its_own_draw_of_other_words() -> None:
    mask = torch.ones(50, 40)
    mask[:, 30:] = 0
    seen = visible(mask, 0.5, torch.Generator().manual_seed(0))
    assert seen[:, :, 0].all()
    assert not seen[:, range(1, 40), range(1, 40)].any()
    assert not seen[:, :, 30:].any()
    others = ~torch.eye(40, dtype=torch.bool)[:, 1:30]
    assert abs(float(seen[:, :, 1:30][:, others].float().mean()) - 0.5) < 0.01
    assert not torch.equal(seen[:, 1, 2:30], seen[:, 5, 2:30])


def test_the_loss_of_predicted_words_is_their_mean_surprise(tiny: Path) -> None:
    bottleneck = made(tiny, "tsdae")
    states = torch.randn(2, 3, 16)
    labels = torch.tensor([[5, -100, 7], [-100, -100, 9]])
    chance = torch.softmax(states @ bottleneck.words.weight.T + bottleneck.bias, -1)
    expected = -(chance[0, 0, 5].log() + chance[0, 2, 7].log() + chance[1, 2, 9].log()) / 3
    assert torch.allclose(bottleneck.predicted(states, labels), expected, atol=1e-5)
    assert float(bottleneck.predicted(states, torch.full((2, 3), -100))) == 0


def test_the_loss_of_the_bag_takes_each_words_best_score_and_counts_a_word_once() -> None:
    scores = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[-100, 3, 3, 5], [-100, 2, -100, -100]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    first = torch.log_softmax(scores[0, 1:].max(0).values, 0)
    second = torch.log_softmax(scores[1, 1:3].max(0).values, 0)
    expected = (-(first[3] + first[5]) / 3 - second[2]) / 2
    assert torch.allclose(bag_loss(scores, labels, mask), expected, atol=1e-5)


def test_the_bag_is_added_with_its_weight(tiny: Path) -> None:
    losses = [
        float(made(tiny, how).loss(TEXTS[:8], "a").detach())
        for how in ("retromae", "dupmae(bag=0)", "dupmae(bag=0.2)", "dupmae(bag=0.4)")
    ]
    assert losses[0] == losses[1] < losses[2] < losses[3]
    assert losses[3] - losses[2] == pytest.approx(losses[2] - losses[1], rel=1e-3)


def test_the_writer_never_sees_a_later_word(tiny: Path) -> None:
    bottleneck = made(tiny, "tsdae")
    ids, vectors = torch.randint(5, 50, (2, 8)), torch.randn(2, 16)
    changed = ids.clone()
    changed[:, 5] += 1
    before, after = bottleneck.states(vectors, ids), bottleneck.states(vectors, changed)
    assert torch.allclose(before[:, :5], after[:, :5], atol=1e-6)
    assert not torch.allclose(before[:, 5], after[:, 5], atol=1e-3)
    assert not torch.allclose(before, bottleneck.states(vectors + 1, ids), atol=1e-3)


def test_the_guesser_never_sees_the_word_itself_nor_what_is_hidden(tiny: Path) -> None:
    bottleneck = made(tiny, "retromae")
    ids, vectors = torch.randint(5, 50, (2, 8)), torch.randn(2, 16)
    seen = visible(torch.ones(2, 8), 0.5, torch.Generator().manual_seed(1))
    changed = ids.clone()
    changed[:, 5] += 1
    same = torch.isclose(bottleneck.states(vectors, ids, seen), bottleneck.states(vectors, changed, seen), atol=1e-6)
    assert torch.equal(same.all(-1), ~seen[:, :, 5])
    assert not seen[:, 5, 5].any()
    everything = bottleneck.states(vectors + 1, ids, seen)
    assert not torch.isclose(everything, bottleneck.states(vectors, ids, seen), atol=1e-4).all(-1).any()


@pytest.mark.parametrize("how", HOWS)
def test_the_loss_depends_on_the_seed_alone_and_reaches_encoder_and_decoder(tiny: Path, how: str) -> None:
    bottleneck = made(tiny, how)
    losses = [float(bottleneck.loss(TEXTS[:8], seed).detach()) for seed in ("a", "a", "b")]
    assert losses[0] == losses[1] != losses[2]
    bottleneck.loss(TEXTS[:8], "a").backward()
    inside = dict(bottleneck.named_parameters())
    assert not any("encoder" in name for name in inside)
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in inside.values())
    attended = bottleneck.encoder.model[0].auto_model.encoder.layer[0].attention.self.query.weight
    assert bool(attended.grad.abs().sum() > 0)


@pytest.mark.parametrize("how", ["tsdae", "retromae(decoder=0.9)"])
def test_the_vector_comes_to_carry_its_text(
    tiny: Path, tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Any] = []
    build = type(task(how)).on

    def keep(self: Any, encoder: Any) -> Bottleneck:
        kept.append(build(self, encoder))
        return kept[-1]

    monkeypatch.setattr(type(task(how)), "on", keep)
    given: dict[str, Any] = {"how": how, "max_steps": 150, "batch_size": 12, "learning_rate": 1e-2}
    few = TEXTS[:12]
    encoder = pretrain(tiny, few, output=tmp_path / "model", **given)
    bottleneck = kept[0]

    def surprise(shift: int) -> float:
        """Of the texts' words, from the vectors of the texts so many places further."""
        features = encoder.preprocess(few)
        vectors = bottleneck.bridge(encoder.forward_features(features)).roll(shift, 0)
        ids, labels = features["input_ids"], bottleneck._labels(features)
        if how == "tsdae":
            return float(bottleneck.predicted(bottleneck.states(vectors, ids[:, :-1]), labels[:, 1:]))
        blind = visible(features["attention_mask"], 1.0, torch.Generator())
        return float(bottleneck.predicted(bottleneck.states(vectors, ids, blind), labels))

    with torch.no_grad():
        assert surprise(0) < surprise(1) - 0.1
    theirs = SentenceTransformer(str(tmp_path / "model"), device="cpu").encode(TEXTS[:4])
    assert np.allclose(encoder.encode(TEXTS[:4]), theirs, atol=1e-5)


@pytest.mark.parametrize("how", ["retromae", "dupmae", "tsdae", "simlm", "diffcse"])
def test_input_vectors_may_be_narrower_than_the_states(tiny: Path, tmp_path: Path, how: str) -> None:
    tokenizer = BertTokenizerFast.from_pretrained(str(tiny))
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = ElectraConfig(vocab_size=len(tokenizer), embedding_size=8, max_position_embeddings=32, **sizes)
    ElectraModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    bottleneck = made(tmp_path, how)
    bottleneck.loss(TEXTS[:8], "a").backward()
    inside = {name: p for name, p in bottleneck.named_parameters() if ".pooler." not in name}
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in inside.values())
    assert ("reduced.weight" in inside) == (how in ("retromae", "dupmae", "simlm"))


@pytest.mark.parametrize("how", ["tsdae", "retromae", "simlm"])
def test_a_model_without_a_limit_is_read_as_far_as_positions_are_learnt(tiny: Path, tmp_path: Path, how: str) -> None:
    tokenizer = BertTokenizerFast.from_pretrained(str(tiny), model_max_length=10**30)
    config = T5Config(vocab_size=len(tokenizer), d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    T5EncoderModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    bottleneck = made(tmp_path, how)
    assert bottleneck.encoder.max_tokens is None
    bottleneck.loss([" ".join(TEXTS * 2), "short"], "a").backward()
    assert bool((bottleneck.positions.weight.grad[511 - (how == "tsdae")] != 0).any())


def test_the_same_call_gives_the_same_model(tiny: Path) -> None:
    given: dict[str, Any] = {"max_steps": 3, "batch_size": 8, "learning_rate": 1e-3}
    first, second, other = (pretrain(tiny, TEXTS, seed=seed, **given).encode(TEXTS[:2]) for seed in (0, 0, 1))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("how", [*HOWS, *REPLACING])
def test_in_bfloat16_it_learns_nearly_the_same_in_weights_of_float32(tiny: Path, how: str) -> None:
    given = {"how": how, "max_steps": 3, "batch_size": 8, "learning_rate": 1e-3}
    start: Any = load(tiny)
    exact, near = (pretrain(tiny, TEXTS, bf16=bf16, **given) for bf16 in (False, True))  # type: ignore[arg-type]
    moved, apart = 0.0, 0.0
    for name, tensor in near.model.state_dict().items():
        assert tensor.dtype == start.model.state_dict()[name].dtype
        if tensor.is_floating_point():
            moved += float((exact.model.state_dict()[name] - start.model.state_dict()[name]).square().sum())
            apart += float((exact.model.state_dict()[name] - tensor).square().sum())
    assert 0 < apart < 0.1 * moved


def test_the_trained_model_has_torchs_own_parts(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = []

    def watched(module: torch.nn.Module) -> Callable[[], None]:
        undo = quickened(module)
        changed.extend(part for part in module.modules() if type(part).__module__ == quickened.__module__)
        return undo

    monkeypatch.setattr("similis.training.pretraining.running.quickened", watched)
    pretrain(tiny, TEXTS, max_steps=1)
    assert {type(part).__name__ for part in changed} == {"Linear", "Dropout", "Embedding"}
    assert all(type(part).__module__.startswith("torch.") for part in changed)


def test_mistakes_are_said(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no pretraining called 'retromea'"):
        pretrain(tiny, TEXTS, how="retromea")
    with pytest.raises(UserError, match="no texts"):
        pretrain(tiny, [" "])
    with pytest.raises(UserError, match="probability below 1"):
        pretrain(tiny, TEXTS, how="tsdae(delete=1)")
    with pytest.raises(UserError, match="weight of at least 0"):
        pretrain(tiny, TEXTS, how="dupmae(bag=-1)")
    with pytest.raises(UserError, match="max_steps"):
        pretrain(tiny, TEXTS, max_steps=0)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="in one process, and here are several"):
        pretrain(tiny, TEXTS, output=tmp_path / "model", max_steps=1)
    assert not list(tmp_path.iterdir())


def test_every_way_to_pretrain_is_tested() -> None:
    assert {entry.name for entry in entries("pretraining")} == {*HOWS, *REPLACING}
