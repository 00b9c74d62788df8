"""A generator that fills hidden places of texts with words of its own: what replaced words are told from (ELECTRA)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from similis.encoders.library.starting import transformer
from similis.encoders.loading import folder_of
from similis.errors import UserError
from similis.files import read_json
from similis.progress import note
from similis.training.pretraining.base import Companion, heads_of

#: Weight of a generator's own loss beside the task's, as in SimLM's code where the generator learns too.
OWN_WEIGHT = 0.2

#: The name of a generator that is trained beside the encoder.
JOINT = "joint"


class Generator(nn.Module, ABC):
    """Predicts hidden tokens.

    Attributes:
        learns: whether it has a loss of its own.
    """

    learns: bool

    def __init__(self, mask: int) -> None:
        super().__init__()
        self._mask = mask

    @abstractmethod
    def scores(self, ids: Tensor, mask: Tensor, hidden: Tensor) -> Tensor:
        """Logits ``[k, V]`` of the k places that are True in ``hidden [n, t]``, in reading order.

        Args:
            ids: tokens ``[n, t]``, the hidden ones masked.
            mask: 1 for tokens, 0 for padding, ``[n, t]``.
            hidden: booleans ``[n, t]``.
        """

    def refilled(
        self, ids: Tensor, mask: Tensor, hidden: Tensor, drawing: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """The texts with the hidden tokens replaced by the generator's, and its own weighted loss ``[]``.

        Args:
            ids: tokens ``[n, t]``.
            mask: 1 for tokens, 0 for padding, ``[n, t]``.
            hidden: booleans ``[n, t]``: the places that are filled; all others stay.
            drawing: on the CPU; samples from what the generator thinks likely. None: its best guess.

        Returns:
            Token ids ``[n, t]`` without gradient, and :data:`OWN_WEIGHT` times the mean cross-entropy of the true
            tokens, 0 where the generator is fixed or nothing is hidden.
        """
        scores = self.scores(ids.masked_fill(hidden, self._mask), mask, hidden)
        own = scores.sum() * 0.0
        if self.learns and len(scores):
            own = OWN_WEIGHT * cross_entropy(scores, ids[hidden])
        return ids.masked_scatter(hidden, chosen(scores.detach(), drawing)), own


class Fixed(Generator):
    """A masked language model as it is: not trained, not saved, without dropout.

    Args:
        model: of transformers, for masked language modelling.
        mask: the mask token.
    """

    learns = False

    def __init__(self, model: nn.Module, mask: int) -> None:
        super().__init__(mask)
        self._model = [model.eval().requires_grad_(False)]  # in a list: no part of what is trained and saved

    @torch.no_grad()
    def scores(self, ids: Tensor, mask: Tensor, hidden: Tensor) -> Tensor:
        found: Tensor = self._model[0](input_ids=ids, attention_mask=mask).logits
        return found[hidden].float()


class Joint(Generator):
    """One layer over the encoder's input vectors, trained beside it.

    The vectors are read without gradient, as input and as output: what the generator learns does not reach the encoder.

    Args:
        words: the encoder's input vectors.
        length: tokens of the longest text.
        mask: the mask token.
    """

    learns = True

    def __init__(self, words: nn.Embedding, length: int, mask: int) -> None:
        super().__init__(mask)
        hidden = words.embedding_dim
        self._words = [words]
        self.positions = nn.Embedding(length, hidden)
        nn.init.normal_(self.positions.weight, std=0.02)
        self.layer = nn.TransformerEncoderLayer(hidden, heads_of(hidden), hidden, batch_first=True, norm_first=True)
        self.norm = nn.LayerNorm(hidden)
        self.bias = nn.Parameter(torch.zeros(len(words.weight)))

    def scores(self, ids: Tensor, mask: Tensor, hidden: Tensor) -> Tensor:
        table = self._words[0].weight.detach()
        inputs = table[ids] + self.positions(torch.arange(ids.shape[1], device=ids.device))
        states: Tensor = self.norm(self.layer(inputs, src_key_padding_mask=mask == 0))
        return states[hidden] @ table.T + self.bias


def generator_of(companion: Companion, named: str | None, mask: int) -> Generator:
    """The generator of a task.

    Args:
        companion: of the task.
        named: the folder or hub name of a masked language model; ``"joint"``; None: the masked-word head that comes
            with the encoder's own folder, or ``"joint"`` where there is none.
        mask: the mask token.

    Raises:
        UserError: no such model, one without a masked-word head, or one of other tokens or fewer of a text than
            the encoder's.
    """
    encoder = companion.encoder
    if named is None:
        own = Path(encoder.model.transformers_model.name_or_path)
        named = str(own) if _has_head(own) else JOINT
        source = "a small one that learns too" if named == JOINT else f"the masked-word head of {own}"
        note(f"words are replaced by {source}")
    if named == JOINT:
        return Joint(companion.words, companion.longest, mask)
    folder = folder_of(named)
    made: Any = transformer(folder, "fill-mask", 0)
    if not _has_head(Path(made.auto_model.name_or_path)):
        raise UserError(f"{folder} has no masked-word head to replace words by; generator={JOINT} trains a small one")
    if made.tokenizer.get_vocab() != encoder.model.tokenizer.get_vocab():
        raise UserError(f"{folder} has other tokens than the model, so it cannot replace words for it")
    if made.max_seq_length is not None and made.max_seq_length < companion.longest:
        raise UserError(
            f"{folder} reads {made.max_seq_length} tokens of a text and the model {companion.longest}, "
            "so it cannot replace words for it"
        )
    return Fixed(made.auto_model.to(encoder.model.device), mask)


def _has_head(folder: Path) -> bool:
    """Whether the weights of a transformer's folder include a masked-word head."""
    settings = folder / "config.json"
    kinds = read_json(settings).get("architectures") or [] if settings.is_file() else []
    return any(kind.endswith("ForMaskedLM") for kind in kinds)


def chosen(scores: Tensor, drawing: torch.Generator | None) -> Tensor:
    """One token ``[k]`` of each row of logits ``[k, V]``: the best, or drawn from their softmax."""
    if drawing is None:
        return scores.argmax(-1)
    # one number a place is drawn, on the CPU, so that every device draws the same
    point = torch.rand((len(scores), 1), generator=drawing).to(scores.device)
    sums = scores.softmax(-1).cumsum(-1)
    return (sums <= point * sums[:, -1:]).sum(-1).clamp(max=scores.shape[1] - 1)
