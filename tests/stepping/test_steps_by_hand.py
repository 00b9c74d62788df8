"""Steps of a quadratic, whose gradients are known, under each way of changing them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from stepped import Toy, Weights, begun, quadratic

from similis.errors import UserError
from similis.training.running.schedule import factor, momentum
from similis.training.stepping import stepping
from similis.training.stepping.averages import EMA
from similis.training.stepping.base import split
from similis.training.stepping.fisher import FisherMask
from similis.training.stepping.mixout import Mixout
from similis.training.stepping.sharpness import ASAM, FSAM, SAM

START = [[0.5, -1.0], [2.0, 0.25]], [-0.75]


def toy() -> tuple[Toy, np.ndarray]:
    module = Weights(*START)
    return Toy(module, quadratic), np.array([0.5, -1.0, 2.0, 0.25, -0.75])


def flat(run: Toy) -> np.ndarray:
    return torch.cat([p.detach().flatten() for p in run.module.parameters()]).numpy()


CURVATURE = np.arange(1.0, 6.0)


def test_sam_steps_with_the_gradient_at_rho_up_the_gradient() -> None:
    run, w = toy()
    run.step(begun(SAM(rho=0.3), run))
    gradient = CURVATURE * w
    higher = w + 0.3 * gradient / np.linalg.norm(gradient)
    assert np.allclose(flat(run), w - CURVATURE * higher, atol=1e-12)
    assert run.passes == 2


def test_asam_moves_each_weight_by_its_own_size_and_biases_as_they_are() -> None:
    run, w = toy()
    run.step(begun(ASAM(rho=0.3, eta=0.01), run))
    size = np.abs(w) + 0.01
    size[-1] = 1.0
    gradient = CURVATURE * w
    higher = w + 0.3 * size**2 * gradient / np.linalg.norm(size * gradient)
    assert np.allclose(flat(run), w - CURVATURE * higher, atol=1e-12)


def test_fsam_moves_the_share_of_greatest_squared_gradient_and_keeps_its_mask() -> None:
    run, w = toy()
    extension = begun(FSAM(rho=0.3, share=0.4, every=2), run)
    for step in range(3):
        gradient = CURVATURE * w
        if step % 2 == 0:
            mask = gradient**2 >= np.sort(gradient**2)[-2]
        w = w - CURVATURE * (w + 0.3 * gradient * mask / np.linalg.norm(gradient))
        run.step(extension)
        assert np.allclose(flat(run), w, rtol=1e-9)
    assert mask.sum() == 2


def test_sam_moves_the_rows_of_a_sparse_gradient_alone() -> None:
    table = torch.nn.Embedding(6, 3, sparse=True)
    rows = torch.tensor([4, 1, 4])
    before = table.weight.detach().clone()

    def loss(module: torch.nn.Module) -> torch.Tensor:
        return module(rows).square().sum() / 2

    run = Toy(table, loss)
    extension = begun(SAM(rho=0.5), run)
    run.step(extension)
    count = torch.tensor([0.0, 1, 0, 0, 2, 0])[:, None]
    gradient = count * before
    assert torch.allclose(table.weight, before - count * (before + 0.5 * gradient / gradient.norm()), atol=1e-6)


def test_sam_goes_along_a_valley_to_where_it_is_flat() -> None:
    """½ (xy − 1)² is 0 on a curve; its sharpness there is x² + y², least at x = y."""

    def loss(module: torch.nn.Module) -> torch.Tensor:
        return (module.get_parameter("bias").prod() - 1).square() / 2

    sharpness = []
    for extensions in ([], [SAM(rho=0.1)]):
        run = Toy(Weights([[0.0]], [4.0, 0.3]), loss)
        run.optimizers = [torch.optim.SGD(run.module.parameters(), lr=0.1)]
        for each in extensions:
            begun(each, run)
        for _ in range(500):
            run.step(*extensions)
        bias = run.module.get_parameter("bias").detach()
        assert abs(float(bias.prod()) - 1) < 0.3
        sharpness.append(float(bias.square().sum()))
    assert sharpness[0] > 15
    assert sharpness[1] < 4


def test_the_average_of_weights_is_the_recursion_and_is_shown() -> None:
    run, _ = toy()
    run.optimizers = [torch.optim.SGD(run.module.parameters(), lr=0.05)]
    extension = EMA(decay=0.7)
    begun(extension, run)
    average = flat(run)
    for step in range(1, 8):
        run.step(extension)
        decay = min(0.7, step / (step + 1))
        average = decay * average + (1 - decay) * flat(run)
    shown = extension.shown()
    assert np.allclose(torch.cat([shown["model/weight"].flatten(), shown["model/bias"]]).numpy(), average)


@pytest.mark.parametrize("p", [0.0, 0.4, 1.0])
def test_mixout_is_its_formula(p: float) -> None:
    run, start = toy()
    extension = begun(Mixout(p=p), run)
    with torch.no_grad():
        run.module.weight += 1.0  # type: ignore[operator]
    torch.manual_seed(3)
    dropped = (torch.rand(2, 2, dtype=torch.float64) < p).numpy().ravel()
    now, before = flat(run)[:4], start[:4]
    torch.manual_seed(3)
    run.step(extension)
    if p == 1.0:
        expected = now  # the place is the one before training, and nothing is learnt
    else:
        mixed = (np.where(dropped, before, now) - p * before) / (1 - p)
        expected = now - CURVATURE[:4] * mixed * ~dropped / (1 - p)
    assert np.allclose(flat(run)[:4], expected)
    assert np.allclose(flat(run)[4:], start[4:] * (1 - CURVATURE[4:]))  # a bias is left alone


def test_mixout_keeps_the_weights_on_average() -> None:
    torch.manual_seed(0)
    seen: list[torch.Tensor] = []
    module = Weights([[3.0, -2.0]] * 1000, [0.0])
    run = Toy(module, lambda m: seen.append(m.get_parameter("weight").detach().clone()) or quadratic(m))
    extension = begun(Mixout(p=0.3), run)
    with torch.no_grad():
        module.weight.mul_(2)
    before = module.weight.detach().clone()
    extension.gradients(lambda: run.plain_gradients([0]))
    assert torch.equal(module.weight, before)
    assert torch.allclose(seen[0].mean(0), before[0], atol=0.2)
    assert not torch.equal(seen[0], before)


def test_the_fisher_mask_trains_the_greatest_mean_squared_gradients() -> None:
    run, w = toy()
    run.losses = (quadratic, lambda m: 3 * quadratic(m), lambda m: quadratic(m).exp())
    extension = begun(FisherMask(share=0.6, batches=2), run)
    information = ((CURVATURE * w) ** 2 + (3 * CURVATURE * w) ** 2) / 2
    chosen = information >= np.sort(information)[-3]
    run.step(extension)
    assert np.allclose(flat(run), np.where(chosen, w - CURVATURE * w, w))
    assert chosen.sum() == 3


@pytest.mark.parametrize("warmup", [0.3, 0.1, 7])
def test_one_cycle_is_that_of_torch(warmup: float) -> None:
    total = 40
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=0.2)
    share = warmup / total if warmup >= 1 else warmup
    peer = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.2, total_steps=total, pct_start=share)
    for step in range(total):
        group = optimizer.param_groups[0]
        assert 0.2 * factor("one_cycle", step, total, warmup) == pytest.approx(group["lr"], rel=1e-9)
        assert momentum("one_cycle", step, total, warmup) == pytest.approx(group["betas"][0])
        optimizer.step()
        if step < total - 1:
            peer.step()
    assert momentum("linear", 0, total, warmup) is None
    assert math.isclose(factor("linear", 39, 40, 0.1), 1 / 36)


def test_a_list_of_ways_is_read_quoted_or_not() -> None:
    assert split(None) == []
    assert split("sam(rho=0.1)") == ["sam(rho=0.1)"]
    assert split('["r_drop(weight=2)", ema]') == ["r_drop(weight=2)", "ema"]
    assert [type(each).__name__ for each in stepping("[sam(rho=0.1), ema(decay=0.5)]")] == ["SAM", "EMA"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("samm", "did you mean 'sam'"),
        ("sam(roh=1)", "did you mean 'rho'"),
        ("sam(rho=0)", "above 0"),
        ("[sam, sam]", "sam twice"),
        ("[sam,", "cannot be read"),
        ("mixout(p=2)", "0..1"),
        ("ema(decay=1)", "below 1"),
        ("layer_decay(rate=0)", "above 0"),
        ("fisher_mask(share=0)", "share in 0..1"),
        ("group_dro(by=sets)", "did you mean 'set'"),
        ("implicit_dro(by=set)", "use by=cluster"),
        ("smart(step=0)", "above 0"),
        ("proximal(decay=2)", "below 1"),
    ],
)
def test_mistakes_are_one_sentence(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        stepping(text)
