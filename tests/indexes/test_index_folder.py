"""The index folder: what is built is what is found; every way in which a folder can be bad is one sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from index_samples import WORDS, HashEncoder, documents

import similis.encoders
from similis.data import Corpus
from similis.encoders import create
from similis.errors import UserError
from similis.files import sha256
from similis.indexes import DenseRetriever, Document, Index, LexicalRetriever
from similis.indexes.approximate import ApproximateIndex
from similis.search import Hybrid, Retriever

IDS, TEXTS = documents(300)
QUERIES = [" ".join(np.random.default_rng(s).choice(WORDS, 3)) for s in range(12)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    encoder = create("static", dimension=16, corpus_texts=TEXTS, seed=0)
    path = tmp_path_factory.mktemp("built") / "index"
    Index.build(encoder, (IDS, TEXTS), path, weight=0.3, language="english").close()
    return path


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "index"))


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similis.encoders, "load", HashEncoder.load, raising=False)


def test_a_built_index_finds_what_retrievers_in_memory_find(folder: Path) -> None:
    index = Index.open(folder)
    dense = DenseRetriever.build(index.dense.encoder, IDS, TEXTS)
    lexical = LexicalRetriever.build(IDS, TEXTS, language="english")
    parts = {"dense": dense, "lexical": lexical, "hybrid": Hybrid(dense, lexical, 0.3)}
    for mode, part in parts.items():
        assert isinstance(part, Retriever)
        for mine, theirs in zip(index.search(QUERIES, 7, mode=mode), part.search(QUERIES, 7), strict=True):
            assert mine.ids == theirs.ids
            np.testing.assert_array_equal(mine.scores, theirs.scores)


def test_dense_scores_are_the_cosines_of_the_encoders_vectors(folder: Path) -> None:
    index = Index.open(folder)
    vectors = index.dense.encoder.encode(TEXTS).astype(np.float64)
    queries = index.dense.encoder.encode(QUERIES).astype(np.float64)
    cosines = (queries @ vectors.T) / np.outer(np.linalg.norm(queries, axis=1), np.linalg.norm(vectors, axis=1))
    for row, hit in zip(cosines, index.search(QUERIES, 5, mode="dense"), strict=True):
        np.testing.assert_allclose(hit.scores, np.sort(row)[::-1][:5], atol=1e-6)
        np.testing.assert_allclose(hit.scores, [row[IDS.index(i)] for i in hit.ids], atol=1e-6)


def test_one_string_and_a_list_of_one_are_the_same(folder: Path) -> None:
    index = Index.open(folder)
    assert index.search("river stone")[0].ids == index.search(["river stone"])[0].ids
    assert len(index.search("river stone")) == 1
    assert len(index.search([])) == 0


def test_an_index_stands_alone(folder: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(folder, moved)
    assert Index.open(moved).search(QUERIES)[3].ids == Index.open(folder).search(QUERIES)[3].ids


def test_documents_come_back_whole_and_in_order(tmp_path: Path) -> None:
    rows = [Document("b", "text of b", "title b", {"year": 1999, "tags": ["x", "ü"]}), Document("a", "text of a")]
    index = Index.build(None, iter(rows), tmp_path / "index")
    assert index.documents(["a", "b"]) == rows[::-1]
    assert index.search("title")[0].ids == ["b"]
    with pytest.raises(UserError, match="no document with the id 'c'"):
        index.documents(["a", "c"])


def test_a_corpus_file_and_a_corpus_object_give_the_same_index(tmp_path: Path) -> None:
    rows = [{"_id": i, "title": f"title {i}", "text": t} for i, t in zip(IDS[:20], TEXTS, strict=False)]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    from_file = Index.build(None, tmp_path / "corpus.jsonl", tmp_path / "one")
    corpus = Corpus(IDS[:20], [f"{r['title']} {r['text']}" for r in rows], [r["title"] for r in rows])
    from_memory = Index.build(None, corpus, tmp_path / "two")
    assert from_file.documents(["d3"]) == from_memory.documents(["d3"]) == [Document("d3", TEXTS[3], "title d3")]
    assert from_file.run(["q"], ["title river"], 30) == from_memory.run(["q"], ["title river"], 30)


def test_explained_parts_make_up_the_hybrid_score(folder: Path) -> None:
    index = Index.open(folder)
    hit = index.search(QUERIES[0], 5, explain=True)[0]
    assert hit.ids == index.search(QUERIES[0], 5)[0].ids
    for score, part in zip(hit.scores, hit.parts, strict=True):
        assert part["dense_share"] + part["lexical_share"] == pytest.approx(score, abs=1e-5)
        terms = [value for name, value in part.items() if name.startswith("term:")]
        assert sum(terms) == pytest.approx(part["lexical"], abs=1e-4)
    assert index.search(QUERIES[0], 5, mode="dense", explain=True)[0].parts[0].keys() == {"dense"}


def test_a_run_has_every_query_and_document(folder: Path) -> None:
    index = Index.open(folder)
    run = index.run(["q1", "q2"], QUERIES[:2], k=300, mode="dense")
    assert {qid: len(docs) for qid, docs in run.items()} == {"q1": 300, "q2": 300}
    assert run["q2"] == dict(index.search(QUERIES[1], 300, mode="dense")[0])
    with pytest.raises(UserError, match="one distinct id a query"):
        index.run(["q", "q"], QUERIES[:2])


def test_a_fitted_weight_is_kept_in_the_folder(copy: Path) -> None:
    index = Index.open(copy)
    lexical = index.search(QUERIES, 1, mode="lexical")
    qrels = {f"q{i}": {hit.ids[0]: 1} for i, hit in enumerate(lexical)}
    fitted = index.fit_weight(list(qrels), QUERIES, qrels)
    assert fitted.value == max(fitted.tried.values())
    assert fitted.value > fitted.tried[1.0]
    assert Index.open(copy).weight == index.weight == fitted.weight
    assert Index.open(copy).search(QUERIES[4])[0].ids == index.search(QUERIES[4])[0].ids


def test_building_over_an_index_replaces_it_whole(copy: Path) -> None:
    Index.build(None, (["only"], ["river"]), copy)
    index = Index.open(copy)
    assert len(index) == 1
    assert index.modes == ("lexical",)
    assert sorted(p.name for p in copy.parent.iterdir()) == ["index"]


@pytest.mark.parametrize("similarity", ["cosine", "dot", "euclidean"])
def test_each_similarity_is_searched_as_itself(similarity: str, tmp_path: Path, hashes: None) -> None:
    encoder = HashEncoder(12, similarity)
    index = Index.build(encoder, (IDS, TEXTS), tmp_path / "index", lexical=False)
    keys, (query,) = encoder.encode(TEXTS).astype(np.float64), encoder.encode(["river stone garden"]).astype(float)
    truth = {
        "cosine": keys @ query / np.linalg.norm(keys, axis=1) / np.linalg.norm(query),
        "dot": keys @ query,
        "euclidean": -np.linalg.norm(keys - query, axis=1),
    }[similarity]
    hit = index.search("river stone garden", 20)[0]
    np.testing.assert_allclose(hit.scores, np.sort(truth)[::-1][:20], rtol=1e-5)
    assert index.facts()["similarity"] == similarity


@pytest.mark.parametrize("similarity", ["cosine", "euclidean"])
def test_an_approximate_index_is_opened_with_what_was_tuned(similarity: str, tmp_path: Path, hashes: None) -> None:
    ids, texts = documents(2500, seed=5)
    built = Index.build(HashEncoder(32, similarity), (ids, texts), tmp_path / "index", kind="approximate")
    index = Index.open(tmp_path / "index")
    assert isinstance(index.dense.index, ApproximateIndex)
    assert index.facts()["kind"] == "pq"
    assert index.facts()["settings"]["recall"] >= 0.95
    assert index.facts()["settings"] == built.facts()["settings"]
    exact = Index.build(HashEncoder(32, similarity), (ids, texts), tmp_path / "exact", kind="exact")
    close, far = index.search(QUERIES, 10, mode="dense"), exact.search(QUERIES, 10, mode="dense")
    # Short texts of 15 words are often the same bag of words, so scores are compared and not ids.
    for mine, theirs in zip(close, far, strict=True):
        np.testing.assert_allclose(mine.scores[:3], theirs.scores[:3], atol=1e-5)


def test_a_model_folder_is_taken_by_its_path(tmp_path: Path, folder: Path) -> None:
    index = Index.build(folder / "encoder", (IDS, TEXTS), tmp_path / "index", weight=0.3, language="english")
    assert index.search(QUERIES)[5].ids == Index.open(folder).search(QUERIES)[5].ids
    assert index.manifest["dense"]["encoder"] == Index.open(folder).manifest["dense"]["encoder"] != ""


def test_the_same_input_builds_the_same_files(tmp_path: Path, folder: Path) -> None:
    index = Index.build(folder / "encoder", (IDS, TEXTS), tmp_path / "index", weight=0.3, language="english")
    same = {name: entry["sha256"] for name, entry in index.manifest["files"].items() if "README" not in name}
    theirs = Index.open(folder).manifest["files"]
    assert same == {name: theirs[name]["sha256"] for name in same}


def _names(folder: Path) -> list[str]:
    return sorted(json.loads((folder / "manifest.json").read_text())["files"])


def test_a_flipped_byte_in_any_file_is_found_and_the_file_named(copy: Path) -> None:
    for name in [*_names(copy), "manifest.json"]:
        path = copy / name
        whole = path.read_bytes()
        broken = bytearray(whole)
        broken[len(whole) // 2] ^= 1
        path.write_bytes(broken)
        with pytest.raises(UserError, match=path.name.replace(".", r"\.")):
            Index.open(copy)
        path.write_bytes(whole)
    Index.open(copy)


def test_a_missing_or_cut_file_is_named(copy: Path) -> None:
    for name in _names(copy):
        path = copy / name
        whole = path.read_bytes()
        path.unlink()
        with pytest.raises(UserError, match=rf"{path.name} is missing"):
            Index.open(copy, verify_checksums=False)
        path.write_bytes(whole[:-1])
        with pytest.raises(UserError, match=rf"{path.name} has [\d,]+ bytes instead of [\d,]+"):
            Index.open(copy, verify_checksums=False)
        path.write_bytes(whole)


def _reseal(folder: Path, **changes: object) -> None:
    from similis.indexes.manifest import rewrite_manifest

    manifest = json.loads((folder / "manifest.json").read_text())
    rewrite_manifest(folder, {**manifest, **changes})


def test_a_newer_format_says_update(copy: Path) -> None:
    _reseal(copy, format=99, similis="9.0")
    with pytest.raises(UserError, match=r"format 99, made by similis 9\.0.*update similis"):
        Index.open(copy)


def test_a_manifest_may_not_point_outside_the_folder(copy: Path) -> None:
    (copy.parent / "secret").write_text("x")
    _reseal(copy, files={"../secret": {"size": 1, "sha256": sha256(copy.parent / "secret")}})
    with pytest.raises(UserError, match="outside the index folder"):
        Index.open(copy)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "is not an index folder: it has no manifest.json"),
        ("{", r"manifest\.json:1: not valid JSON"),
        ("[]", "is not the manifest of an index"),
        ('{"name": "other"}', "it has no format number"),
    ],
)
def test_what_is_no_index_is_said_so(content: str | None, said: str, tmp_path: Path) -> None:
    (tmp_path / "index").mkdir()
    if content is not None:
        (tmp_path / "index" / "manifest.json").write_text(content)
    with pytest.raises(UserError, match=said):
        Index.open(tmp_path / "index")


def test_a_missing_folder_and_a_file_say_how_to_build_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist; build one with: similis index"):
        Index.open(tmp_path / "none")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="is a file, not an index folder"):
        Index.open(tmp_path / "file")


class _BadEncoder(HashEncoder):
    def encode(self, texts: list[str], batch_size: int = 32) -> np.ndarray:
        vectors = super().encode(texts)
        vectors[-1, 0] = np.nan
        return vectors


@pytest.mark.parametrize(
    ("model", "corpus", "options", "said"),
    [
        (None, ([], []), {}, "no documents"),
        (None, (["a", "a"], ["x", "y"]), {}, "id 'a' occurs twice"),
        (None, (["a"], ["x", "y"]), {}, "1 ids and 2 texts"),
        (None, (["a"], ["x"]), {"lexical": False}, "a model, BM25 or both"),
        (None, (["a"], ["x"]), {"weight": 2}, r"weight is 2; it must be in 0\.\.1"),
        (None, (["a"], ["x"]), {"kind": "exact!"}, "kind 'exact!' is unknown"),
        (HashEncoder(8, "manhattan"), (["a"], ["x"]), {}, "'manhattan' cannot be searched"),
        (_BadEncoder(8), (["a", "b"], ["x", "y"]), {}, "not finite for document 1"),
    ],
)
def test_nothing_is_left_behind_when_building_fails(
    model: HashEncoder | None, corpus: object, options: dict[str, object], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        Index.build(model, corpus, tmp_path / "index", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_search_asked_wrongly_says_what_would_be_right(tmp_path: Path, folder: Path) -> None:
    index = Index.build(None, (["a"], ["river"]), tmp_path / "index")
    for call, said in [
        (lambda: index.search("x", mode="dense"), "has no dense search, only lexical"),
        (lambda: index.search("x", mode="hybird"), "did you mean 'hybrid'"),
        (lambda: index.search("x", k=0), "k is 0"),
        (lambda: index.search([3]), "query 0 is int, not text"),
        (lambda: index.fit_weight(["q"], ["x"], {}), "nothing to weigh against"),
        (lambda: Index.open(folder).fit_weight(["q"], ["x"], {}), "no query has a relevant document"),
    ]:
        with pytest.raises(UserError, match=said):
            call()


def test_a_query_without_known_words_has_no_lexical_hits_but_dense_ones(folder: Path) -> None:
    index = Index.open(folder)
    assert index.search("zzzz qqqq", mode="lexical")[0].ids == []
    assert len(index.search("zzzz qqqq", mode="hybrid")[0]) == 10
    assert len(index.search("", mode="hybrid")[0]) == 10


def test_auto_stays_exact_where_codes_miss_the_recall(
    tmp_path: Path, hashes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("similis.indexes.approximate.CODES_FROM", 200)
    corpus = documents(1500, seed=5)
    coded = Index.build(HashEncoder(32), corpus, tmp_path / "coded", lexical=False)
    assert coded.facts()["kind"] == "pq"
    monkeypatch.setattr("similis.indexes.building.RECALL", 1.01)
    index = Index.build(HashEncoder(32), corpus, tmp_path / "exact", lexical=False)
    assert index.facts()["kind"] == "exact"
    assert index.facts()["settings"] is None
    assert not (tmp_path / "exact" / "codes.faiss").exists()
