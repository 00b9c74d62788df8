"""Dropout and lookups as a processor does them cheaply are those of torch, but for which numbers are drawn."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from training_rows import pairs

from similis.training import train
from similis.training.trainees import processor
from similis.training.trainees.processor import Dropout, Embedding, Linear, quickened


def dropout(p: float) -> nn.Module:
    model = nn.Sequential(nn.Dropout(p))
    quickened(model)
    assert type(model[0]) is Dropout
    return model.train()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5, 7, 12), (3, 12), (12,), (0, 12)])
def test_products_and_their_gradients_are_torchs(bias: bool, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 9, bias=bias))
    rows = torch.randn(shape, requires_grad=True)
    outer = torch.randn(*shape[:-1], 9)
    wanted = [rows, *model.parameters()]
    expected = model(rows)
    gradients = torch.autograd.grad(expected, wanted, outer)
    quickened(model)
    assert type(model[0]) is Linear
    found = model(rows)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    for own, theirs in zip(torch.autograd.grad(found, wanted, outer), gradients, strict=True):
        torch.testing.assert_close(own, theirs, atol=1e-5, rtol=1e-5)


def test_gradients_of_products_can_be_derived_again_and_other_types_are_torchs() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 4))
    rows = torch.randn(3, 6, requires_grad=True)

    def slope_of_slope() -> Tensor:
        (slope,) = torch.autograd.grad(model(rows).square().sum(), rows, create_graph=True)
        (found,) = torch.autograd.grad(slope.square().sum(), list(model.parameters())[:1])
        return found

    expected = slope_of_slope()
    quickened(model)
    torch.testing.assert_close(slope_of_slope(), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert model(rows).dtype == torch.bfloat16
    assert model.double()(rows.double()).dtype == torch.double


@pytest.mark.parametrize("p", [0.1, 0.5, 0.97])
def test_each_number_is_dropped_with_its_probability_and_the_mean_stays(p: float) -> None:
    torch.manual_seed(1)
    count = 10**6 + 3  # the last draw is not used whole
    found = dropout(p)(torch.ones(count, dtype=torch.double))
    kept = found != 0
    assert abs(float(kept.double().mean()) - (1 - p)) < 5 * math.sqrt(p * (1 - p) / count) + 2**-17
    share = 1 - round(p * 65536) / 65536
    assert torch.equal(found[kept], torch.full_like(found[kept], 1 / share))
    # by place in the draw of 64 bits, too
    shares = kept[: count // 4 * 4].view(-1, 4).double().mean(0)
    assert float((shares - (1 - p)).abs().max()) < 5 * math.sqrt(4 * p * (1 - p) / count) + 2**-17


def test_neighbours_are_dropped_independently() -> None:
    torch.manual_seed(2)
    kept = (dropout(0.3)(torch.ones(10**6)) != 0).double()
    kept = (kept - kept.mean()) / kept.std()
    for lag in range(1, 9):
        assert abs(float((kept[lag:] * kept[:-lag]).mean())) < 5e-3, lag


def test_gradients_are_the_mask_and_can_be_derived_again() -> None:
    model = dropout(0.25)
    numbers = torch.randn(7, 9, dtype=torch.double, requires_grad=True)

    def seeded(given: Tensor) -> Tensor:
        torch.manual_seed(3)
        found: Tensor = model(given)
        return found

    (gradient,) = torch.autograd.grad(seeded(numbers).sum(), numbers)
    assert torch.allclose(gradient, (seeded(numbers) != 0).double() / 0.75)
    assert 0 < int((gradient == 0).sum()) < gradient.numel()
    assert torch.autograd.gradcheck(seeded, numbers)
    assert torch.autograd.gradgradcheck(lambda given: seeded(given) ** 2, numbers)


def test_a_seed_gives_the_same_mask_and_each_pass_another() -> None:
    model, ones = dropout(0.1), torch.ones(500)
    torch.manual_seed(4)
    first, second = model(ones), model(ones)
    torch.manual_seed(4)
    assert torch.equal(first, model(ones))
    assert not torch.equal(first, second)


def test_nothing_all_or_no_training_is_as_in_torch() -> None:
    numbers = torch.randn(40, 5)
    assert torch.equal(dropout(0.0)(numbers), numbers)
    assert torch.equal(dropout(1.0)(numbers), torch.zeros(40, 5))
    assert torch.equal(dropout(0.5).eval()(numbers), numbers)
    assert dropout(0.5)(torch.zeros(0, 4)).shape == (0, 4)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float16])
def test_the_type_stays_and_what_is_not_contiguous_is_read_in_place(kind: torch.dtype) -> None:
    numbers = torch.arange(1, 601).view(20, 30).to(kind).T
    found = dropout(0.5)(numbers)
    assert found.dtype == kind
    assert torch.equal(found, torch.where(found != 0, numbers * 2, 0))


class Tied(nn.Module):
    """Word vectors that are read, and read out of by themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(50, 4, padding_idx=0)
        self.positions = nn.Embedding(6, 4)

    def forward(self, ids: Tensor) -> Tensor:
        rows = torch.tanh(self.words(ids) + self.positions(torch.arange(ids.shape[1])))
        scores: Tensor = rows @ self.words.weight.T
        return scores.logsumexp(-1).square().sum() + rows.square().sum()


def models() -> tuple[Tied, Tied, list[Tensor]]:
    torch.manual_seed(5)
    plain = Tied().double()
    quick = copy.deepcopy(plain)
    quickened(quick)
    assert type(quick.words) is Embedding
    return plain, quick, [torch.randint(0, 50, (3, length)) for length in (2, 5, 6)]


def same(plain: nn.Module, quick: nn.Module) -> None:
    for one, other in zip(plain.parameters(), quick.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert other.grad.layout == torch.strided
        assert torch.allclose(one.grad, other.grad, atol=1e-12)


def test_gradients_of_several_passes_are_those_of_torch_whether_together_or_one_by_one() -> None:
    plain, quick, texts = models()
    for model in (plain, quick):
        sum(model(ids) for ids in texts).backward()
    same(plain, quick)
    for ids in texts:  # into the gradient that is there
        quick(ids).backward()
        plain(ids).backward()
    same(plain, quick)
    kept = quick(texts[0])
    one = torch.autograd.grad(kept, list(quick.parameters()), retain_graph=True)
    again = torch.autograd.grad(kept, list(quick.parameters()))
    for a, b, c in zip(one, again, torch.autograd.grad(plain(texts[0]), list(plain.parameters())), strict=True):
        assert torch.equal(a, b)
        assert torch.allclose(a, c, atol=1e-12)


def test_steps_with_weights_changed_swapped_frozen_and_copied_are_those_of_torch() -> None:
    plain, quick, texts = models()
    both = (plain, quick)
    optimizers = [torch.optim.AdamW(model.parameters(), lr=0.1) for model in both]
    for ids in texts:
        for model, optimizer in zip(both, optimizers, strict=True):
            optimizer.zero_grad()
            model(ids).backward()
            optimizer.step()
    for model in both:
        before, model.words.weight.data = model.words.weight.data, model.words.weight.data * 2
        model(texts[1]).backward()
        model.words.weight.data = before
        model(texts[1]).backward()
    same(plain, quick)
    copies = copy.deepcopy(plain), copy.deepcopy(quick)
    assert type(copies[1].words) is Embedding
    for model in copies:
        model.zero_grad()
        model(texts[2]).backward()
    same(*copies)
    same(plain, quick)  # nothing of the copy's came here
    for model in both:
        model.zero_grad()
        model.words.weight.requires_grad_(False)
        model(texts[0]).backward()
    assert quick.words.weight.grad is None
    for model in both:
        model.words.weight = nn.Parameter(model.words.weight.data)
        model(texts[0]).backward()
    same(plain, quick)


def test_a_pass_of_few_tokens_makes_no_matrix_of_the_whole_table() -> None:
    table = nn.Embedding(50_000, 8)
    quickened(table)
    made: list[tuple[int, ...]] = []

    class Seen(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            found = func(*args, **(kwargs or {}))
            if "zeros" in str(func) or "embedding_dense_backward" in str(func):
                made.append(tuple(found.shape))
            return found

    with Seen():  # type: ignore[no-untyped-call]
        torch.stack([table(torch.tensor([1, 2, i])).sum() for i in range(5)]).sum().backward()
    assert made.count((50_000, 8)) <= 1
    assert table.weight.grad is not None
    assert float(table.weight.grad.sum()) == 5 * 3 * 8


def test_tables_with_rules_of_their_own_and_what_is_not_on_a_processor_stay_as_they_are() -> None:
    special = nn.Sequential(
        nn.Embedding(9, 2, max_norm=1.0), nn.Embedding(9, 2, scale_grad_by_freq=True), nn.Embedding(9, 2, sparse=True)
    )
    elsewhere = nn.Sequential(nn.Dropout(), nn.Embedding(9, 2, device="meta"))
    for model in (special, elsewhere):
        before = [type(part) for part in model]
        quickened(model)
        assert [type(part) for part in model] == before


def test_the_trained_model_has_torchs_own_parts_and_looked_like_them_all_along(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def watched(module: nn.Module) -> Any:
        before = repr(module)
        undo = quickened(module)
        assert repr(module) == before
        seen.append({type(part) for part in module.modules()})
        return undo

    monkeypatch.setattr("similis.training.trainees.transformer.quickened", watched)
    fitted = train(pairs(24), base=tiny, batch_size=8, max_steps=2, dev=False)
    assert {Dropout, Embedding} <= seen[0]
    model: Any = fitted.encoder
    after = {type(part) for part in model.module.modules()}
    assert not {Dropout, Embedding} & after
    assert {nn.Dropout, nn.Embedding} <= after
    assert not any(part in processor._VIEWS for part in model.module.modules())
