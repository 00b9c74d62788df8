"""Memories: what is remembered, what it counts as, and that a peer computes the same loss."""

from __future__ import annotations

import pytest
import torch
from pytorch_metric_learning import losses
from torch import Tensor

from similis.errors import UserError
from similis.keys import memory
from similis.objective import Objective
from similis.relation import Relation

D = 6


def batch(seed: int, n: int = 8, classes: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, D, generator=generator), torch.randint(0, classes, (n,), generator=generator)


@pytest.mark.parametrize("execution", ["plain", "tiled"])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("supcon(temperature=0.1), reduction=mean_nonzero", losses.SupConLoss(temperature=0.1)),
        ("multi_similarity", losses.MultiSimilarityLoss()),
    ],
)
@pytest.mark.parametrize("size", [16, 20, 64])
def test_xbm_is_the_cross_batch_memory_of_pytorch_metric_learning(
    ours: str, theirs: torch.nn.Module, size: int, execution: str
) -> None:
    objective = Objective(ours, keys=f"xbm(size={size})", execution=execution, tile=3).prepare(dimension=D)
    peer = losses.CrossBatchMemory(theirs, D, memory_size=size)
    for step in range(6):
        x, labels = batch(step)
        mine, other = x.clone().requires_grad_(), x.clone().requires_grad_()
        loss, expected = objective(mine, None, Relation.labels(labels)), peer(other, labels)
        torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
        loss.backward()
        expected.backward()
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("execution", ["plain", "tiled"])
def test_queue_without_in_batch_negatives_is_momentum_contrast(execution: str) -> None:
    objective = Objective("infonce(temperature=0.2)", keys="queue(size=10)", execution=execution, tile=2)
    past = torch.zeros(0, D)
    for step in range(4):
        q, k = batch(step, 4)[0].requires_grad_(), batch(step + 100, 4)[0]
        loss = objective(q, k, Relation.pairs(4, in_batch=False))
        unit = [torch.nn.functional.normalize(t, dim=-1) for t in (q, k, past)]
        logits = torch.cat([(unit[0] * unit[1]).sum(-1, keepdim=True), unit[0] @ unit[2].T], -1) / 0.2
        if step:
            torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(logits, torch.zeros(4).long()))
        past = torch.cat([past, k])[-10:]


def test_a_remembered_repeat_is_never_a_negative() -> None:
    queue = memory.Queue(size=8)
    first = Relation.pairs(3, query_ids=torch.tensor([0, 1, 2]), key_ids=torch.tensor([10, 11, 12]))
    queue(torch.randn(3, D), torch.randn(3, D), first)
    again = Relation.pairs(3, query_ids=torch.tensor([0, 5, 6]), key_ids=torch.tensor([20, 11, 21]))
    keys, relation = queue(torch.randn(3, D), torch.randn(3, D), again)
    rows = relation.rows()
    assert keys.shape == (6, D)
    assert rows.positive.tolist() == [[i == j for j in range(6)] for i in range(3)]
    # query 0 had key 10 as a positive; query 5 has the text 11 as its positive now; query 6 knows none of them
    assert (~rows.known[:, 3:]).tolist() == [[True, False, False], [False, True, False], [False, False, False]]


def test_remembered_keys_of_the_same_class_are_positives() -> None:
    queue = memory.Queue(size=8)
    x, labels = batch(0, 4)
    queue(x, x, Relation.labels(labels))
    relation = queue(x, x, Relation.labels(labels))[1]
    rows = relation.rows()
    assert torch.equal(rows.positive[:, 4:], labels[:, None] == labels)
    assert torch.equal(rows.known[:, :4], ~torch.eye(4, dtype=torch.bool))
    assert torch.equal(relation.key_labels, torch.cat([labels, labels]))
    flipped = relation.transpose().rows()
    assert torch.equal(flipped.positive, rows.positive.T)


@pytest.mark.parametrize("sizes", [[3, 3, 3], [5, 1, 4, 7], [12, 2]])
def test_first_in_is_first_out(sizes: list[int]) -> None:
    queue = memory.Queue(size=7)
    past = torch.zeros(0, D)
    for step, n in enumerate(sizes):
        x = batch(step, n)[0]
        queue(x, x, Relation.pairs(n))
        past = torch.cat([past, x])[-7:]
    remembered = {tuple(row.tolist()) for row in queue.recall(past)[0]}
    assert remembered == {tuple(row.tolist()) for row in past}


def test_evaluation_remembers_nothing_and_warm_up_uses_nothing() -> None:
    queue = memory.Queue(size=8, warmup=2)
    for step, expected in enumerate([2, 2, 6, 8]):
        x = batch(step, 2)[0]
        assert len(queue(x, x, Relation.pairs(2))[0]) == expected
    queue.eval()
    x = batch(9, 2)[0]
    assert len(queue(x, x, Relation.pairs(2))[0]) == len(queue(x, x, Relation.pairs(2))[0]) == 10


@pytest.mark.parametrize("name", ["queue(size=9)", "xbm(size=9)", "mixup"])
def test_a_checkpoint_goes_on_as_the_run_would_have(name: str) -> None:
    def objective() -> Objective:
        return Objective("supcon(temperature=0.5)", keys=name).prepare(dimension=D)

    run = objective()
    for step in range(3):
        x, labels = batch(step)
        run(x, None, Relation.labels(labels))
    resumed = objective()
    resumed.load_state_dict(run.state_dict())
    x, labels = batch(7)
    relation = Relation.labels(labels)
    assert torch.equal(resumed(x, None, relation), run(x, None, relation))
    assert torch.equal(resumed(x, None, relation), run(x, None, relation))


def test_a_memory_remembers_once_a_step_whatever_the_prefixes() -> None:
    objective = Objective("supcon", keys="queue(size=32)", matryoshka=[2, 4, D])
    x, labels = batch(0)
    objective(x, None, Relation.labels(labels))
    assert objective.keys.filled == len(x)
    objective(x, None, Relation.labels(labels))
    assert objective.keys.filled == 2 * len(x)


def test_proxies_are_cut_to_the_prefixes() -> None:
    objective = Objective("infonce", keys=f"proxies(classes=3, dimension={D})", matryoshka=[2, D])
    x, labels = batch(0)
    parts = [
        torch.nn.functional.cross_entropy(
            torch.nn.functional.normalize(x[:, :d], dim=-1)
            @ torch.nn.functional.normalize(objective.keys.weight[:, :d], dim=-1).T
            / objective.criterion.arguments.get("temperature", 0.05),
            labels,
        )
        for d in (2, D)
    ]
    torch.testing.assert_close(objective(x, None, Relation.labels(labels)), (parts[0] + parts[1]) / 2)


def test_what_cannot_be_remembered_is_refused_in_a_sentence() -> None:
    x, labels = batch(0)
    with pytest.raises(UserError, match="size of at least 1"):
        memory.Queue(size=0)
    with pytest.raises(UserError, match="cannot hold a batch of 8"):
        memory.CrossBatchMemory(size=4)(x, x, Relation.labels(labels))
    with pytest.raises(UserError, match="keys=queue takes pairs"):
        memory.CrossBatchMemory()(x, x, Relation.pairs(8))
    with pytest.raises(UserError, match="single vectors"):
        memory.Queue()(x, x, Relation.scored(torch.rand(8)))
    queue = memory.Queue(dimension=D)
    with pytest.raises(UserError, match="dimension 6, the batch's have 5"):
        queue(x[:, :5], x[:, :5], Relation.pairs(8))
