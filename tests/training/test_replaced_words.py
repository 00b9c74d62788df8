"""A generator replaces words; SimLM puts them right from one vector, DiffCSE tells them with the vector's help."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, normalize
from training_rows import labelled
from transformers import BertConfig, BertForMaskedLM, BertTokenizerFast

from similis.encoders import load
from similis.errors import UserError
from similis.training import pretrain
from similis.training.pretraining import Companion, Settings, pretrained, task
from similis.training.pretraining.generating import Fixed, Generator, Joint, chosen

TEXTS = labelled(64)["text"]
IGNORED = -100


@pytest.fixture(scope="module")
def headed(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A masked language model of the same tokens, in transformers' own format."""
    folder = tmp_path_factory.mktemp("headed")
    tokenizer = BertTokenizerFast.from_pretrained(str(tiny))
    torch.manual_seed(1)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=32, initializer_range=0.3, **sizes)
    BertForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def made(folder: Path, how: str) -> Any:
    torch.manual_seed(0)
    companion = task(how).on(load(folder))
    companion.encoder.model.eval()
    return companion.eval()


def spied(companion: Any, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the generator is asked for, and what it gives back."""
    calls: list[dict[str, Any]] = []
    real = companion.generator.refilled

    def refilled(ids: Any, mask: Any, hidden: Any, drawing: Any = None) -> Any:
        found, own = real(ids, mask, hidden, drawing)
        calls.append({"ids": ids, "mask": mask, "hidden": hidden, "drawing": drawing, "found": found, "own": own})
        return found, own

    monkeypatch.setattr(companion.generator, "refilled", refilled)
    return calls


def touched(module: torch.nn.Module) -> bool:
    return any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in module.parameters())


def test_words_are_drawn_as_often_as_the_generator_thinks_likely() -> None:
    chances = torch.tensor([0.0, 0.5, 0.125, 0.0, 0.375, 0.0])
    found = chosen(chances.log().repeat(20_000, 1), torch.Generator().manual_seed(0))
    shares = torch.bincount(found, minlength=6) / 20_000
    assert (shares[chances == 0] == 0).all()
    assert torch.allclose(shares, chances, atol=4 * (0.25 / 20_000) ** 0.5)
    assert chosen(torch.tensor([[0.0, 2.0, 1.0]]), None).tolist() == [1]


@pytest.mark.parametrize("drawing", [None, 3])
def test_a_fixed_generator_fills_only_what_is_hidden_and_with_its_own_models_words(
    headed: Path, drawing: int | None
) -> None:
    companion = made(headed, "simlm")
    assert isinstance(companion.generator, Fixed)
    features = companion.encoder.preprocess(TEXTS[:6])
    ids, mask = features["input_ids"], features["attention_mask"]
    hidden = companion._labels(features) != IGNORED
    hidden &= torch.rand(ids.shape) < 0.5
    draw = None if drawing is None else torch.Generator().manual_seed(drawing)
    found, own = companion.generator.refilled(ids, mask, hidden, draw)
    assert torch.equal(found[~hidden], ids[~hidden])
    assert float(own) == 0
    masked = ids.clone()
    masked[hidden] = companion.encoder.model.tokenizer.mask_token_id
    model = BertForMaskedLM.from_pretrained(headed).eval()
    with torch.no_grad():
        logits = model(input_ids=masked, attention_mask=mask).logits
    if drawing is None:
        assert torch.equal(found[hidden], logits.argmax(-1)[hidden])
        return
    assert not torch.equal(found[hidden], logits.argmax(-1)[hidden])
    places = [(row, column) for row, column in hidden.nonzero().tolist()]
    points = torch.rand((len(places), 1), generator=torch.Generator().manual_seed(3)).flatten().tolist()
    for (row, column), point in zip(places, points, strict=True):
        chances = logits[row, column].double().softmax(-1)
        below = float(chances[: found[row, column]].sum())
        assert below - 1e-5 <= point <= below + float(chances[found[row, column]]) + 1e-5


def test_a_joint_generators_loss_is_the_surprise_at_the_hidden_words_and_stays_its_own(tiny: Path) -> None:
    companion = made(tiny, "simlm")
    generator = companion.generator
    assert isinstance(generator, Joint)
    features = companion.encoder.preprocess(TEXTS[:6])
    ids, mask = features["input_ids"], features["attention_mask"]
    hidden = (companion._labels(features) != IGNORED) & (torch.rand(ids.shape) < 0.4)
    own = generator.refilled(ids, mask, hidden)[1]
    mask_id = companion.encoder.model.tokenizer.mask_token_id
    inputs = companion.words(torch.where(hidden, mask_id, ids)) + generator.positions.weight[: ids.shape[1]]
    states = generator.norm(generator.layer(inputs, src_key_padding_mask=mask == 0))
    chances = torch.softmax(states @ companion.words.weight.T + generator.bias, -1)
    surprise = [-chances[row, column, ids[row, column]].log() for row, column in hidden.nonzero().tolist()]
    torch.testing.assert_close(own, 0.2 * torch.stack(surprise).mean())
    own.backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in generator.parameters())
    assert not touched(companion.encoder.model)
    nothing = torch.zeros_like(hidden)
    same, none = generator.refilled(ids, mask, nothing)
    assert torch.equal(same, ids)
    assert float(none.detach()) == 0


def test_the_generator_is_the_one_named_or_the_models_own_head_or_a_small_one(
    tiny: Path, headed: Path, tmp_path: Path
) -> None:
    for how in ("simlm", "diffcse"):
        assert isinstance(made(headed, how).generator, Fixed)
        assert isinstance(made(tiny, how).generator, Joint)
        assert isinstance(made(headed, f"{how}(generator=joint)").generator, Joint)
        assert isinstance(made(tiny, f"{how}(generator={str(headed)!r})").generator, Fixed)
    with pytest.raises(UserError, match="no masked-word head"):
        made(headed, f"simlm(generator={str(tiny)!r})")
    with pytest.raises(UserError, match="nowhere"):
        made(tiny, "diffcse(generator='./nowhere')")
    other = shutil.copytree(headed, tmp_path / "other")
    settings = json.loads((other / "tokenizer.json").read_text(encoding="utf-8"))
    words = settings["model"]["vocab"]
    words["quite-another"] = words.pop("fillera")
    (other / "tokenizer.json").write_text(json.dumps(settings), encoding="utf-8")
    with pytest.raises(UserError, match="has other tokens than the model"):
        made(tiny, f"simlm(generator={str(other)!r})")
    short = shutil.copytree(headed, tmp_path / "short")
    settings = json.loads((short / "tokenizer_config.json").read_text(encoding="utf-8"))
    (short / "tokenizer_config.json").write_text(json.dumps({**settings, "model_max_length": 20}), encoding="utf-8")
    with pytest.raises(UserError, match="reads 20 tokens of a text and the model 24"):
        made(tiny, f"simlm(generator={str(short)!r})")


def test_simlm_adds_the_surprise_of_encoder_and_decoder_at_every_word(
    headed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    companion = made(headed, "simlm")
    calls = spied(companion, monkeypatch)
    with torch.no_grad():
        loss = companion.loss(TEXTS[:8], "a")
        features = companion.encoder.preprocess(TEXTS[:8])
        light, heavy = calls
        found = companion.encoder.run({**features, "input_ids": light["found"]})
        states = companion.states(companion.bridge(found["sentence_embedding"]), heavy["found"], light["mask"])
        ids = features["input_ids"]
        special = {0, 2, 3}
        words = [(i, j) for i, row in enumerate(ids.tolist()) for j, word in enumerate(row) if word not in special]
        expected = 0.0
        for each in (found["token_embeddings"], states):
            chances = torch.softmax(each @ companion.words.weight.T + companion.bias, -1)
            expected -= float(torch.stack([chances[i, j, ids[i, j]].log() for i, j in words]).mean())
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_simlms_decoder_loses_all_words_that_the_encoder_loses_and_more(
    headed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    companion = made(headed, "simlm")
    calls = spied(companion, monkeypatch)
    long = [" ".join(TEXTS[row : row + 2]) for row in range(0, 62, 2)] * 8
    with torch.no_grad():
        companion.loss(long, "a")
    light, heavy = calls
    words = companion._labels(companion.encoder.preprocess(long)) != IGNORED
    assert not (light["hidden"] & ~heavy["hidden"]).any()
    assert not (heavy["hidden"] & ~words).any()
    error = 4 * 0.5 / int(words.sum()) ** 0.5
    assert float(light["hidden"][words].float().mean()) == pytest.approx(0.3, abs=error)
    assert float(heavy["hidden"][words].float().mean()) == pytest.approx(0.5, abs=error)
    assert light["drawing"] is not None
    assert heavy["drawing"] is not None


def test_simlms_decoder_reads_the_vector_and_the_words_but_no_padding(tiny: Path) -> None:
    companion = made(tiny, "simlm")
    ids, vectors = torch.randint(5, 50, (2, 8)), torch.randn(2, 16)
    mask = torch.ones(2, 8, dtype=torch.long)
    mask[:, 6:] = 0
    before = companion.states(vectors, ids, mask)[:, :6]

    def moved(vectors: torch.Tensor, changed: int) -> torch.Tensor:
        other = ids.clone()
        other[:, changed] += 1
        after = companion.states(vectors, other, mask)[:, :6]
        return ~torch.isclose(before, after, atol=1e-5).all(-1)

    assert moved(vectors, 3).all()
    assert moved(torch.randn(2, 16), 7).all()
    assert not moved(vectors, 7).any()
    assert not moved(vectors, 0).any()  # the vector stands in the first token's place


def test_diffcse_is_the_contrast_of_two_views_and_the_surprise_at_replaced_words(
    headed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    companion = made(headed, "diffcse(weight=0.7, temperature=0.1)")
    calls = spied(companion, monkeypatch)
    with torch.no_grad():
        loss = companion.loss(TEXTS[:8], "a")
        (call,) = calls
        vectors = companion.projector(companion.encoder.forward_features(companion.encoder.preprocess(TEXTS[:8])))
        units = normalize(vectors, dim=1)
        alike = cross_entropy(units @ units.T / 0.1, torch.arange(8))
        ids, edited = call["ids"], call["found"]
        assert ids.shape[0] == 16
        assert call["drawing"] is None
        inputs = companion.discriminator.embeddings.word_embeddings(edited)
        inputs[:, 0] = companion.bridge(torch.cat([vectors, vectors]))
        states = companion.discriminator(inputs_embeds=inputs, attention_mask=call["mask"]).last_hidden_state
        logits = states @ companion.head.weight[0] + companion.criterion.bias
        rows = []
        for row in range(16):
            words = [place for place, word in enumerate(ids[row].tolist()) if word not in {0, 2, 3}]
            told = binary_cross_entropy_with_logits(logits[row, words], (edited != ids)[row, words].float())
            rows.append(told)
    assert bool((edited != ids).any())
    assert float(loss) == pytest.approx(float(alike + 0.7 * torch.stack(rows).mean()), rel=1e-5)
    # the views are edited each for itself
    assert not torch.equal(call["hidden"][:8], call["hidden"][8:])


def test_diffcses_projector_normalises_over_both_views_and_is_no_part_of_the_encoder(tiny: Path) -> None:
    companion = made(tiny, "diffcse").train()
    vectors = torch.randn(12, 16) * 5 + 3
    projected = companion.projector(vectors)
    torch.testing.assert_close(projected.mean(0), torch.zeros(16), atol=1e-5, rtol=0)
    torch.testing.assert_close(projected.var(0, unbiased=False), torch.ones(16), atol=1e-2, rtol=0)
    names = {name for name, _ in companion.encoder.model.named_parameters()}
    assert not any("projector" in name or "discriminator" in name for name in names)
    own = {id(p) for p in companion.parameters()}
    assert not any(id(p) in own for p in companion.encoder.model.parameters())


def test_diffcses_gradients_reach_each_part_through_its_own_loss(tiny: Path) -> None:
    parts = ("projector", "bridge", "head", "criterion")

    def reached(how: str) -> set[str]:
        companion = made(tiny, how).train()
        companion.loss(TEXTS[:8], "a").backward()
        found = {name for name in (*parts, "discriminator", "generator") if touched(getattr(companion, name))}
        return found | ({"encoder"} if touched(companion.encoder.model) else set())

    assert reached("diffcse(weight=0)") == {"projector", "generator", "encoder"}
    assert reached("diffcse") == {*parts, "discriminator", "generator", "encoder"}
    # what is told alone reaches the encoder through its vector, and the words' generator never
    companion = made(tiny, "diffcse").train()
    features = companion.encoder.preprocess(TEXTS[:8])
    vectors = companion.projector(companion.encoder.forward_features(features))
    ids, labels = features["input_ids"], companion._labels(features)
    edited = companion.generator.refilled(ids, features["attention_mask"], labels != IGNORED)[0]
    companion.told(vectors, edited, edited != ids, features["attention_mask"], labels).backward()
    assert touched(companion.encoder.model)
    assert not touched(companion.generator)


@pytest.mark.parametrize("how", ["simlm", "diffcse"])
def test_the_loss_depends_on_the_seed_alone_and_reaches_encoder_and_task(headed: Path, how: str) -> None:
    companion = made(headed, how)
    losses = [float(companion.loss(TEXTS[:8], seed).detach()) for seed in ("a", "a", "b")]
    assert losses[0] == losses[1] != losses[2]
    companion.loss(TEXTS[:8], "a").backward()
    inside = {n: p for n, p in companion.named_parameters() if ".pooler." not in n}
    assert not any("generator" in name for name in inside)  # a fixed one is neither trained nor saved
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in inside.values())
    attended = companion.encoder.model[0].auto_model.encoder.layer[0].attention.self.query.weight
    assert bool(attended.grad.abs().sum() > 0)
    companion.train()
    assert not any(part.training for model in companion.generator._model for part in model.modules())


@pytest.mark.parametrize("how", ["simlm(decoder=0.9)", "diffcse(weight=1.0, masked=0.9)"])
def test_training_lowers_the_loss_and_the_vector_comes_to_tell_its_text(
    tiny: Path, tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Any] = []
    build = type(task(how)).on

    def keep(self: Any, encoder: Any) -> Companion:
        kept.append(build(self, encoder))
        return kept[-1]

    monkeypatch.setattr(type(task(how)), "on", keep)
    few = TEXTS[:12]
    settings = Settings(how, max_steps=200, batch_size=12, learning_rate=1e-2)  # with fewer, it hangs on the dropout
    story = pretrained(tiny, few, settings, output=tmp_path / "model")
    losses = [part["loss"] for part in story.history]
    assert len(losses) == 10
    assert losses[-1] < 0.8 * losses[0]
    companion, encoder = kept[0], story.encoder
    features = encoder.preprocess(few)
    ids, mask, labels = features["input_ids"], features["attention_mask"], companion._labels(features)

    def surprise(shift: int) -> float:
        """With the vectors of the texts so many places further."""
        vectors = encoder.forward_features(features)
        if how.startswith("simlm"):
            hidden, _ = companion.generator.refilled(ids, mask, labels != IGNORED, torch.Generator().manual_seed(0))
            return float(
                companion.predicted(companion.states(companion.bridge(vectors.roll(shift, 0)), hidden, mask), labels)
            )
        hidden = (torch.rand(ids.shape, generator=torch.Generator().manual_seed(0)) < 0.5) & (labels != IGNORED)
        edited, _ = companion.generator.refilled(ids, mask, hidden)
        return float(companion.told(companion.projector(vectors).roll(shift, 0), edited, edited != ids, mask, labels))

    with torch.no_grad():
        assert surprise(0) < surprise(1) - 0.05
    theirs = SentenceTransformer(str(tmp_path / "model"), device="cpu")
    assert np.allclose(encoder.encode(TEXTS[:4]), theirs.encode(TEXTS[:4]), atol=1e-5)
    assert [type(step).__name__ for step in theirs] == ["Transformer", "Pooling"]


def test_mistakes_are_said(tiny: Path) -> None:
    for how, said in {
        "simlm(encoder=0.6)": "the decoder's the larger",
        "simlm(layers=0)": "layers is a number of at least 1",
        "diffcse(weight=-1)": "weight is at least 0",
        "diffcse(masked=0)": "masked is a share",
    }.items():
        with pytest.raises(UserError, match=said):
            pretrain(tiny, TEXTS, how=how)


def test_a_generator_has_to_say_how_it_scores() -> None:
    with pytest.raises(TypeError, match="scores"):
        Generator(0)  # type: ignore[abstract]
