"""AR2: a retriever and a ranker in turn, each learning from what the other makes of the retriever's hard negatives."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from similis.errors import UserError
from similis.files import read_json, write_json
from similis.progress import note
from similis.similarity import build
from similis.training.negatives import Search, negatives
from similis.training.rows.columns import dataset_of, examples_of
from similis.training.rows.examples import Examples, Integers, TextTable

Rows = list[tuple[str, ...]]


@dataclass
class Adversaries:
    """What the rounds gave.

    Attributes:
        encoder: the retriever of the last round.
        scorer: the ranker of the last round.
        history: a record for each round: dev values of both (None without dev), and ``above``, the share of the
            round's negatives that the retriever scored above their positive before it.
    """

    encoder: Any
    scorer: Any
    history: list[dict[str, float | None]] = field(default_factory=list)


def adversarial(
    retriever: str | Path,
    ranker: str | Path,
    pairs: Sequence[tuple[str, str]],
    *,
    output: str | Path,
    corpus: Iterable[str] = (),
    rounds: int = 3,
    count: int = 7,
    depth: int = 100,
    share: float = 0.5,
    temperature: float = 0.05,
    dev: Any = None,
    seed: int = 0,
    ranker_settings: dict[str, Any] | None = None,
    **settings: Any,
) -> Adversaries:
    """Train a retriever and a cross-encoder against each other, and with each other.

    A round: negatives are drawn from the documents that the present retriever ranks highest for each query; the ranker
    learns to tell the positive from them; the retriever then learns by
    :func:`~similis.criteria.distillation.adversarial.adversarial_ranker` what the ranker makes of the same lists. The
    next round searches with the new retriever. The order of both and their losses were checked against the authors'
    code; there a round is a number of steps (40 each), here as many as the settings say. Both models should be
    trained ones. A call that was stopped goes on with the same arguments, between rounds and within them.
    Source: "Adversarial Retriever-Ranker for dense text retrieval", Zhang, Gong, Shen, Lv, Duan and Chen, 2021.

    Args:
        retriever: folder of a dense model, static or transformer.
        ranker: folder of a cross-encoder, or ``cross:PATH`` for a new one from a transformer.
        pairs: (query, relevant document).
        output: a folder for every round's models, ``round-N/retriever`` and ``round-N/ranker``.
        corpus: further documents that negatives are drawn from.
        rounds: how often both are trained.
        count: negatives of a query.
        depth: best documents that negatives are drawn from.
        share: λ of the adversarial part of the retriever's loss.
        temperature: of the retriever's scores.
        dev: (query, document) pairs by which checkpoints are chosen; None: the last ones are taken.
        seed: of the negatives and both trainings.
        ranker_settings: settings of the ranker's training where they differ.
        settings: of both trainings, as in :func:`similis.training.fit`: ``epochs``, ``batch_size``, ``lr``.

    Raises:
        UserError: fewer than two pairs, no round, models of other families, or an ``output`` of other arguments.
    """
    if len(pairs) < 2 or rounds < 1:
        raise UserError(f"adversarial needs two pairs and a round; it got {len(pairs)} and {rounds}")
    further = {"seed": seed, "dev": False if dev is None else dev, "interpolate": False}
    run = _Run(Path(output), list(pairs), list(corpus), f"hard(count={count}, depth={depth}, below=0)", seed)
    run.loss = f"adversarial_ranker(share={share}, temperature={temperature})"
    run.retriever_settings = {**settings, **further}
    run.ranker_settings = {"batch_negatives": 0, **settings, **(ranker_settings or {}), **further}
    run.begin(str(retriever), str(ranker))
    for number in range(1, rounds + 1):
        run.round(number)
    return run.found()


class _Run:
    retriever_settings: dict[str, Any]
    ranker_settings: dict[str, Any]
    loss: str

    def __init__(self, output: Path, pairs: list[tuple[str, str]], corpus: list[str], source: str, seed: int) -> None:
        self.output, self.pairs, self.source, self.seed = output, pairs, source, seed
        table = TextTable()
        self.examples = examples_of(dataset_of(pairs), table)
        codes = table.add(text for text in corpus if text.strip())
        assert self.examples.keys is not None
        folded = table.folded
        every = np.concatenate([self.examples.keys, codes])
        self.pool: Integers = every[np.sort(np.unique(folded[every], return_index=True)[1])]
        self.history: list[dict[str, float | None]] = []

    def begin(self, retriever: str, ranker: str) -> None:
        """Check both models and that the output is of this run."""
        from similis.encoders import load

        self.retriever, self.ranker = retriever, ranker
        encoder, scorer = load(retriever), load(ranker.removeprefix("cross:"))
        if getattr(encoder, "family", None) not in ("dense", "static"):
            raise UserError(f"{retriever} gives no single vector a text; the retriever must be a dense model")
        if not ranker.startswith("cross:") and getattr(scorer, "family", None) != "cross":
            raise UserError(f"{ranker} is no cross-encoder; cross:{ranker} makes a new one of a transformer")
        told = {
            "models": [encoder.fingerprint, scorer.fingerprint],
            "texts": _digest(self.examples.table.texts, self.examples, self.pool),
            "loss": self.loss,
            "source": self.source,
            "settings": json.loads(json.dumps([self.retriever_settings, self.ranker_settings], default=_told)),
        }
        file = self.output / "run.json"
        if file.is_file() and read_json(file) != told:
            raise UserError(f"{self.output} holds rounds of other arguments; choose another output or remove it")
        self.output.mkdir(parents=True, exist_ok=True)
        write_json(file, told)

    def round(self, number: int) -> None:
        """Train the ranker, then the retriever; what is there already is taken as it is."""
        folder = self.output / f"round-{number}"
        rows, above = self._rows(number)
        ranker = self._stage(folder, "ranker", rows, self.ranker, {"objective": None, **self.ranker_settings})
        self.ranker = str(folder / "ranker")
        taught = {"objective": self.loss, **self.retriever_settings, "teacher": self.ranker}
        retriever = self._stage(folder, "retriever", rows, self.retriever, taught)
        self.retriever = str(folder / "retriever")
        self.history.append({"retriever": retriever, "ranker": ranker, "above": above})
        note(f"round {number}: {above:.1%} of the negatives scored above their positive; dev {retriever}, {ranker}")

    def found(self) -> Adversaries:
        from similis.encoders import load

        return Adversaries(load(self.retriever), load(self.ranker), self.history)

    def _stage(self, folder: Path, name: str, rows: Rows, base: str, settings: dict[str, Any]) -> float | None:
        """Train one model, or take it where an earlier call finished it; returns its dev value."""
        from similis.training.fitting import train

        done = folder / f"{name}.json"
        if done.is_file():
            value: float | None = read_json(done)["dev"]
            return value
        value = train(_columns(rows), base=base, output=folder / name, **settings).outcome.position.best
        write_json(done, {"dev": value})
        return value

    def _rows(self, number: int) -> tuple[Rows, float]:
        """(query, positive, negatives ...) of the round, and the share of negatives above their positive."""
        from similis.encoders import load

        encoder, texts = load(self.retriever), self.examples.table.texts

        def embed(codes: Integers, queries: bool) -> Tensor:
            encode = encoder.encode_query if queries else encoder.encode_document
            return torch.from_numpy(encode([texts[code] for code in codes]))

        similarity = build(encoder.similarity_name)
        search = Search(self.examples, self.pool, embed, similarity, np.random.default_rng([self.seed, number]))
        found = negatives(self.source)(search)
        if (found < 0).all():
            raise UserError("the retriever finds no document that is not relevant: give more pairs, or a corpus")
        rows: Rows = []
        for (query, positive), codes in zip(self.pairs, found.tolist(), strict=True):
            rows.append((query, positive, *(texts[code] for code in codes if code >= 0)))
        return rows, _above(search, found)


def _above(search: Search, found: Integers) -> float:
    """Share of the negatives that score above their row's positive."""
    examples = search.examples
    assert examples.keys is not None
    row, column = np.nonzero(found >= 0)
    queries = search.embed(examples.queries, True)
    own = search.similarity.paired(queries, search.embed(examples.keys, False))
    other = search.similarity.paired(queries[torch.from_numpy(row)], search.embed(found[row, column], False))
    return float((other > own[torch.from_numpy(row)]).float().mean())


def _columns(rows: Rows) -> dict[str, list[Any]]:
    """Rows that have negatives, as columns."""
    kept = [row for row in rows if len(row) > 2]
    return {
        "anchor": [row[0] for row in kept],
        "positive": [row[1] for row in kept],
        "negatives": [list(row[2:]) for row in kept],
    }


def _digest(texts: Sequence[str], examples: Examples, pool: Integers) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode("utf-8", "surrogatepass") + b"\xff")
    assert examples.keys is not None
    for codes in (examples.queries, examples.keys, pool):
        digest.update(codes.tobytes() + b"\xff")
    return digest.hexdigest()[:32]


def _told(value: Any) -> str:
    return str(value)
