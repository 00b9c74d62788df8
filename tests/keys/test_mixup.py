"""Mixed points: each is the mixture it says it is, and grades are mixed in the same shares."""

from __future__ import annotations

import pytest
import torch

from similis.errors import UserError
from similis.keys.mixed import Mixup
from similis.objective import Objective
from similis.relation import Relation

N, D = 9, 5


def embeddings(seed: int = 0) -> torch.Tensor:
    return torch.randn(N, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("everywhere", [False, True])
def test_keys_and_grades_are_mixed_in_the_same_shares(everywhere: bool) -> None:
    source, x, labels = Mixup(everywhere=everywhere, seed=3), embeddings(), torch.arange(N) % 3
    partner, share = source.draw(N)
    relation = Relation.labels(labels)
    before = relation.rows()
    keys, related = source(x, x, relation)
    rows = related.rows()
    assert torch.equal(keys[:N], x)
    assert torch.equal(rows.known[:, :N], before.known)
    assert torch.equal(rows.grade[:, :N], before.grade)
    for j in range(N):
        other, lam = int(partner[j]), float(share[j])
        torch.testing.assert_close(keys[N + j], lam * x[j] + (1 - lam) * x[other])
        for i in range(N):
            first, second = float(labels[i] == labels[j]), float(labels[i] == labels[other])
            known = i not in (j, other) and (everywhere or first != second)
            assert bool(rows.known[i, N + j]) == known
            assert float(rows.grade[i, N + j]) == pytest.approx(lam * first + (1 - lam) * second)


def test_shares_follow_the_beta_distribution() -> None:
    _, share = Mixup(alpha=2.0).draw(20000)
    assert float(share.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(share.var()) == pytest.approx(1 / 20, rel=0.05)


def test_every_step_mixes_anew_and_evaluation_mixes_nothing() -> None:
    source, x = Mixup(), embeddings()
    relation = Relation.pairs(N)
    first, second = source(x, x, relation)[0], source(x, x, relation)[0]
    assert not torch.equal(first, second)
    assert torch.equal(Mixup()(x, x, relation)[0], first)
    keys, same = source.eval()(x, x, relation)
    assert keys is x
    assert same is relation


@pytest.mark.parametrize("criterion", ["infonce", "generalized_contrastive", "list_net", "mse"])
def test_tiled_and_plain_gradients_agree_with_mixed_keys(criterion: str) -> None:
    found = []
    for execution in ("plain", "tiled"):
        objective = Objective(criterion, keys="mixup(seed=1)", execution=execution, tile=2).double()
        x, grades = embeddings().requires_grad_(), torch.rand(N, N, generator=torch.Generator().manual_seed(5))
        loss = objective(x, x, Relation.graded(grades))
        loss.backward()
        found.append((loss.detach(), x.grad))
    torch.testing.assert_close(found[1][0], found[0][0])
    torch.testing.assert_close(found[1][1], found[0][1])


def test_alpha_must_be_positive() -> None:
    with pytest.raises(UserError, match="alpha above 0"):
        Mixup(alpha=0)
