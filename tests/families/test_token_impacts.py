"""uniCOIL: one weight a word, the same in the library and by the formula, searched as whole numbers too."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from family_models import WORDS, bert, texts
from scipy.sparse import csr_matrix

from similis.encoders import create, load
from similis.encoders.library.sparse import quantized
from similis.encoders.modules import TokenImpacts
from similis.errors import UserError
from similis.indexes.sparse import SparseRetriever
from similis.search.ranker import ListedIds
from similis.training import train

ROWS = [*texts(12), "bal bal dol", "bal " * 40, "", "unheard"]


CONTENT, NOISE = WORDS[:45], WORDS[45:]


def noisy_pairs(count: int) -> list[tuple[str, str]]:
    """Texts that share two words; all of their other words are of those that say nothing."""
    rng = random.Random(0)
    rows = []
    for _ in range(count):
        shared = rng.sample(CONTENT, 2)
        sides = [shared + [rng.choice(NOISE[:12]) for _ in range(5)] for _ in range(2)]
        for words in sides:
            rng.shuffle(words)
        rows.append((" ".join(sides[0]), " ".join(sides[1])))
    return rows


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    home = tmp_path_factory.mktemp("impacts")
    base = f"unicoil:{bert(home / 'bert')}"
    given: dict[str, Any] = {"max_steps": 130, "batch_size": 16, "learning_rate": 5e-3, "dev": False}
    return train(noisy_pairs(160), base=base, objective="infonce(temperature=1.0)", output=home / "m", **given)


def test_a_words_weight_is_its_largest_in_documents_and_their_sum_in_queries(trained: Any) -> None:
    encoder = trained.encoder
    step = encoder.model[1]
    vocabulary = encoder.model.tokenizer.get_vocab()
    for side, join in (("query", sum), ("document", max)):
        found = getattr(encoder, f"encode_{side}")(ROWS, batch_size=5).toarray()
        assert found.shape == (len(ROWS), len(WORDS) + 5)
        for text, weights in zip(ROWS, found, strict=True):
            features = encoder.preprocess([text], task=side)
            with torch.no_grad():
                vectors = encoder.model[0](dict(features))["token_embeddings"][0].numpy()
            impacts = np.maximum(0, vectors @ step.weigh.weight.detach().numpy()[0] + step.weigh.bias.item())
            ids = features["input_ids"][0].tolist()
            expected = np.zeros(len(weights))
            for word in set(ids) - {vocabulary[name] for name in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")}:
                expected[word] = join([impacts[at] for at, token in enumerate(ids) if token == word])
            np.testing.assert_allclose(weights, expected, atol=2e-5)
    assert not encoder.encode_document(["", "unheard"]).nnz


def test_a_new_model_counts_words(tmp_path: Path) -> None:
    encoder: Any = create(f"unicoil:{bert(tmp_path / 'bert')}")
    counts = encoder.encode_query(["bal bal dol"]).toarray()[0]
    places = [encoder.model.tokenizer.get_vocab()[word] for word in ("bal", "dol")]
    np.testing.assert_allclose(counts[places], [2, 1], rtol=0.25)
    assert np.count_nonzero(counts) == 2


def test_words_that_say_nothing_lose_their_weight_and_the_folder_says_the_same(trained: Any) -> None:
    encoder = trained.encoder
    places = encoder.model.tokenizer.get_vocab()
    rows = [b for _, b in noisy_pairs(40)]
    found = encoder.encode_document(rows).toarray()
    weights = {
        kind: np.mean(
            [own[places[w]] for own, row in zip(found, rows, strict=True) for w in set(row.split()) & set(of)]
        )
        for kind, of in (("content", CONTENT), ("noise", NOISE))
    }
    content, noise = weights["content"], weights["noise"]
    assert noise < 0.5 * content
    again = load(trained.output)
    assert (again.family, again.similarity_name, again.fingerprint) == ("sparse", "dot", encoder.fingerprint)
    for side in ("encode_query", "encode_document"):
        difference = getattr(again, side)(ROWS) - getattr(encoder, side)(ROWS)
        assert abs(difference).max() < 1e-6


@pytest.mark.parametrize("bits", [1, 8])
def test_an_index_of_whole_numbers_scores_by_their_sums(trained: Any, bits: int) -> None:
    encoder = trained.encoder
    documents = [text for text in ROWS if text]
    vectors = quantized(encoder.encode_document(documents), bits)
    assert vectors.data.max() == 2**bits - 1
    assert vectors.data.min() >= 1
    np.testing.assert_array_equal(vectors.data, np.rint(vectors.data))
    index = SparseRetriever(encoder, vectors, ListedIds([str(number) for number in range(len(documents))]))
    for query, hits in zip(ROWS[:4], index.search(ROWS[:4], k=20), strict=True):
        own, stored = encoder.encode_query([query]).toarray()[0].astype(np.float64), vectors.toarray()
        brute = {str(row): sum(own[w] * stored[row, w] for w in np.flatnonzero(own)) for row in range(len(documents))}
        scored = {name: score for name, score in brute.items() if score > 0}
        told = dict(zip(hits.ids, hits.scores, strict=True))
        assert told.keys() == scored.keys()
        assert all(told[name] == pytest.approx(scored[name], rel=1e-5) for name in scored)


def test_eight_bits_change_the_order_of_few(trained: Any) -> None:
    vectors = trained.encoder.encode_document(texts(40, seed=3))
    queries = trained.encoder.encode_query(texts(40, seed=3))
    exact, rounded = ((queries @ each.T).toarray() for each in (vectors, quantized(vectors)))
    cosines = (exact * rounded).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(rounded, axis=1)
    assert cosines.min() > 0.9999


def test_what_cannot_be_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="takes no options"):
        create(f"unicoil(pooling=max):{bert(tmp_path / 'bert')}")
    with pytest.raises(UserError, match="1 to 16 bits"):
        quantized(csr_matrix(np.eye(2, dtype=np.float32)), 0)
    with pytest.raises(UserError, match="a weight is below"):
        quantized(csr_matrix(-np.eye(2, dtype=np.float32)))


def test_the_gradient_goes_to_the_largest_of_a_word_alone() -> None:
    step = TokenImpacts(1, 4, special=[0])
    torch.nn.init.ones_(step.weigh.weight)
    tokens = torch.tensor([[[9.0], [1.0], [3.0]]], requires_grad=True)
    features = {"input_ids": torch.tensor([[0, 2, 2]]), "attention_mask": torch.ones(1, 3), "token_embeddings": tokens}
    found = step(dict(features))["sentence_embedding"]
    assert found.tolist() == [[0.0, 0.0, 4.0, 0.0]]
    found.sum().backward()
    assert tokens.grad is not None
    assert tokens.grad.flatten().tolist() == [0.0, 0.0, 1.0]
    assert step(dict(features), task="query")["sentence_embedding"][0, 2].item() == 2.0 + 4.0
