"""Steps that keep a new model's vectors comparable with an old model's: new queries search an old index."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from similis.errors import UserError
from similis.objective import Objective
from similis.registry import Source, register
from similis.training.rows.examples import Batch, Integers, TextTable
from similis.training.stepping.base import Embedded, Run, Stepping
from similis.training.teachers.teaching import Teachers

_FINGERPRINT = "fingerprint"


class OldVectors:
    """An old model's vectors of the texts of a run.

    Args:
        model: a model folder, name or encoder that gives each text one vector.
        run: whose texts are embedded.

    Raises:
        UserError: the model gives no single vector, or one of another dimension than the new model's.
    """

    def __init__(self, model: Any, run: Run, wanted: str) -> None:
        teachers = Teachers.of(model)
        if len(teachers.each) != 1 or not teachers.each[0].embeds:
            raise UserError(f"{wanted} needs one model that gives each text one vector, and {teachers} is none")
        table = run.parts[0].examples.table
        if not isinstance(table, TextTable):
            raise UserError(f"{wanted} reads texts with an old model, and these rows are none")
        self.teacher = teachers.each[0]
        dimension, new = self.teacher.model.dimension, run.trainee.dimension
        if dimension != new:
            raise UserError(
                f"{wanted}: the old model's vectors have {dimension} coordinates and the new model's {new}; set "
                "dimension to the old one's, or bring the new model there by similis.training.project"
            )
        codes = np.unique(np.concatenate([part.examples.text_codes() for part in run.parts]))
        self._place = np.full(len(table), -1, np.int64)
        self._place[codes] = np.arange(len(codes))
        texts = [table.texts[code] for code in codes]
        self._sides = {True: self.teacher.vectors(texts, True), False: self.teacher.vectors(texts, False)}

    def __call__(self, codes: Integers, queries: bool) -> Tensor:
        """Vectors ``[..., d]`` of text codes; of -1, which stands for no text, any."""
        return torch.from_numpy(self._sides[queries][self._place[codes.clip(0)]])

    def keys(self, batch: Batch) -> Tensor:
        """Vectors of a batch's keys, or of its queries where it has none: ``[m, d]``, or ``[n, L, d]`` of lists."""
        return self(batch.queries if batch.keys is None else batch.keys, False)

    def state(self) -> dict[str, Tensor]:
        return {_FINGERPRINT: torch.tensor(list(self.teacher.fingerprint.encode()), dtype=torch.uint8)}

    def check(self, state: Mapping[str, Tensor]) -> None:
        """Refuse to go on with another old model under the same name."""
        before = bytes(state[_FINGERPRINT].tolist()).decode()
        if before != self.teacher.fingerprint:
            raise UserError(
                f"{self.teacher.name} is another model than the one this run began with; give that one to continue "
                "it, or resume=False (--no-resume) to start again"
            )


@register(
    "stepping",
    "compatible_with",
    source=Source("Towards Backward-Compatible Representation Learning", "Shen, Xiong, Xia and Soatto", 2020),
    family="continual",
)
class CompatibleWith(Stepping):
    """New queries are to find old vectors: the objective is taken a second time, of new queries and old keys.

    Definition: L(new queries, new keys) + weight · L(new queries, old keys). The old model's vectors of the keys take
    the place of the old classifier in the paper's influence loss; the authors' code has this form too, a triplet or
    contrastive loss between new and old features. An index made by the old model stays valid: new queries may search
    it, and documents that are new may be added by the new model. The regularizers of the objective count once.

    Args:
        old: the old model's folder or name.
        weight: of the second loss.
    """

    def __init__(self, old: str, weight: float = 1.0) -> None:
        if weight <= 0:
            raise UserError(f"compatible_with needs a weight above 0, not {weight}")
        self.old, self.weight = old, weight

    def begin(self, run: Run) -> None:
        self.vectors = OldVectors(self.old, run, "compatible_with")
        for part in run.parts:
            if part.objective.keys is not None:
                raise UserError(
                    f"compatible_with puts an old model's vectors in the keys' place, and the objective "
                    f"{str(part.objective)!r} has keys of its own: leave keys out"
                )

    def loss(self, embedded: Embedded, loss: Tensor) -> Tensor:
        if embedded.batch.vectors is not None:
            return loss  # the keys stay as they were already
        keys = self.vectors.keys(embedded.batch).to(embedded.queries)
        crossed: Tensor = plain_of(embedded.objective)(embedded.queries, keys, embedded.relation)
        return loss + self.weight * crossed

    def state(self) -> dict[str, Tensor]:
        return self.vectors.state()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.vectors.check(state)


@register(
    "stepping",
    "keep_topology",
    source=Source(
        "CTP: Towards Vision-Language Continual Pretraining via Compatible Momentum Contrast and Topology Preservation",
        "Zhu, Wei, Liang, Zhang and Zhao",
        2023,
    ),
    family="continual",
)
class KeepTopology(Stepping):
    """Texts of a batch stay as near to each other as an old model has them.

    Definition: loss + weight · (D + D') / 2, D = mean_i KL(softmax_j(s_old(q_i, k_j) / τ) ‖ softmax_j(s_new(q_i, k_j)
    / τ)) over the batch and D' the same of its keys over the queries: the paper's preservation of topology across the
    two sides, checked in public code that goes on from the authors'. What is kept is who is near whom, not where: the
    old index must be made anew.

    Args:
        old: the old model's folder or name.
        weight: of the divergence.
        temperature: τ.
    """

    def __init__(self, old: str, weight: float = 1.0, temperature: float = 0.05) -> None:
        if weight <= 0 or temperature <= 0:
            raise UserError(f"keep_topology needs a weight and temperature above 0, not {weight} and {temperature}")
        self.old, self.weight, self.temperature = old, weight, temperature

    def begin(self, run: Run) -> None:
        self.vectors = OldVectors(self.old, run, "keep_topology")

    def loss(self, embedded: Embedded, loss: Tensor) -> Tensor:
        batch, similarity = embedded.batch, embedded.objective.similarity
        if batch.vectors is not None or (batch.keys is not None and batch.keys.ndim == 2):
            return loss
        keys = embedded.queries if embedded.keys is None else embedded.keys
        new = similarity(embedded.queries, keys) / self.temperature
        with torch.no_grad():
            queries = self.vectors(batch.queries, True).to(embedded.queries)
            old = similarity(queries, self.vectors.keys(batch).to(queries)) / self.temperature
        if embedded.keys is None:
            own = torch.eye(len(new), dtype=torch.bool, device=new.device)
            new, old = new.masked_fill(own, -1e4), old.masked_fill(own, -1e4)
        return loss + self.weight * (_divergence(new, old) + _divergence(new.T, old.T)) / 2

    def state(self) -> dict[str, Tensor]:
        return self.vectors.state()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.vectors.check(state)


def plain_of(objective: Objective) -> Objective:
    """The objective without its regularizers; parameters are shared."""
    if not len(objective.regularizers):
        return objective
    other = copy.copy(objective)
    other._modules = dict(objective._modules)
    other.regularizers = nn.ModuleList()
    return other


def _divergence(new: Tensor, old: Tensor) -> Tensor:
    """Mean KL divergence of the rows' softmaxes, scores ``[n, m]``, of the new from the old."""
    return nn.functional.kl_div(new.log_softmax(-1), old.log_softmax(-1), log_target=True, reduction="batchmean")
