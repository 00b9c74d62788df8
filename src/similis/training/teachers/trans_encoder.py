"""Trans-Encoder: a bi-encoder and a cross-encoder of the same weights teach each other from pairs without labels."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from similis.errors import UserError
from similis.progress import note
from similis.training.fitted import Fitted

Floats = NDArray[np.float32]
Rows = list[tuple[str, str, float]]


@dataclass
class Mutual:
    """What the cycles gave.

    Attributes:
        encoder: the bi-encoder of the best cycle by dev, the last one where there is no dev.
        scorer: the cross-encoder, likewise.
        history: a record for each cycle: dev values of all bi-encoders and all cross-encoders (None without dev).
    """

    encoder: Any
    scorer: Any
    history: list[dict[str, list[float | None]]] = field(default_factory=list)


def mutual(
    models: str | Path | Sequence[str | Path],
    pairs: Sequence[tuple[str, str]],
    *,
    cycles: int = 3,
    output: str | Path | None = None,
    dev: Sequence[tuple[str, str, float]] | None = None,
    cross_epochs: float = 1,
    epochs: float = 10,
    **settings: Any,
) -> Mutual:
    """Alternate between both forms of a transformer: each form is trained on what the other says of the pairs.

    A cycle: the bi-encoders' mean cosine (0 where below) labels the pairs, in both orders; a cross-encoder that begins
    with each bi-encoder's weights learns the labels by binary cross-entropy; the cross-encoders' mean probability
    labels the pairs again; and bi-encoders that go on from the cross-encoders' weights learn them by the squared error
    of their cosine. One model is the paper's self-distillation, several its mutual distillation. Losses, the order of
    steps, the passing on of weights and the epochs were checked against the authors' code for self-distillation.
    Source: "Trans-Encoder: Unsupervised sentence-pair modelling through self- and mutual-distillations", Liu, Jiao,
    Massiah, Yilmaz and Havrylov, 2022.

    Args:
        models: folder of a dense transformer model, or several.
        pairs: (text, text), without labels.
        cycles: how often both forms are trained.
        output: a folder for every cycle's models; None: only the best are kept, in memory.
        dev: scored pairs by which checkpoints and cycles are chosen; None: the last ones are taken.
        cross_epochs: of each cross-encoder.
        epochs: of each bi-encoder.
        settings: of both, as in :func:`similis.training.fit`: ``batch_size``, ``lr``, ``max_steps``, ``seed``.

    Raises:
        UserError: fewer than two pairs, no cycle, or a model that is no dense transformer.
    """
    folders = [Path(model) for model in ([models] if isinstance(models, str | Path) else models)]
    if len(pairs) < 2 or cycles < 1 or not folders:
        raise UserError(f"mutual needs a model, two pairs and a cycle; it got {len(folders)}, {len(pairs)}, {cycles}")
    given = {**settings, "dev": False if dev is None else list(dev), "interpolate": False}
    with tempfile.TemporaryDirectory() as scratch:
        run = _Run(folders, list(pairs), Path(output) if output is not None else Path(scratch), given)
        for cycle in range(1, cycles + 1):
            run.cycle(cycle, cross_epochs, epochs)
        return run.best()


class _Run:
    def __init__(self, folders: list[Path], pairs: list[tuple[str, str]], output: Path, given: dict[str, Any]) -> None:
        from similis.encoders import load
        from similis.encoders.library.dense import SentenceTransformerEncoder

        self.folders, self.pairs, self.output, self.given = folders, pairs, output, given
        self.encoders = [load(folder) for folder in folders]
        for folder, encoder in zip(folders, self.encoders, strict=True):
            if not isinstance(encoder, SentenceTransformerEncoder):
                raise UserError(f"{folder} is no dense transformer; both forms share one transformer's weights")
        self.kept: dict[str, tuple[float, Any]] = {}
        self.history: list[dict[str, list[float | None]]] = []

    def cycle(self, number: int, cross_epochs: float, epochs: float) -> None:
        """Train every model once in each form."""
        from similis.encoders import load
        from similis.indexes.pairs import pair_scores

        first, second = [a for a, _ in self.pairs], [b for _, b in self.pairs]
        said = np.mean([pair_scores(encoder, first, second) for encoder in self.encoders], axis=0)
        rows = _rows(self.pairs, said)
        both = rows + [(b, a, label) for a, b, label in rows]
        objective = "binary_cross_entropy"
        crosses = [
            self._fit(f"cycle-{number}/cross-{place}", both, f"cross:{folder}", objective, cross_epochs)
            for place, folder in enumerate(self.folders)
        ]
        said = np.mean([cross.encoder.score(self.pairs) for cross in crosses], axis=0)  # type: ignore[attr-defined]
        rows, bis = _rows(self.pairs, said), []
        for place, cross in enumerate(crosses):
            start = self.output / f"cycle-{number}" / f"start-{place}"
            fresh = load(self.folders[place])
            _carry(cross.encoder, fresh)
            fresh.save(start)
            bis.append(self._fit(f"cycle-{number}/bi-{place}", rows, str(start), "mse", epochs))
        self.encoders = [fitted.encoder for fitted in bis]
        self.folders = [self.output / f"cycle-{number}" / f"bi-{place}" for place in range(len(bis))]
        self._keep("cross", crosses)
        self._keep("bi", bis)
        self.history.append({"bi": [_dev(each) for each in bis], "cross": [_dev(each) for each in crosses]})
        note(f"cycle {number}: dev of bi-encoders {self.history[-1]['bi']}, cross-encoders {self.history[-1]['cross']}")

    def best(self) -> Mutual:
        return Mutual(self.kept["bi"][1], self.kept["cross"][1], self.history)

    def _fit(self, name: str, rows: Rows, base: str, objective: str, epochs: float) -> Fitted:
        from similis.training.fitting import train

        given = {"epochs": epochs, **self.given}
        return train(rows, base=base, objective=objective, output=self.output / name, **given)

    def _keep(self, form: str, fitted: list[Fitted]) -> None:
        """The best by dev over all cycles; a later one where there is no dev."""
        for each in fitted:
            value = _dev(each)
            if form not in self.kept or value is None or value > self.kept[form][0]:
                self.kept[form] = (value or 0.0, each.encoder)


def _rows(pairs: list[tuple[str, str]], said: Floats) -> Rows:
    return [(a, b, float(label)) for (a, b), label in zip(pairs, np.clip(said, 0, 1), strict=True)]


def _dev(fitted: Fitted) -> float | None:
    return fitted.outcome.position.best


def _carry(scorer: Any, encoder: Any) -> None:
    """Give a bi-encoder the weights of a cross-encoder's transformer."""
    body = scorer.model.transformers_model.base_model.state_dict()
    own = encoder.model.transformers_model
    lost = set(own.state_dict()) - set(body)
    if lost - {name for name in lost if name.startswith("pooler.")}:
        raise UserError(f"the cross-encoder's transformer lacks {sorted(lost)[0]}, which the bi-encoder has")
    own.load_state_dict(body, strict=False)
