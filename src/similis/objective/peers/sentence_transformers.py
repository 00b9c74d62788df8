"""Losses of sentence-transformers' dense encoders in our words; each alias has the peer's parameters and defaults."""

from __future__ import annotations

from similis.errors import UserError, did_you_mean
from similis.objective.peers.base import ST, Ours, Table, inverse, number, ours
from similis.text import Call, Value, format_value

_losses = Table(ST, "loss")
_equal = _losses.equal

#: Similarities by the peer's functions, paired or of all pairs.
_SIMILARITIES = {
    "cos_sim": "cosine",
    "pytorch_cos_sim": "cosine",
    "pairwise_cos_sim": "cosine",
    "dot_score": "dot",
    "pairwise_dot_score": "dot",
    "euclidean_sim": "euclidean",
    "pairwise_euclidean_sim": "euclidean",
    "manhattan_sim": "manhattan",
    "pairwise_manhattan_sim": "manhattan",
    "pairwise_angle_sim": "angle",
}

_DIRECTIONS = {
    "query_to_doc": "q2k",
    "query_to_query": "q2q",
    "doc_to_query": "k2q",
    "doc_to_doc": "k2k",
}


def similarity_of(function: Value) -> str:
    """Our similarity by the name of the peer's function.

    Raises:
        UserError: an unknown function.
    """
    name = function.name if isinstance(function, Call) else str(function)
    if name not in _SIMILARITIES:
        raise UserError(f"similarity_fct {name!r} is not read here{did_you_mean(name, _SIMILARITIES)}")
    return _SIMILARITIES[name]


def infonce(scale: Value, similarity: Value, directions: Value, partition: Value) -> Ours:
    """The multiple-negatives loss in all its directions.

    Raises:
        UserError: an unknown direction or partition.
    """
    wanted = directions if isinstance(directions, list) else [directions]
    for direction in wanted:
        if direction not in _DIRECTIONS:
            shown = f"{format_value(direction)}{did_you_mean(str(direction), _DIRECTIONS)}"
            raise UserError(f"directions must be of {', '.join(_DIRECTIONS)}, not {shown}")
    if partition not in ("joint", "per_direction"):
        raise UserError(f"partition_mode must be joint or per_direction, not {format_value(partition)}")
    short: list[Value] = [_DIRECTIONS[str(direction)] for direction in wanted]
    chosen: Value = "+".join(map(str, short)) if partition == "joint" else short
    if short == ["q2k"]:
        chosen = None
    measure = similarity_of(similarity)
    return ours("infonce", {"temperature": inverse(scale)}, similarity=measure, directions=chosen)


_losses.none("AdaptiveLayerLoss", "training of a transformer's inner layers: none yet")


@_equal("AnglELoss")
def angle(scale: Value = 20.0) -> Ours:
    return ours("cosent", {"temperature": inverse(scale)}, similarity="angle")


@_equal("BatchAllTripletLoss")
def batch_all_triplet(distance_metric: Value = "euclidean_distance", margin: Value = 5) -> Ours:
    arguments: dict[str, Value] = {"margin": margin, "average": "nonzero"}
    return ours("triplet", arguments, similarity=_batch_distance(distance_metric), reduction="mean_terms")


def _batch_distance(metric: Value) -> str:
    known = {"euclidean_distance": "euclidean", "cosine_distance": "cosine"}
    if metric not in known:
        raise UserError(f"distance_metric must be one of {', '.join(known)}, not {format_value(metric)}")
    return known[str(metric)]


@_equal("BatchHardSoftMarginTripletLoss", where="every row has a positive and a negative")
def batch_hard_soft_margin(distance_metric: Value = "euclidean_distance") -> Ours:
    arguments: dict[str, Value] = {"margin": 0.0, "smooth": True}
    return ours("triplet", arguments, similarity=_batch_distance(distance_metric), miner="batch_hard")


@_equal("BatchHardTripletLoss", where="every row has a positive and a negative")
def batch_hard(distance_metric: Value = "euclidean_distance", margin: Value = 5) -> Ours:
    return ours("triplet", {"margin": margin}, similarity=_batch_distance(distance_metric), miner="batch_hard")


_losses.same("BatchHardTripletLossDistanceFunction", "similarity=euclidean", "an argument: `cosine_distance` is cosine")


@_equal("BatchSemiHardTripletLoss")
def batch_semi_hard(distance_metric: Value = "euclidean_distance", margin: Value = 5) -> Ours:
    arguments: dict[str, Value] = {"margin": margin, "negatives": "nearest"}
    return ours("triplet", arguments, similarity=_batch_distance(distance_metric), reduction="mean_terms")


@_equal("CoSENTLoss")
def cosent(scale: Value = 20.0, similarity_fct: Value = "pairwise_cos_sim") -> Ours:
    return ours("cosent", {"temperature": inverse(scale)}, similarity=similarity_of(similarity_fct))


@_equal("ContrastiveLoss", note="on labelled pairs; of cosine distances 1 - s")
def contrastive(distance_metric: Value = "COSINE_DISTANCE", margin: Value = 0.5, size_average: Value = True) -> Ours:
    metrics = {"COSINE_DISTANCE": ("cosine", 1), "EUCLIDEAN": ("euclidean", 0), "MANHATTAN": ("manhattan", 0)}
    if distance_metric not in metrics:
        raise UserError(f"distance_metric must be one of {', '.join(metrics)}, not {format_value(distance_metric)}")
    similarity, top = metrics[str(distance_metric)]
    bounds: dict[str, Value] = {"positive_margin": top, "negative_margin": top - number(margin, "margin")}
    average = "pairs" if size_average else "sum"
    return ours("contrastive", {**bounds, "power": 2, "average": average}, similarity=similarity)


_losses.none("ContrastiveTensionDataLoader", "a loader of the peer's old format")
_losses.where(
    "ContrastiveTensionLoss",
    "contrastive_tension",
    "with `stepping=two_encoders`, on labelled pairs: a text with itself is 1, with another 0",
)
_losses.where(
    "ContrastiveTensionLossInBatchNegatives",
    "clip(temperature=0.05)",
    "with `stepping=two_encoders`, on texts with themselves (`pairs=same`)",
)


@_equal("CosineSimilarityLoss")
def cosine_similarity() -> Ours:
    return ours("mse")


_losses.none("DenoisingAutoEncoderLoss", "it trains a decoder")


@_equal("DistillKLDivLoss", note="each query with its own list of keys")
def distill_kl(
    similarity_fct: Value = "pairwise_dot_score",
    temperature: Value = 1.0,
    student_temperature: Value = None,
    teacher_temperature: Value = None,
) -> Ours:
    own = temperature if student_temperature is None else student_temperature
    other = temperature if teacher_temperature is None else teacher_temperature
    arguments: dict[str, Value] = {"temperature": own, "teacher_temperature": None if other == own else other}
    return ours("distill_kl", arguments, similarity=similarity_of(similarity_fct))


_losses.where(
    "EmbedDistillLoss",
    "attract, similarity=match(squared=0, cosine=1)",
    "up to a constant, 1 less; keys are the teacher's embeddings; `mse` is `match(cosine=0)`, `l2` is `euclidean`",
)


@_equal(
    "GISTEmbedLoss",
    "CachedGISTEmbedLoss",
    where="on pairs; with given negatives ours compares the positives with these too",
)
def gist(
    temperature: Value = 0.01,
    margin_strategy: Value = "absolute",
    margin: Value = 0.0,
    contrast_anchors: Value = True,
    contrast_positives: Value = True,
) -> Ours:
    among = ["q2k", *(["q2q"] if contrast_anchors else []), *(["k2k"] if contrast_positives else [])]
    miner = Call("gist", {"margin": margin, "strategy": margin_strategy})
    return ours("infonce", {"temperature": temperature}, miner=miner, directions="+".join(among))


_losses.same(
    "GlobalOrthogonalRegularizationLoss", "regularizers=[global_orthogonal(1)]", "both weights 1, as is their default"
)


@_equal("MSELoss", note="keys are the teacher's embeddings; a projection has no counterpart")
def mse() -> Ours:
    return ours("attract", similarity=Call("match", {"cosine": 0}))


@_equal("MarginMSELoss", note="each query with its own list of keys, the positive first")
def margin_mse(similarity_fct: Value = "pairwise_dot_score") -> Ours:
    return ours("margin_mse", similarity=similarity_of(similarity_fct))


_losses.none("Matryoshka2dLoss", "training of a transformer's inner layers: none yet; `matryoshka` is its other half")
_losses.where(
    "MatryoshkaLoss",
    "matryoshka=[384, 128, 32]",
    "times the number of dimensions: the peer adds up the losses of the prefixes, ours is their mean",
)


@_equal("MegaBatchMarginLoss", note="on pairs; mini-batches belong to training")
def mega_batch_margin(
    positive_margin: Value = 0.8, negative_margin: Value = 0.3, use_mini_batched_version: Value = True
) -> Ours:
    return ours("mega_batch_margin", {"positive_margin": positive_margin, "negative_margin": negative_margin})


@_equal(
    "MultipleNegativesRankingLoss",
    "CachedMultipleNegativesRankingLoss",
    note="`hardness_mode` has no counterpart; mini-batches belong to training",
)
def multiple_negatives_ranking(
    scale: Value = 20.0,
    similarity_fct: Value = "cos_sim",
    directions: Value = "query_to_doc",
    partition_mode: Value = "joint",
) -> Ours:
    return infonce(scale, similarity_fct, directions, partition_mode)


@_equal("MultipleNegativesSymmetricRankingLoss", "CachedMultipleNegativesSymmetricRankingLoss")
def multiple_negatives_symmetric(scale: Value = 20.0, similarity_fct: Value = "cos_sim") -> Ours:
    both: list[Value] = ["query_to_doc", "doc_to_query"]
    return infonce(scale, similarity_fct, both, "per_direction")


_losses.where(
    "OnlineContrastiveLoss",
    "contrastive(positive_margin=1, negative_margin=0.5, power=2, average=sum), miner=multi_similarity(epsilon=0)",
    "times 2: Hadsell's ½ is left out by the peer; on labelled pairs of both kinds",
)
_losses.same("SiameseDistanceMetric", "similarity=cosine", "an argument of ContrastiveLoss")
_losses.none("SoftmaxLoss", "a classifier on (u, v, |u - v|), not a similarity")
_losses.same("TripletDistanceMetric", "similarity=euclidean", "an argument of TripletLoss")
_losses.where(
    "TripletLoss",
    "triplet(margin=5), similarity=euclidean",
    "with `Relation.triplets(n, in_batch=False)`: the peer compares each anchor with its own negative alone",
)

ROWS = tuple(sorted(_losses.rows, key=lambda row: row.name.lower()))
