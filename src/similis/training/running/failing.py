"""Ends of a run that are nobody's mistake in the data: told in one sentence that says how to go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from similis.errors import UserError
from similis.training.running.checkpoints import Position

#: What the back ends of several processes say when one of them is gone.
_GONE = ("closed by peer", "reset by peer", "Broken pipe", "NCCL", "gloo", "Timed out")


@contextmanager
def told(position: Callable[[], Position], kept: Callable[[], Path | None], processes: int) -> Iterator[None]:
    """Inside, memory, devices and other processes may fail.

    Args:
        position: where the run stands.
        kept: its latest checkpoint, or None.
        processes: how many share the run.

    Raises:
        UserError: what failed, at which step, and what the same command would continue from.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"the memory of the device is full at step {position().step + 1} ({_first(error)}); mini_batch_size=16 "
            f"embeds a batch in parts, with the same gradient; {_onward(kept())}"
        ) from None
    except RuntimeError as error:
        first = _first(error)
        if isinstance(error, torch.AcceleratorError) or "CUDA error" in first:
            raise UserError(f"the device failed at step {position().step + 1} ({first}): {_onward(kept())}") from None
        if processes > 1 and any(word in str(error) for word in _GONE):
            raise UserError(
                f"another of the {processes} processes ended at step {position().step + 1} ({first}): {_onward(kept())}"
            ) from None
        raise


def _first(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:120]


def _onward(kept: Path | None) -> str:
    return f"the same command continues from {kept}" if kept else "nothing was saved yet; start again"
