"""Miners keep the pairs of pytorch-metric-learning's miners, an independent implementation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pytorch_metric_learning import distances, miners
from sentence_transformers.sentence_transformer import losses as st
from torch import Tensor, nn
from torch.nn.functional import normalize

from similis.objective import Objective
from similis.registry import bind
from similis.relation import Relation

COSINE, EUCLIDEAN = distances.CosineSimilarity(), distances.LpDistance()


def batch(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 5, (20,), generator=generator)
    x = torch.randn(20, 8, generator=generator, dtype=torch.float64)
    return normalize(x + torch.randn(5, 8, generator=generator, dtype=torch.float64)[y], dim=-1), y


def easy_hard(positive: str, negative: str, **ranges: Any) -> Any:
    spelled = {"semi_hard": "semihard"}
    return miners.BatchEasyHardMiner(
        pos_strategy=spelled.get(positive, positive),
        neg_strategy=spelled.get(negative, negative),
        distance=COSINE,
        **ranges,
    )


PEERS: dict[str, Any] = {
    "batch_hard": miners.BatchHardMiner(distance=COSINE),
    "hard_positive": easy_hard("hard", "all"),
    "easy_positive": easy_hard("easy", "all"),
    "multi_similarity": miners.MultiSimilarityMiner(0.1),
    "multi_similarity(epsilon=0.3)": miners.MultiSimilarityMiner(0.3),
    "pair_margin(positive_margin=0.6, negative_margin=0.3)": miners.PairMarginMiner(0.6, 0.3, distance=COSINE),
    "batch_easy_hard(positive_range=[0.0, 0.6], negative_range=[-0.2, 0.4])": easy_hard(
        "easy", "semi_hard", allowed_pos_range=(0.0, 0.6), allowed_neg_range=(-0.2, 0.4)
    ),
    "angular(angle=25.0)": miners.AngularMiner(25),
    **{
        f"batch_easy_hard(positive={p}, negative={n})": easy_hard(p, n)
        for p, n in [
            ("easy", "easy"),
            ("hard", "easy"),
            ("easy", "semi_hard"),
            ("hard", "semi_hard"),
            ("semi_hard", "hard"),
            ("semi_hard", "easy"),
            ("all", "hard"),
        ]
    },
    **{
        f"triplet_margin(margin=0.2, triplets={ours})": miners.TripletMarginMiner(0.2, theirs, distance=COSINE)
        for ours, theirs in [("all", "all"), ("hard", "hard"), ("semi_hard", "semihard"), ("easy", "easy")]
    },
    "semi_hard(margin=0.15)": miners.TripletMarginMiner(0.15, "semihard", distance=COSINE),
}


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_pairs_kept_are_the_peers(name: str, seed: int) -> None:
    x, y = batch(seed)
    found = PEERS[name](x, y)
    a, p, b, n = found if len(found) == 4 else (found[0], found[1], found[0], found[2])
    positive, negative = torch.zeros(20, 20, dtype=torch.bool), torch.zeros(20, 20, dtype=torch.bool)
    positive[a, p], negative[b, n] = True, True
    mined = bind("miner", name).build()(x @ x.T, Relation.labels(y).rows())
    assert torch.equal(mined.positive, positive)
    assert torch.equal(mined.negative, negative)
    assert bool(positive.any())


@pytest.mark.parametrize(
    ("peer", "method", "ours"),
    [
        (st.BatchHardTripletLoss, "batch_hard_triplet_loss", "triplet(margin=2.0)"),
        (
            st.BatchHardSoftMarginTripletLoss,
            "batch_hard_triplet_soft_margin_loss",
            "triplet(margin=0.0, smooth=True)",
        ),
    ],
)
def test_batch_hard_triplets_are_those_of_sentence_transformers(peer: Any, method: str, ours: str) -> None:
    x, _ = batch()
    y = torch.arange(20) % 5
    loss = peer.__new__(peer)  # without a model: its arithmetic alone
    nn.Module.__init__(loss)
    loss.triplet_margin, loss.distance_metric = 2.0, lambda e: torch.cdist(e, e)
    objective = Objective(ours, similarity="euclidean", miner="batch_hard")
    torch.testing.assert_close(objective(x, x, Relation.labels(y)), getattr(loss, method)(y, x))
