"""Distances, miners, reducers and regularizers of pytorch-metric-learning in our words."""

from __future__ import annotations

from typing import NamedTuple

from similis.errors import UserError, did_you_mean
from similis.objective.peers.base import PML, Table, named
from similis.text import FIRST, Call, Value


class Distance(NamedTuple):
    """A similarity, and the sign that turns the peer's margins into scores: -1 for distances."""

    similarity: str
    sign: int


#: ``(class, power, normalize_embeddings)`` of the peer → our similarity.
_SIMILARITIES = {
    ("CosineSimilarity", 1, True): "cosine",
    ("DotProductSimilarity", 1, True): "cosine",
    ("DotProductSimilarity", 1, False): "dot",
    ("LpDistance", 1, True): "euclidean(normalized=True)",
    ("LpDistance", 1, False): "euclidean",
    ("LpDistance", 2, True): "euclidean(squared=True, normalized=True)",
    ("LpDistance", 2, False): "euclidean(squared=True)",
    ("SNRDistance", 1, True): "snr(normalized=True)",
    ("SNRDistance", 1, False): "snr",
}


def distance_of(given: Value, default: Value) -> Distance:
    """The peer's ``distance=LpDistance(power=2)`` in our words; ``default`` where it is None.

    Raises:
        UserError: another distance, or one of its arguments that has no counterpart.
    """
    call = named(default if given is None else given, "distance")
    names = {name for name, _, _ in _SIMILARITIES}
    if call.name not in names:
        raise UserError(f"distance {call.name!r} is not read here{did_you_mean(call.name, names)}")
    for name in call.arguments:
        if name not in ("p", "power", "normalize_embeddings"):
            raise UserError(f"{call} is not read here: {call.name} has no counterpart of {name or 'that value'!r}")
    power, normalized = call.arguments.get("power", 1), call.arguments.get("normalize_embeddings", True)
    similarity = _SIMILARITIES.get((call.name, power, normalized))  # type: ignore[arg-type]
    if similarity is None or call.arguments.get("p", 2) != 2:
        raise UserError(f"{call} has no counterpart here: p must be 2 and power 1, or 2 for LpDistance")
    return Distance(similarity, -1 if call.name in ("LpDistance", "SNRDistance") else 1)


#: What a reducer of rows is called.
ROW_REDUCERS = {"MeanReducer": "mean", "AvgNonZeroReducer": "mean_nonzero", "SumReducer": "sum"}

#: What a reducer of triplets is: how a row averages, and how rows are reduced.
TRIPLET_REDUCERS = {
    "MeanReducer": ("all", "mean_terms"),
    "AvgNonZeroReducer": ("nonzero", "mean_terms"),
    "SumReducer": ("sum", "sum"),
}


def reducer_of(given: Value, default: str) -> str:
    """The name of the peer's reducer, checked.

    Raises:
        UserError: a reducer that has no counterpart.
    """
    name = named(default if given is None else given, "reducer").name
    if name not in ROW_REDUCERS:
        raise UserError(f"reducer {name!r} is not read here: it must be one of {', '.join(ROW_REDUCERS)}")
    return name


_REGULARIZERS = {
    "LpRegularizer": ("lp_norm", "embedding"),
    "ZeroMeanRegularizer": ("zero_mean", "embedding"),
    "CenterInvariantRegularizer": ("center_invariant", "weight"),
    "RegularFaceRegularizer": ("regular_face", "weight"),
    "SparseCentersRegularizer": ("sparse_centers", "weight"),
}


def regularizer_of(given: Value, weight: Value, reads: str) -> Call:
    """The peer's ``embedding_regularizer`` or ``weight_regularizer`` as one of ours, with its weight.

    Raises:
        UserError: one that has no counterpart for what it reads.
    """
    call = named(given, f"{reads}_regularizer")
    fitting = [name for name, (_, of) in _REGULARIZERS.items() if of == reads]
    if call.name not in fitting:
        raise UserError(f"{reads}_regularizer {call.name!r} is not read here: it must be one of {', '.join(fitting)}")
    arguments = {k: v for k, v in call.arguments.items() if k != "num_classes"}
    if "centers_per_class" in arguments:
        arguments["per_class"] = arguments.pop("centers_per_class")
    return Call(_REGULARIZERS[call.name][0], {FIRST: weight, **arguments})


_distances = Table(PML, "distance")
_distances.none("BaseDistance", "the base of the others; ours is the class `Similarity`")
_distances.same("BatchedDistance", "execution=tiled", "the same result in tiles of rows; `auto` tiles large batches")
_distances.same("CosineSimilarity", "similarity=cosine")
_distances.same("DotProductSimilarity", "similarity=cosine", "it normalizes by default; `dot` is its unnormalized form")
_distances.same(
    "LpDistance",
    "similarity=euclidean(normalized=True)",
    "scores are minus distances, so margins change sign; `squared=True` is power=2; other p: `lp(p=3)`, `manhattan`",
)
_distances.same("SNRDistance", "similarity=snr(normalized=True)", "without its `[n, n, d]` differences")

_miners = Table(PML, "miner")
_miners.none("BaseMiner", "the base of the others; a miner here is a function of scores and relation")
_miners.same("AngularMiner", "miner=angular(angle=20)", "as the pairs that remain")
_miners.same(
    "BatchEasyHardMiner",
    "miner=batch_easy_hard(positive=easy, negative=semi_hard)",
    "`allowed_pos_range` and `allowed_neg_range` are `positive_range` and `negative_range`, in scores",
)
_miners.same("BatchHardMiner", "miner=batch_hard")
_miners.differs(
    "DistanceWeightedMiner",
    "miner=distance_weighted(dimension=384)",
    "a random draw: the same distribution over negatives, not the same numbers; it needs the dimension",
)
_miners.same(
    "EmbeddingsAlreadyPackagedAsTriplets",
    "Relation.triplets(n, in_batch=False)",
    "a relation, not a miner: keys are the positives, then the negatives",
)
_miners.none(
    "HDCMiner", "it takes a share of the hardest pairs of the whole batch; `hardest_negatives(k)` takes k a row"
)
_miners.same("MultiSimilarityMiner", "miner=multi_similarity(epsilon=0.1)")
_miners.same(
    "PairMarginMiner",
    "miner=pair_margin(positive_margin=-0.2, negative_margin=-0.8), similarity=euclidean(normalized=True)",
    "our own defaults are cosines",
)
_miners.same(
    "TripletMarginMiner",
    "miner=triplet_margin(margin=0.2, triplets=all)",
    "as the pairs that remain; for a triplet loss over the very triplets write `triplet(negatives=semi_hard)`",
)
_miners.differs(
    "UniformHistogramMiner",
    "miner=uniform_histogram(bins=100, positives_per_bin=10, negatives_per_bin=10)",
    "a random draw: the peer draws with replacement, so that a pair may count twice",
)

_reducers = Table(PML, "reducer")
_reducers.none("BaseReducer", "the base of the others")
_reducers.same("MeanReducer", "reduction=mean", "`mean_terms` where the peer's loss is one of pairs or triplets")
_reducers.same("AvgNonZeroReducer", "reduction=mean_nonzero", "of triplets: `average=nonzero`, reduction=mean_terms")
_reducers.same("SumReducer", "reduction=sum", "of triplets: with `average=sum`")
_reducers.where("ThresholdReducer", "reduction=mean_nonzero", "with `low=0`; other thresholds have no counterpart")
_reducers.differs(
    "ClassWeightedReducer",
    "Relation(row_weight=weights[labels])",
    "weights of rows: the mean is divided by the sum of weights, the peer's by the number of rows",
)
_reducers.where("DivisorReducer", "reduction=mean", "the divisors are part of the criteria that the peer uses it for")
_reducers.where("PerAnchorReducer", "reduction=mean", "the default of ours: a row is averaged first, then the rows")
_reducers.none("MultipleReducers", "terms of one loss reduced in different ways; here each criterion fixes its terms")
_reducers.none("DoNothingReducer", "call the criterion itself for a loss a row: `objective.criterion(scores, rows)`")

_regularizers = Table(PML, "regularizer")
_regularizers.none("BaseRegularizer", "the base of the others")
_regularizers.same("CenterInvariantRegularizer", "regularizers=[center_invariant(1)]", "reads the class proxies")
_regularizers.same("LpRegularizer", "regularizers=[lp_norm(1, p=2, power=1)]")
_regularizers.same("RegularFaceRegularizer", "regularizers=[regular_face(1)]", "reads the class proxies")
_regularizers.same(
    "SparseCentersRegularizer",
    "regularizers=[sparse_centers(1, per_class=2)]",
    "reads the class proxies; theirs are class by class, ours proxy j belongs to class j mod C",
)
_regularizers.same("ZeroMeanRegularizer", "regularizers=[zero_mean(1)]")

ROWS = (*_distances.rows, *_miners.rows, *_reducers.rows, *_regularizers.rows)
