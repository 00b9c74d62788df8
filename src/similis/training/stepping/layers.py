"""Transformers' layers trained at rates of their own, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from similis.errors import UserError
from similis.progress import note
from similis.registry import Source, register
from similis.training.stepping.base import Run, Stepping, inner_model, layers_of
from similis.training.stepping.fisher import squared_gradients


@register(
    "stepping",
    "layer_decay",
    source=Source("Universal Language Model Fine-tuning for Text Classification", "Howard and Ruder", 2018),
    family="layers",
)
class LayerDecay(Stepping):
    """Lower layers learn slower: of L layers, layer i (from 0) learns at rate^(L − 1 − i), the embeddings at rate^L.

    What comes after the last layer learns at the full rate, as the last layer does. The paper's discriminative
    fine-tuning divides by 2.6 from layer to layer, a ``rate`` of 0.38; for transformers 0.8 to 0.95 is usual.

    Args:
        rate: of a layer, as a share of the rate of the layer above it.
    """

    def __init__(self, rate: float = 0.9) -> None:
        if not 0 < rate <= 1:
            raise UserError(f"rate of layer_decay must lie above 0 and at most at 1, not {rate}")
        self.rate = rate

    def begin(self, run: Run) -> None:
        depth = depths(run.trainee.module, "layer_decay")
        for optimizer in run.optimizers:
            groups: list[dict[str, Any]] = []
            for group in optimizer.param_groups:
                by_depth: dict[int, list[Tensor]] = {}
                for parameter in group["params"]:
                    by_depth.setdefault(depth.get(id(parameter), 0), []).append(parameter)
                for down, own in by_depth.items():
                    groups.append({**group, "params": own, "lr": group["lr"] * self.rate**down})
            optimizer.param_groups[:] = groups


@register(
    "stepping",
    "fisher_layers",
    source=Source("On Surgical Fine-tuning for Language Encoders", "Lodha, Belapurkar, Chalkapurkar et al.", 2023),
    family="layers",
)
class FisherLayers(Stepping):
    """Only the transformer's layers of greatest Fisher information are trained, and what comes after the last layer.

    Before the first step, the squared gradients of some batches are summed over each layer; a batch stands for an
    example, as the loss of one row needs the others. Embeddings of tokens stay as they are. The score was checked in
    the abstract and quotations; the authors' code was not at hand.

    Args:
        count: layers that are trained.
        batches: of the first epoch that the information is measured on.
    """

    def __init__(self, count: int = 2, batches: int = 8) -> None:
        if count < 1 or batches < 1:
            raise UserError(f"fisher_layers needs count and batches of at least 1, not {count} and {batches}")
        self.count, self.batches = count, batches

    def begin(self, run: Run) -> None:
        self.run = run
        self._down = depths(run.trainee.module, "fisher_layers")
        self.layers = max(self._down.values())
        if self.count > self.layers:
            raise UserError(f"fisher_layers is to train {self.count} layers, and the model has {self.layers}")
        self._kept = torch.zeros(0, dtype=torch.long)

    def start(self) -> None:
        parameters = self.run.named_parameters()
        scores = torch.zeros(self.layers + 1)
        for name, square in squared_gradients(self.run, self.batches).items():
            down = self._down.get(id(parameters[name]))
            if down is not None:
                scores[down] += float(square.sum())
        self._train(scores[:-1].topk(self.count).indices.sort().values)

    def _train(self, kept: Tensor) -> None:
        self._kept = kept
        for parameter in self.run.trainee.module.parameters():
            down = self._down.get(id(parameter))
            if down is not None and down not in kept:
                parameter.requires_grad_(False)
        numbers = ", ".join(str(self.layers - down) for down in reversed(kept.tolist()))
        note(f"trained of {self.layers} layers: {numbers} (1 is the lowest)")

    def state(self) -> dict[str, Tensor]:
        return {"kept": self._kept}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self._train(state["kept"].cpu())


def depths(module: nn.Module, name: str) -> dict[int, int]:
    """By the id of a parameter, how many layers its own is below the last one; as many as layers for the embeddings.

    What comes after the layers is not among them.

    Raises:
        UserError: there is no transformer; names the way that wants one.
    """
    layers = layers_of(module, name)
    inner = inner_model(module)
    assert inner is not None  # it has layers
    own = {id(p): len(layers) - 1 - i for i, layer in enumerate(layers) for p in layer.parameters()}
    for parameter in inner.parameters():
        if id(parameter) in own:
            break
        own[id(parameter)] = len(layers)
    return own
