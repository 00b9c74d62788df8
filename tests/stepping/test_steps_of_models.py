"""What ways of stepping do to a transformer's loss, gradients, rates and layers, against computations of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stepped import rows, steps_of
from torch import Tensor
from torch.nn.functional import kl_div, normalize
from transformers import BertModel

from similis.errors import UserError
from similis.objective import Objective
from similis.training import train
from similis.training.running.steps import Steps
from similis.training.stepping.averages import EMA
from similis.training.stepping.consistency import difference, scores_of
from similis.training.stepping.groups import GroupDRO, ImplicitDRO, k_means
from similis.training.stepping.smoothness import moved_tokens


def embedded(steps: Steps) -> tuple[Any, Tensor, Tensor]:
    drawn = steps.first_batches(1)[0]
    queries, keys = steps.embedded(drawn.part.examples.batch(drawn.rows))
    assert keys is not None
    return drawn, queries, keys


def bert(steps: Steps) -> Any:
    return next(part for part in steps.trainee.module.modules() if isinstance(part, BertModel))


def row_losses(queries: Tensor, keys: Tensor) -> Tensor:
    """InfoNCE at temperature 0.1, by hand; no two rows of these batches share a text."""
    scores = normalize(queries) @ normalize(keys).T / 0.1
    return scores.logsumexp(1) - scores.diagonal()


def symmetric(one: Tensor, two: Tensor) -> Tensor:
    first, second = (20 * one).log_softmax(1), (20 * two).log_softmax(1)
    both = [kl_div(first, second, log_target=True, reduction="batchmean")]
    both.append(kl_div(second, first, log_target=True, reduction="batchmean"))
    return (both[0] + both[1]) / 2


def cosines(queries: Tensor, keys: Tensor) -> Tensor:
    return normalize(queries) @ normalize(keys).T


def test_r_drop_is_both_losses_and_the_divergence_between_them(small: Path) -> None:
    steps = steps_of(small, 16, stepping="r_drop(weight=0.7)")
    torch.manual_seed(1)
    drawn, q1, k1 = embedded(steps)
    _, q2, k2 = embedded(steps)
    assert not torch.allclose(q1, q2)
    expected = (row_losses(q1, k1).mean() + row_losses(q2, k2).mean()) / 2
    expected = expected + 0.7 * symmetric(cosines(q1, k1), cosines(q2, k2))
    torch.manual_seed(1)
    assert float(steps.loss(drawn)) == pytest.approx(float(expected), rel=1e-5)
    with pytest.raises(UserError, match="no dropout"):
        steps_of(small, 16, dropout=0.0, stepping="r_drop")


def test_proximal_compares_with_the_average_of_past_weights(small: Path) -> None:
    steps = steps_of(small, 16, dropout=0.0, stepping="proximal(weight=2, decay=0.9)", lr_scheduler_type="constant")
    begun = [p.detach().clone() for p in steps.trainee.module.parameters()]
    drawn, before_q, before_k = embedded(steps)
    assert float(steps.loss(drawn)) == pytest.approx(float(row_losses(before_q, before_k).mean()), rel=1e-5)
    steps.take([drawn])
    _, queries, keys = embedded(steps)
    now = [p.detach().clone() for p in steps.trainee.module.parameters()]
    for parameter, first, last in zip(steps.trainee.module.parameters(), begun, now, strict=True):
        parameter.data = (first + last) / 2  # the average after one step is the mean of two
    _, past_q, past_k = embedded(steps)
    for parameter, last in zip(steps.trainee.module.parameters(), now, strict=True):
        parameter.data = last
    expected = row_losses(queries, keys).mean() + 2 * symmetric(cosines(past_q, past_k), cosines(queries, keys))
    assert float(steps.loss(drawn)) == pytest.approx(float(expected), rel=1e-4)
    steps.loss(drawn).backward()  # the graph of the plain weights is intact


def test_smart_finds_moves_that_change_the_scores_more_than_chance_does(small: Path) -> None:
    steps = steps_of(small, 16, dropout=0.0, stepping="smart(weight=1, step=0.01, radius=0.01)")
    drawn, queries, keys = embedded(steps)
    plain = float(row_losses(queries, keys).mean())
    torch.manual_seed(0)
    found = float(steps.loss(drawn)) - plain
    chance = []
    for seed in range(20):
        torch.manual_seed(seed)
        inner = bert(steps)
        with moved_tokens(inner, lambda _, tokens: 0.01 * torch.randn_like(tokens).sign()):
            _, q, k = embedded(steps)
        chance.append(float(symmetric(cosines(queries, keys), cosines(q, k))))
    assert found > 2 * max(chance) > 0


def test_smart_moves_a_linear_map_by_the_sign_it_should(small: Path) -> None:
    """One round from next to no noise: the move is the step, along the gradient over its greatest entry."""
    steps = steps_of(small, 16, dropout=0.0, stepping="smart(step=0.01, noise=1e-4, radius=0.005)")
    smart: Any = steps.stepping[0]
    moved = smart._further(torch.zeros(1, 2, 3), torch.tensor([[[1.0, -4, 2], [0.3, 0, 0.1]]]))
    expected = [[[0.0025, -0.005, 0.005], [0.005, 0, 0.01 / 3]]]  # of the step 0.01, cut at 0.005
    assert torch.allclose(moved, torch.tensor(expected))


def test_group_dro_raises_groups_by_the_exponential_of_their_loss(small: Path) -> None:
    steps = steps_of(small, 16, dropout=0.0, stepping="group_dro(rate=0.5, adjustment=2, by=cluster, clusters=3)")
    steps.start()
    dro = steps.stepping[0]
    assert isinstance(dro, GroupDRO)
    drawn, queries, keys = embedded(steps)
    own = dro.rows[0][torch.from_numpy(drawn.rows)]
    losses = row_losses(queries, keys)
    present = sorted(set(own.tolist()))
    mean = {g: float(losses[own == g].mean()) for g in present}
    sizes = torch.bincount(dro.rows[0])
    raised = [np.exp(0.5 * (mean[g] + 2 / float(sizes[g]) ** 0.5)) if g in mean else 1.0 for g in range(len(sizes))]
    weights = np.array(raised) / sum(raised)
    expected = sum(weights[g] * mean[g] for g in present) * len(sizes) / len(present)
    assert float(steps.loss(drawn)) == pytest.approx(float(expected), rel=1e-5)
    assert dro.weights.numpy() == pytest.approx(weights, rel=1e-5)
    assert len(present) > 1


def test_group_dro_weighs_both_directions_of_its_pairs(small: Path) -> None:
    loss = "infonce(temperature=0.1), directions=[q2k, k2q]"
    steps = steps_of(small, 16, dropout=0.0, loss=loss, stepping="group_dro(rate=0.5, by=cluster, clusters=3)")
    steps.start()
    dro = steps.stepping[0]
    assert isinstance(dro, GroupDRO)
    drawn, queries, keys = embedded(steps)
    own = dro.rows[0][torch.from_numpy(drawn.rows)]
    losses = (row_losses(queries, keys) + row_losses(keys, queries)) / 2
    present = sorted(set(own.tolist()))
    mean = torch.stack([losses[own == g].mean() for g in present])
    weights = torch.ones(len(dro.weights))
    weights[present] = (0.5 * mean.detach()).exp()
    expected = ((weights / weights.sum())[present] * mean).sum() * len(weights) / len(present)
    assert float(steps.loss(drawn)) == pytest.approx(float(expected), rel=1e-5)
    assert len(present) > 1


def test_group_dro_of_data_sets_weighs_the_set_of_the_batch(small: Path) -> None:
    steps = steps_of(small, 16, 16, dropout=0.0, stepping="group_dro(rate=0.5)")
    drawn, queries, keys = embedded(steps)
    loss = float(row_losses(queries, keys).mean())
    weight = np.exp(0.5 * loss) / (np.exp(0.5 * loss) + 1)
    assert float(steps.loss(drawn)) == pytest.approx(2 * weight * loss, rel=1e-5)
    with pytest.raises(UserError, match="there is one"):
        steps_of(small, 16, stepping="group_dro")
    with pytest.raises(UserError, match="data has none"):
        steps_of(small, 16, stepping="group_dro(by=label)")


def test_implicit_dro_raises_groups_whose_gradients_agree(small: Path) -> None:
    settings = "implicit_dro(rate=2, power=0.5, memory=0.5, least=0.01, layers=1, clusters=3)"
    steps = steps_of(small, 16, dropout=0.0, stepping=settings)
    steps.start()
    dro = steps.stepping[0]
    assert isinstance(dro, ImplicitDRO)
    drawn, queries, keys = embedded(steps)
    own = dro.rows[0][torch.from_numpy(drawn.rows)]
    count, present = len(dro.weights), sorted(set(own.tolist()))
    assert len(present) > 1
    inner = bert(steps)
    last = [*inner.encoder.layer[-1].parameters()]
    gradients, sizes = [], []
    for group in present:
        loss = row_losses(queries, keys)[own == group].mean()
        parts = torch.autograd.grad(loss, last, retain_graph=True)
        gradients.append(normalize(torch.cat([p.flatten() for p in parts]), dim=0))
        sizes.append(float(loss) ** 0.5)
    helped = {
        g: 2 * sum(a * sizes[i] * float(gradients[i] @ b) for a, b in zip(sizes, gradients, strict=True)) / count
        for i, g in enumerate(present)
    }
    raised = np.array([np.exp(helped[g]) if g in helped else 0.0 for g in range(count)])
    steps.loss(drawn)
    assert dro.weights.numpy() == pytest.approx(np.maximum(raised / raised.sum(), 0.01), rel=1e-4)
    with pytest.raises(UserError, match="mini_batch_size"):
        steps_of(small, 16, stepping="implicit_dro", mini_batch_size=4)


def test_k_means_finds_directions_far_apart() -> None:
    generator = torch.Generator().manual_seed(0)
    centres = torch.eye(4)[[0, 1, 2, 0, 1, 2, 2, 2]]
    found = k_means(centres + 0.05 * torch.randn(8, 4, generator=generator), 3, seed=0)
    assert len(set(found.tolist())) == 3
    assert found[0] == found[3] != found[1] == found[4] != found[2]
    assert len(set(found[[2, 5, 6, 7]].tolist())) == 1


def test_lower_layers_learn_slower(small: Path) -> None:
    steps = steps_of(small, 16, stepping="layer_decay(rate=0.5)", lr_scheduler_type="constant")
    names = {id(p): name for name, p in steps.trainee.module.named_parameters()}
    drawn = steps.first_batches(1)
    steps.take(drawn)
    seen = set()
    for group in steps.optimizers[0].param_groups:
        for parameter in group["params"]:
            name = names[id(parameter)]
            power = 3 if "embeddings" in name else next((2 - i for i in range(3) if f"layer.{i}." in name), 0)
            assert group["lr"] == pytest.approx(1e-3 * 0.5**power), name
            seen.add(name)
    assert seen == set(names.values())


def test_only_the_layers_of_most_fisher_information_are_trained(small: Path) -> None:
    steps = steps_of(small, 16, dropout=0.0, stepping="fisher_layers(count=1, batches=2)", lr_scheduler_type="constant")
    inner = bert(steps)
    scores = torch.zeros(3)
    for drawn in steps.first_batches(2):
        queries, keys = steps.embedded(drawn.part.examples.batch(drawn.rows))
        assert keys is not None
        loss = row_losses(queries, keys).mean()
        for number, layer in enumerate(inner.encoder.layer):
            parts = torch.autograd.grad(loss, list(layer.parameters()), retain_graph=True)
            scores[number] += sum(float(p.square().sum()) for p in parts)
    best = int(scores.argmax())
    steps.start()
    before = {name: p.detach().clone() for name, p in inner.named_parameters()}
    steps.take(steps.first_batches(1))
    moved = {name for name, p in inner.named_parameters() if not torch.equal(p, before[name])}
    assert moved
    assert all(name.startswith((f"encoder.layer.{best}.", "pooler")) for name in moved)


def test_the_average_is_what_is_judged_and_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    past: list[np.ndarray[Any, Any]] = []
    real = EMA.stepped

    def watched(self: EMA) -> None:
        past.append(self.average._parameters["model/weight"].detach().numpy().copy())
        real(self)

    monkeypatch.setattr(EMA, "stepped", watched)
    given: dict[str, Any] = {"dimension": 8, "batch_size": 16, "learning_rate": 0.02, "warmup_steps": 0.0}
    given |= {"max_steps": 8, "eval_steps": 1, "early_stopping_patience": 0, "lr_scheduler_type": "constant"}
    start = train(rows(80), dev=False, **{**given, "learning_rate": 1e-12}).encoder.weights  # type: ignore[attr-defined]
    for dev in (False, rows(40, 5)):
        past.clear()
        fitted = train(rows(80), dev=dev, stepping=["ema(decay=0.8)"], **given)
        averages = [start]
        for step, weights in enumerate(past, 1):
            decay = min(0.8, step / (step + 1))
            averages.append(decay * averages[-1] + (1 - decay) * weights)
        best = fitted.outcome.position.best_step if dev else len(past)
        assert np.allclose(fitted.encoder.weights, averages[best], atol=1e-6)  # type: ignore[attr-defined]
        assert not np.allclose(past[best - 1], averages[best], atol=1e-4)


@pytest.mark.parametrize("size", [None, 3])
def test_momentum_keys_come_from_the_average_and_teach_nothing(small: Path, size: int | None) -> None:
    steps = steps_of(small, 16, dropout=0.0, stepping="momentum_keys(decay=0.9)", mini_batch_size=size)
    module, (first, second) = steps.trainee.module, steps.first_batches(2)
    begun = [p.detach().clone() for p in module.parameters()]
    steps.take([first])
    now = [p.detach().clone() for p in module.parameters()]
    codes = second.part.examples.batch(second.rows)
    assert codes.keys is not None
    for parameter, before, last in zip(module.parameters(), begun, now, strict=True):
        parameter.data = (before + last) / 2
    keys = steps.trainee.embed([(codes.keys, False)])[0].detach()
    for parameter, last in zip(module.parameters(), now, strict=True):
        parameter.data = last
    loss = row_losses(steps.trainee.embed([(codes.queries, True)])[0], keys).mean()
    expected = torch.autograd.grad(loss, list(module.parameters()), allow_unused=True)
    assert steps.gradients([second]) == pytest.approx(float(loss), rel=1e-4)
    for parameter, gradient in zip(module.parameters(), expected, strict=True):
        if gradient is not None:
            assert parameter.grad is not None
            assert torch.allclose(parameter.grad, gradient, atol=1e-4)


@pytest.mark.parametrize("way", ["sam", "r_drop", "proximal", "[sam, r_drop]"])
def test_a_queue_sees_each_batch_once(small: Path, way: str) -> None:
    steps = steps_of(small, 32, stepping=way)
    part = steps.parts[0]
    part.objective = Objective("infonce(temperature=0.1), keys=queue(size=64)").prepare(dimension=16)
    steps.modules["objective"] = part.objective
    for number, drawn in enumerate(steps.first_batches(3), 1):
        steps.take([drawn])
        queue: Any = part.objective.keys
        assert queue.filled == 8 * number


@pytest.mark.parametrize("way", ["asam", "mixout(p=0.3)", "proximal", "fisher_mask", "group_dro", "half"])
def test_a_batch_encoded_in_parts_gives_the_same_step(small: Path, way: str) -> None:
    counts = (16, 16) if way == "group_dro" else (16,)
    ends = []
    for size in (None, 3):
        steps = steps_of(small, *counts, dropout=0.0, stepping=way, mini_batch_size=size)
        torch.manual_seed(0)
        steps.start()
        for drawn in steps.first_batches(2):
            steps.take([drawn])
        ends.append(torch.cat([p.grad.flatten() for p in steps.trainee.module.parameters() if p.grad is not None]))
    assert torch.allclose(*ends, atol=1e-4)


def test_half_of_each_kind_of_a_layers_parts_stays_bit_for_bit(small: Path) -> None:
    given: dict[str, Any] = {"dropout": 0.0, "stepping": "half", "weight_decay": 0.5, "lr_scheduler_type": "constant"}
    stayed = []
    for seed in (0, 0, 1):
        steps = steps_of(small, 16, seed=seed, **given)
        before = {name: p.detach().clone() for name, p in bert(steps).named_parameters()}
        for drawn in steps.first_batches(2):
            steps.take([drawn])
        after = dict(bert(steps).named_parameters())
        stayed.append({name for name, p in before.items() if torch.equal(p, after[name])})
        assert all(p.requires_grad for p in after.values())
    assert stayed[0] == stayed[1] != stayed[2]
    names = {name.rpartition(".")[0] for name in stayed[0]}
    # a bias of attention's keys has no gradient but rounding; a part stays with its bias or not at all
    assert all({f"{name}.weight", f"{name}.bias"} <= stayed[0] for name in names)
    for layer in range(3):
        own = sorted(name.split(f"layer.{layer}.")[1] for name in names if f"layer.{layer}." in name)
        matrices = [name for name in own if name.startswith("attention") and "Norm" not in name]
        assert len(matrices) == 2
        assert len([name for name in own if name in ("intermediate.dense", "output.dense")]) == 1
        assert len([name for name in own if "LayerNorm" in name]) == 1
        assert len(own) == 4
    assert not any(name.startswith("embeddings.word") for name in names)


def test_what_has_no_meaning_is_refused(small: Path) -> None:
    for way, said in (
        ("layer_decay", "transformer's layers"),
        ("fisher_layers", "transformer's layers"),
        ("half", "transformer's layers"),
        ("smart", "none: leave it out"),
        ("r_drop", "no dropout"),
    ):
        with pytest.raises(UserError, match=said):
            train(rows(40), dimension=8, max_steps=1, stepping=way)
    with pytest.raises(UserError, match="mini_batch_size"):
        steps_of(small, 16, stepping="smart", mini_batch_size=4)
    with pytest.raises(UserError, match="has 3"):
        steps_of(small, 16, stepping="fisher_layers(count=4)")


def test_scores_without_an_own_pair_and_differences_of_lists() -> None:
    one, two = torch.tensor([0.1, 0.5]), torch.tensor([0.3, 0.5])
    assert float(difference(one, two, 20.0)) == pytest.approx(0.02)
    relation: Any = type("R", (), {"layout": "matrix"})
    seen: Any = type("E", (), {"relation": relation})
    vectors = torch.eye(3) + 0.5
    scores = scores_of(lambda q, k: q @ k.T, seen, vectors, None)  # type: ignore[arg-type]
    product = vectors @ vectors.T
    assert torch.equal(scores, torch.stack([product[0, [1, 2]], product[1, [0, 2]], product[2, [0, 1]]]))
