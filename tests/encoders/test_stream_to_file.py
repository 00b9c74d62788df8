"""Writing a corpus's vectors: order, what a kill leaves and how it goes on, and memory that does not grow."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from similis.api import encode_file
from similis.encoders import create, load, streaming
from similis.errors import UserError

WORDS = [f"word{i}" for i in range(60)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stream") / "model"
    lines = [" ".join(WORDS[i : i + 8]) for i in range(0, 56, 2)]
    create("static", dimension=16, corpus_texts=lines * 3).save(folder)
    return folder


def texts(count: int) -> list[str]:
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(WORDS, size)) for size in rng.integers(1, 9, count)]


def write(path: Path, bodies: list[str]) -> Path:
    lines = "".join(json.dumps({"_id": f"d{i}", "text": body}) + "\n" for i, body in enumerate(bodies))
    path.write_text(lines, encoding="utf-8")
    return path


def read(facts: dict[str, Any]) -> tuple[np.ndarray[Any, Any], list[str]]:
    return np.load(facts["vectors"], allow_pickle=False), Path(facts["ids"]).read_text().splitlines()


def test_every_format_gives_the_vectors_in_the_order_of_the_file(model: Path, tmp_path: Path) -> None:
    bodies = texts(700)
    expected = load(model).encode_document(bodies)
    plain = write(tmp_path / "corpus.jsonl", bodies)
    (tmp_path / "corpus.txt").write_text("\n".join(bodies) + "\n\n", encoding="utf-8")
    with gzip.open(tmp_path / "packed.txt.gz", "wt", encoding="utf-8") as out:
        out.write("\n".join(bodies))
    pq.write_table(pa.table({"id": [f"d{i}" for i in range(700)], "text": bodies}), tmp_path / "corpus.parquet")
    named = [f"d{i}" for i in range(700)]
    numbered = [str(i) for i in range(1, 701)]
    cases = {plain.name: named, "corpus.parquet": named, "corpus.txt": numbered, "packed.txt.gz": numbered}
    for name, ids in cases.items():
        vectors, found = read(encode_file(model, tmp_path / name, tmp_path / "out.npy", batch_size=16))
        assert (vectors == expected).all(), name
        assert found == ids
    assert not list(tmp_path.glob(".*"))


def test_queries_get_their_prompt_and_half_stores_float16(model: Path, tmp_path: Path) -> None:
    encoder = load(model)
    encoder.prompts["query"] = "word1 word2 "  # type: ignore[index]
    encoder.save(tmp_path / "prompted")
    corpus = write(tmp_path / "corpus.jsonl", texts(40))
    facts = encode_file(tmp_path / "prompted", corpus, tmp_path / "q.npy", queries=True, half=True)
    vectors, _ = read(facts)
    assert vectors.dtype == np.float16
    np.testing.assert_allclose(vectors, encoder.encode_query(texts(40)), atol=1e-3)


KILLED = """
import sys
from pathlib import Path
from similis.api import encode_file
from similis.encoders import streaming
from similis.encoders.static.encoder import StaticEncoder

streaming.SECONDS = 0.0
encode, seen = StaticEncoder._encode, 0
def slow(self, texts, options):
    global seen
    seen += len(texts)
    if seen > int(sys.argv[4]):
        print("there", flush=True)
        import time; time.sleep(60)
    return encode(self, texts, options)
StaticEncoder._encode = slow
encode_file(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), batch_size=8)
"""


def killed(model: Path, corpus: Path, output: Path, after: int) -> Path:
    """Encode in another process and kill it once ``after`` texts are read; the folder that it leaves."""
    command = [sys.executable, "-c", KILLED, str(model), str(corpus), str(output), str(after)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "there\n"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert not output.exists()
    return output.with_name(f".{output.name}.part")


def test_after_a_kill_it_goes_on_and_gives_the_same_file(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = write(tmp_path / "corpus.jsonl", texts(1000))
    whole = encode_file(model, corpus, tmp_path / "whole.npy", batch_size=8)
    part = killed(model, corpus, tmp_path / "cut.npy", 600)
    done = json.loads((part / "progress.json").read_text())["done"]
    assert 0 < done < 700
    read_before = []
    original = type(load(model))._encode
    monkeypatch.setattr(type(load(model)), "_encode", lambda *a: read_before.extend(a[1]) or original(*a))
    facts = encode_file(model, corpus, tmp_path / "cut.npy", batch_size=8)
    assert facts["resumed"] == done
    assert len(read_before) == 1000 - done  # nothing is encoded twice
    assert f"{done:,} of 1,000 were encoded before" in capsys.readouterr().err
    assert Path(facts["vectors"]).read_bytes() == Path(whole["vectors"]).read_bytes()
    assert Path(facts["ids"]).read_bytes() == Path(whole["ids"]).read_bytes()
    assert not part.exists()


@pytest.mark.parametrize("what", ["texts", "model", "vectors", "progress", "shorter"])
def test_what_is_left_of_other_or_damaged_work_is_not_used(model: Path, tmp_path: Path, what: str) -> None:
    corpus, output = write(tmp_path / "corpus.jsonl", texts(300)), tmp_path / "v.npy"
    encoder: Any = load(model)
    facts = {"vectors": output, "ids": output.with_suffix(".ids.txt")}

    def documents() -> Any:
        for i, body in enumerate(texts(300)):
            if i == 200:
                raise KeyboardInterrupt
            yield f"d{i}", body

    streaming_seconds, streaming.SECONDS = streaming.SECONDS, 0.0
    try:
        with pytest.raises(KeyboardInterrupt):
            streaming.write_vectors(encoder, documents(), 300, output, made_from="these", batch_size=4)
    finally:
        streaming.SECONDS = streaming_seconds
    part = tmp_path / ".v.npy.part"
    assert json.loads((part / "progress.json").read_text())["done"] == 192
    if what == "vectors":
        content = bytearray((part / "vectors").read_bytes())
        content[1000] ^= 1
        (part / "vectors").write_bytes(content)
    elif what == "shorter":
        (part / "vectors").write_bytes((part / "vectors").read_bytes()[:5000])
    elif what == "progress":
        (part / "progress.json").write_text("{")
    elif what == "model":
        encoder = create("static", dimension=16, corpus_texts=texts(90))
    pairs = [(f"d{i}", body) for i, body in enumerate(texts(300))]
    made_from = "those" if what == "texts" else "these"
    written = streaming.write_vectors(encoder, iter(pairs), 300, output, made_from=made_from, batch_size=4)
    assert written.resumed == 0
    vectors, ids = read(facts)
    assert (vectors == encoder.encode_document(texts(300))).all()
    assert ids == [f"d{i}" for i in range(300)]
    assert corpus.exists()


MEMORY = """
import sys
from pathlib import Path
from similis.api import encode_file

def rss(field):
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith(field)) // 1024

model, small, large, out = map(Path, sys.argv[1:])
encode_file(model, small, out)
Path("/proc/self/clear_refs").write_text("5")
before = rss("VmRSS")
encode_file(model, large, out)
print(rss("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from /proc")
def test_memory_does_not_grow_with_the_number_of_texts(model: Path, tmp_path: Path) -> None:
    # held at once, texts, ids and vectors would take more than 50 MB
    line = "word1 word2" + " " * 60
    small, large = tmp_path / "small.txt", tmp_path / "large.jsonl"
    small.write_text("word1\n" * 3000)
    with large.open("w") as out:
        for number in range(200_000):
            out.write(f'{{"text": "{line}{number}"}}\n')
    command = [sys.executable, "-c", MEMORY, str(model), str(small), str(large), str(tmp_path / "out.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 25  # MB, of which 10 are remembered words
    assert np.load(tmp_path / "out.npy", mmap_mode="r").shape == (200_000, 16)


def test_mistakes_leave_nothing_behind(model: Path, tmp_path: Path) -> None:
    (tmp_path / "blank.txt").write_text("\n\n")
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"text": "word1"}\n{"text": 3}\n')
    output = tmp_path / "out" / "v.npy"
    for path, said in ((tmp_path / "blank.txt", "is empty"), (bad, "bad.jsonl:2"), (tmp_path / "none.txt", "exist")):
        with pytest.raises(UserError, match=said):
            encode_file(model, path, output)
    with pytest.raises(UserError, match=r"must end in \.npy"):
        encode_file(model, bad, tmp_path / "v.bin")
    assert not output.parent.exists()


def test_fewer_texts_than_were_counted_is_an_error(model: Path, tmp_path: Path) -> None:
    encoder = load(model)
    with pytest.raises(UserError, match="2 documents came where 3 were counted"):
        streaming.write_vectors(encoder, iter([("a", "x"), ("b", "y")]), 3, tmp_path / "v.npy", made_from="")
    with pytest.raises(UserError, match="float32 or float16"):
        streaming.write_vectors(encoder, iter([]), 0, tmp_path / "v.npy", made_from="", dtype="int4")
