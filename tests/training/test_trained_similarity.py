"""What is trained is what is saved and what is searched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from similis.encoders import load
from similis.indexes import DenseRetriever
from similis.similarity import build
from similis.training import fit

PAIRS = [
    (f"{colour} {thing}", f"a {thing} painted {colour}")
    for colour in ["red", "blue", "green"]
    for thing in ["car", "boat", "hat", "bag"]
]


@pytest.mark.parametrize("similarity", ["snr", "euclidean", "dot", "cosine"])
def test_a_trained_similarity_is_saved_and_searched(similarity: str, tmp_path: Path) -> None:
    fit(
        PAIRS, objective=f"triplet(margin=0.1), similarity={similarity}", output=tmp_path / "model", dev=False, epochs=2
    )
    model = load(tmp_path / "model")
    assert model.similarity_name == similarity
    texts = [positive for _, positive in PAIRS]
    hit = DenseRetriever.build(model, texts, texts).search("blue hat", k=len(texts))[0]
    query, keys = torch.from_numpy(model.encode("blue hat")), torch.from_numpy(model.encode(hit.ids))
    expected = build(similarity)(query.unsqueeze(0), keys)[0]
    np.testing.assert_allclose(hit.scores, expected.numpy(), rtol=1e-4, atol=1e-5)
    assert bool((expected[:-1] >= expected[1:] - 1e-5).all())


def test_sentence_transformers_loads_a_model_of_a_similarity_it_has_no_word_for(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    fit(PAIRS, objective="triplet, similarity=snr", output=tmp_path / "model", dev=False, epochs=1)
    peer = SentenceTransformer(str(tmp_path / "model"), device="cpu")
    np.testing.assert_allclose(peer.encode(["red car"]), load(tmp_path / "model").encode(["red car"]), atol=1e-6)


def test_a_similarity_no_index_searches_by_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = fit(PAIRS, objective="triplet, similarity=manhattan", dev=False, epochs=1)
    assert model.similarity_name == "cosine"
    assert "an index cannot search by it" in capfd.readouterr().err
