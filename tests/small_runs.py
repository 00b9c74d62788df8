"""Transformers small enough to train in a test, and runs that are cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from transformers import BertConfig, BertModel, BertTokenizerFast

from similis.training import Interrupted
from similis.training.running.checkpoints import Checkpoints
from similis.training.running.loop import Loop


def small_model(
    folder: Path, words: Sequence[str], *, hidden: int = 16, layers: int = 2, inner: int, limit: int, **settings: Any
) -> Path:
    """A BERT that knows ``words``, saved under ``folder`` as a sentence-transformers model that reads ``limit`` tokens.

    Args:
        folder: where it goes.
        words: of its vocabulary, beside the special tokens.
        hidden: units of a token.
        layers: of the transformer.
        inner: units between two of a layer.
        limit: tokens of a text.
        settings: others of its configuration.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]))
    torch.manual_seed(0)
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"))
    sizes = {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": 2, "intermediate_size": inner}
    BertModel(BertConfig(vocab_size=len(tokenizer), **sizes, **settings)).save_pretrained(folder / "b")
    tokenizer.save_pretrained(folder / "b")
    body = Transformer(str(folder / "b"), max_seq_length=limit)
    SentenceTransformer(modules=[body, Pooling(hidden, "mean")], device="cpu").save_pretrained(str(folder / "model"))
    return folder / "model"


@contextmanager
def interrupted_after(steps: int) -> Iterator[None]:
    """Inside, a run gets Ctrl-C after so many steps, and says so."""
    step, taken = Loop._step, 0

    def stop(self: Loop, group: Any) -> float:
        nonlocal taken
        taken += 1
        value = step(self, group)
        if taken == steps:
            raise KeyboardInterrupt
        return value

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "_step", stop)
        with pytest.raises((KeyboardInterrupt, Interrupted)):
            yield


@contextmanager
def cut_before(step: int) -> Iterator[None]:
    """Inside, a run fails where it would take the step after ``step`` of them."""
    take = Loop._step

    def cut(self: Loop, group: Any) -> float:
        if self.position.step == step:
            raise RuntimeError("cut")
        return take(self, group)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "_step", cut)
        with pytest.raises(RuntimeError, match="cut"):
            yield


@contextmanager
def killed_at_checkpoint(which: int = 1) -> Iterator[None]:
    """Inside, a run ends right after its so many-th checkpoint, with nothing done about it, as after a kill."""
    save, written = Checkpoints.save, 0

    def save_and_die(*given: Any) -> Path:
        nonlocal written
        found = save(*given)
        written += 1
        if written == which:
            raise ZeroDivisionError
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_and_die)
        with pytest.raises(ZeroDivisionError):
            yield
