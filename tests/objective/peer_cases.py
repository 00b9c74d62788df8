"""What the tests of the peers' names share: values and gradients, batches, and stand-ins for the peers' models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Loss = Callable[..., Tensor]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def value_and_gradients(loss: Loss, *inputs: Tensor) -> list[Tensor]:
    leaves = [x.clone().requires_grad_() for x in inputs]
    value = loss(*leaves)
    return [value.detach(), *torch.autograd.grad(value, leaves)]


def assert_same(ours: Loss, theirs: Loss, *inputs: Tensor, rtol: float = 1e-6, atol: float = 1e-8) -> None:
    """Equal values, not zero, and equal gradients at every input."""
    mine, other = value_and_gradients(ours, *inputs), value_and_gradients(theirs, *inputs)
    assert abs(float(mine[0])) > 0
    torch.testing.assert_close(mine, other, rtol=rtol, atol=atol, check_dtype=False)


def name_of(text: str) -> str:
    return text.partition("(")[0]


class GivenScores(nn.Module):
    """Stands where a cross-encoder is wanted: the pair (query, "i") has the i-th score."""

    num_labels = 1
    device = torch.device("cpu")

    def __init__(self, scores: Tensor) -> None:
        super().__init__()
        self.scores = scores.flatten()

    def preprocess(self, pairs: list[tuple[str, str]], **_: Any) -> dict[str, Tensor]:
        return {"index": torch.tensor([int(document) for _, document in pairs])}

    def forward(self, tokens: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"scores": self.scores[tokens["index"]]}


class GivenVectors(nn.Module):
    """Stands where an encoder is wanted: the features hold the embeddings under ``key``."""

    def __init__(self, key: str = "own") -> None:
        super().__init__()
        self.key = key

    def forward(self, features: dict[str, Tensor], task: str = "") -> dict[str, Tensor]:
        if "mask" in features:
            return {"token_embeddings": features[self.key], "attention_mask": features["mask"]}
        return {"sentence_embedding": features[self.key]}


def bare(kind: type[nn.Module], **attributes: Any) -> Any:
    """An instance of a peer's loss without its model: its arithmetic alone."""
    loss = kind.__new__(kind)
    nn.Module.__init__(loss)
    for name, value in attributes.items():
        setattr(loss, name, value)
    return loss
