"""Claims on synthetic pairs: two noisy views of hidden vectors, with wrong pairs or false negatives planted."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.functional import normalize

from claim_cases.claim import Claim, Trial
from claim_cases.data import Pairs, two_views
from claim_cases.judging import paired_ranks, scores_between
from claim_cases.learning import Batch, encode, fit, network
from similis.objective import Objective
from similis.registry import bind
from similis.relation import Relation

#: (indices of the batch) → its relation.
Related = Callable[[Tensor], Relation]


def _batches(data: Pairs, related: Related, *, steps: int, seed: int, size: int) -> Iterator[Batch]:
    draw = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        picked = torch.randperm(len(data.queries), generator=draw)[:size]
        yield Batch(data.queries[picked], data.keys[picked], related(picked))


def _plain(picked: Tensor) -> Relation:
    return Relation.pairs(len(picked))


def _trained(
    text: str, trial: Trial, data: Pairs, related: Related = _plain, size: int = 64
) -> tuple[Objective, Tensor, Tensor]:
    """The objective, and the embeddings of the test queries and keys."""
    torch.manual_seed(trial.seed)
    left, right = network(data.queries.shape[1]), network(data.keys.shape[1])
    batches = _batches(data, related, steps=trial.steps(300), seed=trial.seed, size=size)
    objective = fit(text, left, batches, key_tower=right)
    return objective, encode(left, data.test_queries), encode(right, data.test_keys)


def _recall(objective: Objective, queries: Tensor, keys: Tensor) -> dict[str, float]:
    ranks = paired_ranks(scores_between(objective, queries, keys))
    return {"recall@1": float((ranks == 1).double().mean()), "mrr": float((1 / ranks).mean())}


def near_duplicates(text: str, trial: Trial) -> dict[str, float]:
    """Five items to a tight topic: most mistakes are near duplicates of the right key."""
    return _recall(*_trained(text, trial, two_views(trial.seed, near=0.4)))


def small_batches(text: str, trial: Trial) -> dict[str, float]:
    """Batches of 8."""
    return _recall(*_trained(text, trial, two_views(trial.seed), size=8))


def wrong_pairs(text: str, trial: Trial) -> dict[str, float]:
    """40 % of the training pairs are shuffled."""
    data = two_views(trial.seed)
    draw = torch.Generator().manual_seed(trial.seed + 1000)
    moved = torch.nonzero(torch.rand(len(data.keys), generator=draw) < 0.4).squeeze(1)
    keys = data.keys.clone()
    keys[moved] = data.keys[moved[torch.randperm(len(moved), generator=draw)]]
    noisy = Pairs(data.queries, keys, data.topics, data.test_queries, data.test_keys, data.test_topics)
    return _recall(*_trained(text, trial, noisy))


def _crowded(seed: int) -> Pairs:
    """Twelve topics, whose items are all but equal: five or so of a batch of 64 are of the same topic."""
    return two_views(seed, topics=12, near=0.05)


def _guided(data: Pairs) -> Related:
    """A guide that knows the topics."""
    guide = torch.eye(int(data.topics.max()) + 1)[data.topics]

    def related(picked: Tensor) -> Relation:
        made = Relation.pairs(len(picked))
        made.guide = (guide[picked], guide[picked])
        return made

    return related


def false_negatives(text: str, trial: Trial) -> dict[str, float]:
    """Pairs of one topic are the same thing: a key of the query's topic is right, though no pair says so."""
    data = _crowded(trial.seed)
    objective, queries, keys = _trained(text, trial, data, _guided(data))
    scores = scores_between(objective, queries, keys)
    near = scores.topk(10, dim=1).indices
    right = data.test_topics[near] == data.test_topics[:, None]
    return {"precision@10": float(right.double().mean())}


def masked(text: str, trial: Trial) -> dict[str, float]:
    """Which negatives a miner leaves out, against those planted as false (1 is exact)."""
    data = _crowded(trial.seed)
    picked = torch.randperm(len(data.topics), generator=torch.Generator().manual_seed(trial.seed))[:256]
    rows = _guided(data)(picked).rows()
    planted = (data.topics[picked][:, None] == data.topics[picked]) & ~rows.positive
    kept = rows if text == "no miner" else bind("miner", text).build()(torch.zeros(256, 256), rows)
    left_out = ~kept.known
    either = (planted | left_out).sum()
    return {"overlap of masked and planted": float((planted & left_out).sum() / either)}


def mined(text: str, trial: Trial) -> dict[str, float]:
    """Share of false negatives among the 10 that a miner keeps by a teacher's noisy scores."""
    data = _crowded(trial.seed)
    draw = torch.Generator().manual_seed(trial.seed)
    picked = torch.randperm(len(data.topics), generator=draw)[:256]
    topics = torch.eye(12)[data.topics[picked]]
    views = [normalize(topics + 0.12 * torch.randn(256, 12, generator=draw), dim=1) for _ in range(2)]
    scores = views[0] @ views[1].T
    rows = Relation.pairs(256).rows()
    kept = bind("miner", text).build()(scores, rows)
    same = data.topics[picked][:, None] == data.topics[picked]
    return {"share of false negatives": float((kept.negative & same).sum() / kept.negative.sum().clamp_min(1))}


def frozen_tower(text: str, trial: Trial) -> dict[str, float]:
    """Align a tower with frozen embeddings of 30 topics' texts; judge by naming the topic of unseen items."""
    data = two_views(trial.seed, topics=30, near=0.4)
    draw = torch.Generator().manual_seed(trial.seed + 1000)
    topic = torch.randn(30, 16, generator=draw)
    frozen = normalize(topic[data.topics] + 0.5 * torch.randn(len(data.topics), 16, generator=draw), dim=1)
    torch.manual_seed(trial.seed)
    tower = network(48)

    def batches() -> Iterator[Batch]:
        chosen = torch.Generator().manual_seed(trial.seed)
        for _ in range(trial.steps(200)):
            picked = torch.randperm(len(frozen), generator=chosen)[:64]
            relation = Relation.pairs(64)
            relation.guide = (frozen[picked], frozen[picked])
            yield Batch(data.queries[picked], frozen[picked], relation)

    fit(text, tower, batches(), key_tower=torch.nn.Identity())
    named = (normalize(encode(tower, data.test_queries), dim=1) @ normalize(topic, dim=1).T).argmax(1)
    return {"zero-shot accuracy": float((named == data.test_topics).double().mean())}


def languages(text: str, trial: Trial) -> dict[str, float]:
    """Each item has four captions of unequal noise. Trained on pairs with the first, or on all at once."""
    data = two_views(trial.seed)
    draw = torch.Generator().manual_seed(trial.seed + 1000)

    def captions(keys: Tensor) -> list[Tensor]:
        return [keys + noise * torch.randn(keys.shape, generator=draw) for noise in (0.0, 0.3, 0.6, 0.9)]

    train, test = torch.stack(captions(data.keys)), captions(data.test_keys)
    torch.manual_seed(trial.seed)
    left, right = network(48), network(32)
    pivot = text.startswith("infonce")

    def batches() -> Iterator[Batch]:
        for step in range(trial.steps(300)):
            picked = torch.randperm(train.shape[1], generator=draw)[:64]
            if pivot:  # every other step aligns a caption with the pivot's, as pivot-language training does
                other = train[1 + step // 2 % 3][picked]
                queries = other if step % 2 else data.queries[picked]
                yield Batch(_padded(queries), _padded(train[0][picked]), Relation.pairs(64))
            else:
                items = torch.arange(64)
                keys = train[:, picked].reshape(-1, train.shape[2])
                yield Batch(_padded(data.queries[picked]), _padded(keys), Relation.labels(items, items.repeat(4)))

    both = _Both(left, right)
    objective = fit(text, both, batches(), key_tower=both)
    queries = encode(left, data.test_queries)
    ranks = torch.stack([paired_ranks(scores_between(objective, queries, encode(right, t))) for t in test])
    return {
        "mean rank variance": float(ranks.var(0, unbiased=False).mean()),
        "recall@1": float((ranks == 1).double().mean()),
    }


class _Both(torch.nn.Module):
    """One call for items ``[n, 48]`` and captions ``[n, 32]``; captions are told by the NaN they are padded with."""

    def __init__(self, left: torch.nn.Module, right: torch.nn.Module) -> None:
        super().__init__()
        self.left, self.right = left, right

    def forward(self, features: Tensor) -> Tensor:
        made: Tensor = self.right(features[:, :32]) if bool(features[:, 32:].isnan().all()) else self.left(features)
        return made


def _padded(features: Tensor) -> Tensor:
    room = features.new_full((len(features), 48 - features.shape[1]), float("nan"))
    return torch.cat([features, room], 1)


INFONCE = "infonce(temperature=0.05)"

CLAIMS = (
    Claim(
        "hn_nce",
        "With near-duplicate distractors, hardening the negatives (β = 0.25) gives a higher Recall@1 than InfoNCE",
        ("criterion", "hn_nce"),
        near_duplicates,
        'infonce(temperature=0.05), directions=["q2k", "k2q"]',
        'hn_nce(temperature=0.05, beta=0.25), directions=["q2k", "k2q"]',
        "recall@1",
    ),
    Claim(
        "siglip_small_batches",
        "In batches of 8 the sigmoid loss gives a higher Recall@1 than the softmax loss",
        ("criterion", "siglip"),
        small_batches,
        "clip",
        "siglip",
        "recall@1",
    ),
    Claim(
        "queue",
        "In batches of 8 a memory of past keys gives a higher Recall@1",
        ("keys", "queue"),
        small_batches,
        INFONCE,
        "infonce(temperature=0.05), keys=queue(size=256)",
        "recall@1",
    ),
    Claim(
        "triplet_alignment",
        "With 40 % of the pairs shuffled, triplet alignment gives a higher Recall@1 than the hardest-negative triplet",
        ("criterion", "triplet_alignment"),
        wrong_pairs,
        'triplet(margin=0.1), miner=batch_hard, directions=["q2k", "k2q"]',
        'triplet_alignment(margin=0.1), directions=["q2k", "k2q"]',
        "recall@1",
    ),
    Claim(
        "gist_mask",
        "With an oracle for a guide, guided selection leaves out exactly the planted false negatives",
        ("miner", "gist"),
        masked,
        "no miner",
        # Equal similarity is no more than the positive's own, so the smallest margin makes ties false negatives.
        "gist(margin=0.01)",
        "overlap of masked and planted",
    ),
    Claim(
        "gist_precision",
        "With planted false negatives, leaving out what the guide suspects gives a higher precision",
        ("miner", "gist"),
        false_negatives,
        INFONCE,
        "infonce(temperature=0.05), miner=gist(margin=0.01)",
        "precision@10",
    ),
    Claim(
        "positive_aware_share",
        "Hard negatives below 95 % of the positive's score are less often false than the plain top ten",
        ("miner", "positive_aware"),
        mined,
        "hardest_negatives(k=10)",
        "positive_aware(margin=0.05, k=10)",
        "share of false negatives",
        "lower",
    ),
    Claim(
        "positive_aware_precision",
        "An encoder trained on them has a higher precision than one trained on the plain top ten",
        ("miner", "positive_aware"),
        false_negatives,
        "infonce(temperature=0.05), miner=hardest_negatives(k=10)",
        "infonce(temperature=0.05), miner=positive_aware(margin=0.05, k=10)",
        "precision@10",
    ),
    Claim(
        "cwcl",
        "Weighing pairs by a frozen tower's similarity gives a higher zero-shot accuracy than InfoNCE",
        ("criterion", "cwcl"),
        frozen_tower,
        INFONCE,
        "cwcl(temperature=0.05)",
        "zero-shot accuracy",
    ),
    Claim(
        "one_to_k_variance",
        "Captions of four languages as equal positives vary less in rank than with a pivot language",
        ("criterion", "multi_positive"),
        languages,
        INFONCE,
        "multi_positive(temperature=0.05)",
        "mean rank variance",
        "lower",
    ),
    Claim(
        "one_to_k_recall",
        "Captions of four languages as equal positives do not cost Recall@1 (0.01 is the slack)",
        ("criterion", "multi_positive"),
        languages,
        INFONCE,
        "multi_positive(temperature=0.05)",
        "recall@1",
        slack=0.01,
    ),
)
