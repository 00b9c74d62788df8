"""The spine: static training against sentence-transformers' own trainer, and the demo as a user runs it.

    python bench/spine.py --json

Data: the docstrings of this Python, split by module; queries are summaries, documents are bodies. Each contender
gets the same training pairs in memory and the same tokenizer, and is timed from there to the trained model,
tokenising included; two threads; seeds in turn. nDCG@10 is that of held-out queries among all bodies.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "2")

from measure import Line, arguments, bounded, compared, show
from objectives import run_child
from spine_demo import demo

DIMENSION, BATCH, EPOCHS = 256, 512, 5
#: The peer's recipe for static models: its learning rate is ten times the best for transformers and more.
PEER_RATE = 0.2

Pairs = list[tuple[str, str]]


@dataclass(frozen=True)
class Docstrings:
    """Pairs to train on, pairs to judge by, and a tokenizer file of the training texts."""

    train: Pairs
    test: Pairs
    tokenizer: Path


def docstrings(folder: Path, quick: bool) -> Docstrings:
    from similis.data import harvest
    from similis.encoders.static.tokenizers import train_tokenizer

    items = harvest.harvest_docstrings(3000 if quick else None, seed=0)
    train, _, test = harvest.split_by_module(items, seed=0)
    pairs = [(item.summary, item.body) for item in train]
    train_tokenizer(text for pair in pairs for text in pair).save(str(folder / "tokenizer.json"))
    return Docstrings(pairs, [(item.summary, item.body) for item in test], folder / "tokenizer.json")


def ours(data: Docstrings, seed: int) -> Callable[[list[str]], Any]:
    from similis.training import fit

    encoder = fit(
        data.train,
        tokenizer=str(data.tokenizer),
        dimension=DIMENSION,
        batch_size=BATCH,
        epochs=EPOCHS,
        seed=seed,
        dev=False,
    )
    return encoder.encode


def theirs(data: Docstrings, seed: int) -> Callable[[list[str]], Any]:
    import torch
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer

    torch.manual_seed(seed)
    static = StaticEmbedding(Tokenizer.from_file(str(data.tokenizer)), embedding_dim=DIMENSION)
    model = SentenceTransformer(modules=[static], device="cpu")
    rows = Dataset.from_dict({"anchor": [q for q, _ in data.train], "positive": [d for _, d in data.train]})
    with tempfile.TemporaryDirectory() as folder:
        settings = SentenceTransformerTrainingArguments(
            output_dir=folder,
            num_train_epochs=EPOCHS,
            per_device_train_batch_size=BATCH,
            learning_rate=PEER_RATE,
            warmup_steps=0.1,
            seed=seed,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            logging_strategy="no",
            use_cpu=True,
        )
        # the trainer prints its summary; stdout is for the lines
        with contextlib.redirect_stdout(sys.stderr):
            SentenceTransformerTrainer(
                model=model, args=settings, train_dataset=rows, loss=MultipleNegativesRankingLoss(model)
            ).train()
    return lambda texts: model.encode(texts, show_progress_bar=False, normalize_embeddings=True)


def ndcg_at_10(encode: Callable[[list[str]], Any], data: Docstrings) -> float:
    """Each test query has one relevant body among all bodies: the gain is 1 / log2(1 + rank)."""
    import numpy as np

    bodies = encode([d for _, d in data.test] + [d for _, d in data.train])
    scores = encode([q for q, _ in data.test]) @ bodies.T
    own = scores[np.arange(len(data.test)), np.arange(len(data.test))]
    ranks = (scores > own[:, None]).sum(1) + 1
    return float(np.where(ranks <= 10, 1 / np.log2(1 + ranks), 0.0).mean())


def static_training(quick: bool) -> Iterator[Line]:
    """Pairs a second and nDCG@10 of a static model, medians over seeds taken in turn."""
    contenders = {"ours": ours, "theirs": theirs}
    wall: dict[str, list[float]] = {name: [] for name in contenders}
    processor: dict[str, list[float]] = {name: [] for name in contenders}
    quality: dict[str, list[float]] = {name: [] for name in contenders}
    with tempfile.TemporaryDirectory() as folder:
        data = docstrings(Path(folder), quick)
        for warmup in contenders.values():
            warmup(Docstrings(data.train[:600], [], data.tokenizer), 0)
        for seed in range(1 if quick else 3):
            for name, run in contenders.items():
                before, before_processor = time.perf_counter(), time.process_time()
                encode = run(data, seed)
                wall[name].append(time.perf_counter() - before)
                processor[name].append(time.process_time() - before_processor)
                quality[name].append(ndcg_at_10(encode, data))
    seen = len(data.train) * EPOCHS
    peer = "sentence-transformers trainer"
    note = f"{len(data.train)} pairs, {len(data.test)} test queries"

    def median(values: dict[str, list[float]], name: str) -> float:
        return statistics.median(values[name])

    for unit, taken, bar in (("pairs/s", wall, 3.0), ("pairs per processor second", processor, None)):
        rates = [seen / median(taken, name) for name in contenders]
        yield compared("static training", unit, rates[0], peer, rates[1], bar=bar, lower_is_better=False, note=note)
    found = [median(quality, name) for name in contenders]
    each = "; ".join(f"{name}: {', '.join(f'{v:.4f}' for v in quality[name])}" for name in contenders)
    yield compared(
        "static training quality", "nDCG@10", found[0], peer, found[1], bar=1.0, lower_is_better=False, note=each
    )


def objective(quick: bool) -> Iterator[Line]:
    """The first criteria against a plain softmax over the same scores, and a tiled batch of 32,768."""
    n, large = (256, 1024) if quick else (2048, 32768)
    for what in ("time", "memory"):
        for name in ("infonce", "triplet", "cosent", "mse"):
            for found in run_child("ours", n, what, name):
                if found["case"] == name:
                    over = max(found["ours"], 1e-9) / max(found["floor"], 1e-9)
                    yield bounded(f"objective {what} {name} n={n} over softmax", "x", over, 3.0)
    for found in run_child("large", large, "memory", ""):
        yield bounded(f"objective memory {found['case']}", "GB", found["ours"] / 1e9, 2.0)


CASES: dict[str, Callable[[bool], Iterator[Line]]] = {
    "static training": static_training,
    "demo": demo,
    "objective": objective,
}


def main() -> None:
    options = arguments(__doc__ or "").parse_args()
    from similis.progress import set_quiet

    set_quiet(True)
    for name, case in CASES.items():
        if options.only in name:
            for line in case(options.quick):
                show(line, as_json=options.json)


if __name__ == "__main__":
    main()
