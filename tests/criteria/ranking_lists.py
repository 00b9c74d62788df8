"""Lists of scores and grades for the ranking tests, and a cross-encoder whose scores are given numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from similis.relation import Rows

SHAPES = [(2, 4), (5, 7), (3, 16)]


def lists(rows: int, keys: int, levels: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Scores and grades ``[rows, keys]``; every row has at least two grades."""
    generator = torch.Generator().manual_seed(seed + 97 * rows + keys)
    scores = torch.randn(rows, keys, generator=generator, dtype=torch.float64)
    grade = torch.randint(0, levels, (rows, keys), generator=generator).double()
    grade[:, 0], grade[:, 1] = levels - 1, 0
    return scores, grade


def distinct(rows: int, keys: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Scores and grades ``[rows, keys]``, the grades distinct and falling."""
    scores, _ = lists(rows, keys, seed=seed)
    return scores, torch.arange(keys, 0, -1).double().expand(rows, keys).contiguous()


def rows_of(grade: Tensor, known: Tensor | None = None) -> Rows:
    return Rows(given_grade=grade, left_out=None if known is None else ~known)


class GivenScores(nn.Module):
    """Stands where sentence-transformers' losses want a cross-encoder: document "i" has the i-th score."""

    num_labels = 1
    device = torch.device("cpu")

    def __init__(self, scores: Tensor) -> None:
        super().__init__()
        self.scores = scores.flatten()

    def preprocess(self, pairs: list[tuple[str, str]], **_: Any) -> dict[str, Tensor]:
        return {"index": torch.tensor([int(document) for _, document in pairs])}

    def forward(self, tokens: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"scores": self.scores[tokens["index"]]}


def peer_value(make: Callable[[Any], Any], scores: Tensor, grade: Tensor) -> tuple[Tensor, Tensor]:
    """Value and gradient ``[rows, keys]`` of a listwise loss of sentence-transformers, in float32."""
    leaf = scores.float().requires_grad_()
    rows, keys = scores.shape
    documents = [[str(i * keys + j) for j in range(keys)] for i in range(rows)]
    loss = make(GivenScores(leaf))([[f"q{i}" for i in range(rows)], documents], list(grade.float()))
    loss.backward()
    assert leaf.grad is not None
    return loss.detach(), leaf.grad


def assert_equal_to_peer(
    ours: Callable[[Tensor, Rows], Tensor],
    make: Callable[[Any], Any],
    scores: Tensor,
    grade: Tensor,
    factor: float = 1.0,
) -> None:
    """Mean over rows of ours times ``factor`` has the peer's value and gradient."""
    value, gradient = peer_value(make, scores, grade)
    leaf = scores.clone().requires_grad_()
    mine = ours(leaf, rows_of(grade)).mean() * factor
    mine.backward()
    torch.testing.assert_close(mine.detach().float(), value, rtol=2e-5, atol=1e-6)
    torch.testing.assert_close(leaf.grad.float(), gradient, rtol=2e-4, atol=1e-6)  # type: ignore[union-attr]


def assert_padding_is_ignored(ours: Callable[[Tensor, Rows], Tensor], scores: Tensor, grade: Tensor) -> None:
    """Keys left out, wherever they stand and whatever they score, change nothing and have no gradient."""
    generator = torch.Generator().manual_seed(1)
    n, m = scores.shape
    junk = 50 * torch.randn(n, 3, generator=generator, dtype=scores.dtype)
    order = torch.randperm(m + 3, generator=generator)
    padded = torch.cat([scores, junk], -1)[:, order].requires_grad_()
    known = torch.cat([torch.ones(n, m), torch.zeros(n, 3)], -1).bool()[:, order]
    wide = torch.cat([grade, 9 * torch.ones(n, 3)], -1)[:, order]
    value = ours(padded, rows_of(wide, known))
    torch.testing.assert_close(value.detach(), ours(scores, rows_of(grade)))
    value.sum().backward()
    assert padded.grad is not None
    assert float(padded.grad.masked_select(~known).abs().sum()) == 0.0
