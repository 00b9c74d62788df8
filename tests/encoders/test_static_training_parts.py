"""First weights, the torch module and row-wise Adam, each against an oracle."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import torch

from similis.encoders import StaticModule, TokenizedTexts, initial_weights
from similis.encoders.static.init import inverse_document_frequency, right_singular
from similis.errors import UserError
from similis.training.trainees import row_adam
from similis.training.trainees.row_adam import RowAdam, clip_gradient


def random_texts(seed: int, texts: int = 40, vocabulary: int = 30) -> TokenizedTexts:
    generator = np.random.default_rng(seed)
    lengths = generator.integers(0, 9, texts)
    lengths[0] = 0
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return TokenizedTexts(generator.integers(0, vocabulary, offsets[-1]).astype(np.int32), offsets)


@pytest.mark.parametrize("sparse", [True, False])
def test_vectors_and_gradient_are_those_of_torch_embedding_bag(sparse: bool) -> None:
    texts = random_texts(0)
    weights = torch.randn(30, 8, dtype=torch.float64)
    bag = torch.nn.EmbeddingBag.from_pretrained(weights.clone(), freeze=False, mode="mean", include_last_offset=True)
    module = StaticModule(weights, sparse=sparse)
    upstream = torch.randn(40, 8, dtype=torch.float64)
    expected = bag(torch.from_numpy(texts.ids).long(), torch.from_numpy(texts.offsets))
    found = module.encode(texts)
    torch.testing.assert_close(found, expected)
    expected.backward(upstream)
    found.backward(upstream)
    assert module.weight.grad is not None
    assert module.weight.grad.is_sparse == sparse
    torch.testing.assert_close(module.weight.grad.to_dense(), bag.weight.grad)


def test_gradient_holds_the_rows_of_the_batch_alone_and_adds_up_over_passes() -> None:
    first, second = random_texts(1)[:4], random_texts(2)[:4]
    module = StaticModule(np.ones((30, 3), np.float32))
    module.encode(first).sum().backward()
    grad = module.weight.grad
    assert grad is not None
    assert grad.coalesce().indices()[0].tolist() == sorted(set(first.ids.tolist()))
    module.encode(second).sum().backward()
    dense = StaticModule(np.ones((30, 3), np.float32), sparse=False)
    (dense.encode(first).sum() + dense.encode(second).sum()).backward()
    torch.testing.assert_close(module.weight.grad.to_dense(), dense.weight.grad)  # type: ignore[union-attr]


def test_turning_the_batch_round_in_torch_gives_the_same_as_in_scipy() -> None:
    from similis.encoders.static.module import _by_token_scipy, _by_token_torch

    texts = random_texts(3)
    ids, offsets = torch.from_numpy(texts.ids).long(), torch.from_numpy(texts.offsets)
    upstream = torch.randn(40, 5, dtype=torch.float64)
    sums = []
    for turn in (_by_token_scipy, _by_token_torch):
        tokens, rows, starts, shares = turn(ids, offsets, 30, torch.float64)
        bags = torch.nn.functional.embedding_bag(rows, upstream, starts, mode="sum", per_sample_weights=shares)
        sums.append(torch.zeros(30, 5, dtype=torch.float64).index_copy_(0, tokens, bags))
    torch.testing.assert_close(*sums)


@pytest.fixture(params=["compiled", "by torch"])
def _sparse_steps(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_adam, "_COMPILED", 0 if request.param == "compiled" else 1 << 40)


def test_row_adam_on_dense_gradients_is_torch_adamw() -> None:
    start = torch.randn(6, 4)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    mine = RowAdam([ours], lr=0.03, weight_decay=0.1)
    reference = torch.optim.AdamW([theirs], lr=0.03, weight_decay=0.1)
    for step in range(20):
        gradient = torch.randn(6, 4, generator=torch.Generator().manual_seed(step))
        for parameter, optimiser in ((ours, mine), (theirs, reference)):
            parameter.grad = gradient.clone()
            optimiser.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("_sparse_steps")
def test_row_adam_gives_each_row_the_adamw_of_its_own_gradients_and_leaves_the_others() -> None:
    start = torch.randn(5, 3)
    parameter = torch.nn.Parameter(start.clone())
    optimiser = RowAdam([parameter], lr=0.1, weight_decay=0.05)
    alone = [torch.nn.Parameter(start[row : row + 1].clone()) for row in range(5)]
    adams = [torch.optim.AdamW([each], lr=0.1, weight_decay=0.05) for each in alone]
    for step in range(8):
        rows = torch.tensor([[0, 3], [3, 1], [0, 0]][step % 3])  # a row may come twice in one gradient
        values = torch.randn(2, 3)
        parameter.grad = torch.sparse_coo_tensor(rows[None], values, (5, 3), check_invariants=True)
        optimiser.step()
        dense = parameter.grad.to_dense()
        for row in set(rows.tolist()):
            alone[row].grad = dense[row : row + 1].clone()
            adams[row].step()
    torch.testing.assert_close(parameter.detach(), torch.cat([each.detach() for each in alone]), rtol=1e-4, atol=1e-5)
    assert torch.equal(parameter[2], start[2])
    assert torch.equal(parameter[4], start[4])


@pytest.mark.usefixtures("_sparse_steps")
def test_row_adam_resumed_from_its_state_goes_on_bit_for_bit() -> None:
    def train(parameter: torch.nn.Parameter, optimiser: RowAdam, steps: range) -> None:
        for step in steps:
            generator = torch.Generator().manual_seed(step)
            rows = torch.randint(0, 9, (1, 3), generator=generator)
            parameter.grad = torch.sparse_coo_tensor(rows, torch.randn(3, 2, generator=generator), (9, 2))
            optimiser.step()

    whole, parts = (torch.nn.Parameter(torch.ones(9, 2)) for _ in range(2))
    train(whole, RowAdam([whole], lr=0.1), range(10))
    before = RowAdam([parts], lr=0.1)
    train(parts, before, range(4))
    after = RowAdam([parts], lr=0.7)
    after.load_state_dict(before.state_dict())
    train(parts, after, range(4, 10))
    assert torch.equal(whole, parts)


def test_clipping_scales_sparse_and_dense_gradients_to_one_joint_norm() -> None:
    sparse, dense = torch.nn.Parameter(torch.zeros(4, 1)), torch.nn.Parameter(torch.zeros(2))
    sparse.grad = torch.sparse_coo_tensor([[1, 1, 2]], [[1.0], [2.0], [0.0]], (4, 1))
    dense.grad = torch.tensor([0.0, 4.0])
    assert clip_gradient([sparse, dense], 1.0) == pytest.approx(5.0)
    torch.testing.assert_close(sparse.grad.to_dense()[1], torch.tensor([0.6]))
    torch.testing.assert_close(dense.grad, torch.tensor([0.0, 0.8]))
    assert clip_gradient([sparse, dense], 10.0) == pytest.approx(1.0, abs=1e-4)


def test_settings_out_of_range_are_sentences() -> None:
    with pytest.raises(UserError, match="RowAdam needs"):
        RowAdam([torch.nn.Parameter(torch.zeros(1))], lr=-1)
    with pytest.raises(UserError, match="did you mean 'random'"):
        initial_weights(random_texts(0), 4, method="randon", vocabulary=30)
    with pytest.raises(UserError, match="vocabulary has 5 tokens"):
        initial_weights(random_texts(0), 4, vocabulary=5)


def test_decomposition_agrees_with_numpy_svd() -> None:
    matrix = scipy.sparse.random(80, 50, 0.2, "csr", dtype=np.float32, random_state=np.random.default_rng(0))
    vectors, values = right_singular(matrix, 50, np.random.default_rng(0))
    _, expected, turned = np.linalg.svd(matrix.toarray())
    np.testing.assert_allclose(values, expected[: len(values)], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(np.abs((vectors[:, :10] * turned[:10].T).sum(axis=0)), 1, atol=1e-2)


def topics(seed: int) -> tuple[TokenizedTexts, TokenizedTexts, np.ndarray]:
    """Documents and queries of 20 topics; words of one topic are many, so query and document share few."""
    generator = np.random.default_rng(seed)

    def draw(labels: np.ndarray, length: int) -> TokenizedTexts:
        own = labels[:, None] * 40 + generator.integers(0, 40, (len(labels), length))
        common = 800 + generator.integers(0, 100, (len(labels), length))
        ids = np.where(generator.random(own.shape) < 0.6, own, common).astype(np.int32)
        return TokenizedTexts(ids.ravel(), np.arange(len(labels) + 1, dtype=np.int64) * length)

    labels = generator.integers(0, 20, 600)
    return draw(labels, 15), draw(np.arange(20).repeat(5), 4), labels


def test_lsa_start_retrieves_better_than_a_random_one_where_topics_share_few_words() -> None:
    documents, queries, labels = topics(0)
    hits = {}
    for method in ("random", "lsa", "auto"):
        weights = initial_weights(documents, 32, 0, method, vocabulary=900)
        assert np.sqrt((weights**2).mean()) == pytest.approx(1, abs=1e-5)
        module = StaticModule(weights)
        with torch.no_grad():
            q, d = (torch.nn.functional.normalize(module.encode(each)) for each in (queries, documents))
        top = (q @ d.T).topk(10).indices.numpy()
        hits[method] = (labels[top] == np.arange(20).repeat(5)[:, None]).mean()
    assert hits["lsa"] > hits["random"] + 0.15
    assert (weights == initial_weights(documents, 32, 0, "auto", vocabulary=900)).all()


def test_rare_tokens_weigh_more_and_unseen_ones_as_if_seen_once() -> None:
    texts = TokenizedTexts(np.array([0, 1, 0, 2, 0], np.int32), np.array([0, 2, 4, 5]))
    idf = inverse_document_frequency(texts, 4)
    assert idf[0] < idf[1] == idf[2] == idf[3]
    assert idf[0] == pytest.approx(np.log(4 / 3.5))


def test_making_first_weights_leaves_the_tokenised_texts_as_they_were() -> None:
    documents, _, _ = topics(1)
    ids, offsets = documents.ids.copy(), documents.offsets.copy()
    initial_weights(documents, 8, method="lsa", vocabulary=900)
    assert (documents.ids == ids).all()
    assert (documents.offsets == offsets).all()
