"""Devices, mixed precision and several processes, by accelerate: one part of a batch a process, all keys for each."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from similis.similarity.padding import widened
from similis.training.recipe import Recipe
from similis.training.rows.examples import Integers
from similis.training.trainees.base import Trainee


def first_process() -> bool:
    """Whether this process is the only one, or the one of several that writes files."""
    return os.environ.get("RANK", "0") == "0"


def wait_for_all() -> None:
    """Let every process come to this point before any goes on."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()


class Processes:
    """Where the computation runs.

    Every process draws the same batch, embeds its own part of it, and gets the other parts' embeddings without
    their graphs; each computes the whole loss. The gradients of the parts, added up, are those of one process.
    """

    def __init__(self, recipe: Recipe) -> None:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState

        precision = "bf16" if recipe.bf16 else "fp16" if recipe.fp16 else "no"
        if AcceleratorState._shared_state.get("_mixed_precision", precision) != precision:
            # accelerate keeps one precision a process; a second run may want another
            AcceleratorState._reset_state()
        self._accelerator = Accelerator(mixed_precision=precision)
        self.count: int = self._accelerator.num_processes
        self.device: torch.device = self._accelerator.device

    def prepared(self, optimizer: Optimizer) -> Optimizer:
        """The optimiser with the loss scaling that float16 needs; itself for any other precision."""
        if self._accelerator.mixed_precision != "fp16":
            return optimizer
        return self._accelerator.prepare_optimizer(optimizer)  # type: ignore[no-any-return]

    def autocast(self) -> AbstractContextManager[Any]:
        return self._accelerator.autocast()  # type: ignore[no-any-return]

    def backward(self, loss: Tensor) -> None:
        self._accelerator.backward(loss)

    def unscale(self, optimizer: Optimizer) -> None:
        self._accelerator.unscale_gradients(optimizer)

    def own_part(self, codes: Integers, trainee: Trainee) -> Integers:
        """This process's contiguous part of ``codes``."""
        if self.count == 1 or not trainee.shards:
            return codes
        own: Integers = np.array_split(codes, self.count)[self._accelerator.process_index]
        return own

    def embed(self, trainee: Trainee, sides: Sequence[tuple[Integers, bool]]) -> list[Tensor]:
        """Embeddings of all texts of each side; those of this process's part carry the graph."""
        own = trainee.embed([(self.own_part(codes, trainee), queries) for codes, queries in sides])
        return [self.gathered(part, codes, trainee) for part, (codes, _) in zip(own, sides, strict=True)]

    def gathered(self, own: Tensor, codes: Integers, trainee: Trainee) -> Tensor:
        """All parts ``[n, d]`` from the own part ``[n_i, d]``, in the order of ``codes``."""
        if self.count == 1 or not trainee.shards:
            return own
        sizes = [len(part) for part in np.array_split(codes, self.count)]
        if own.dim() > 2:
            most = torch.tensor(own.shape[1], device=own.device)
            torch.distributed.all_reduce(most, torch.distributed.ReduceOp.MAX)
            own = widened(own, int(most))
        padded = own.detach().new_zeros(max(sizes), *own.shape[1:])
        padded[: len(own)] = own.detach()
        parts = [torch.empty_like(padded) for _ in sizes]
        torch.distributed.all_gather(parts, padded)
        parts = [part[:size] for part, size in zip(parts, sizes, strict=True)]
        parts[self._accelerator.process_index] = own
        return torch.cat(parts)

    def sum_gradients(self, trainee: Trainee, encoders: Iterable[nn.Module]) -> None:
        """Add up the processes' gradients of what embeds, each of its own part."""
        if self.count == 1 or not trainee.shards:
            return
        for parameter in (parameter for module in encoders for parameter in module.parameters()):
            if parameter.requires_grad:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                torch.distributed.all_reduce(parameter.grad)
