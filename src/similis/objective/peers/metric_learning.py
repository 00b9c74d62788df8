"""Losses of pytorch-metric-learning in our words; each alias has the peer's parameters and defaults."""

from __future__ import annotations

from similis.errors import UserError
from similis.objective.peers.base import PML, Ours, Table, named, number, ours
from similis.objective.peers.metric_learning_parts import ROW_REDUCERS, TRIPLET_REDUCERS, distance_of, reducer_of
from similis.text import FIRST, Call, Value

_losses = Table(PML, "loss")
_equal = _losses.equal

_BOTH = "every row has a positive and a negative"


def _signed(value: Value, sign: int, name: str) -> float:
    return sign * number(value, name) + 0


@_equal("AngularLoss", where="embeddings have unit length: the peer does not normalize its negatives")
def angular(alpha: Value = 40) -> Ours:
    return ours("angular", {"alpha": alpha}, reduction="mean_terms")


_losses.none("BaseLossWrapper", "the base of the wrappers")
_losses.none("BaseMetricLossFunction", "the base of the others; a criterion here is a function of scores and relation")


@_equal("CircleLoss")
def circle(m: Value = 0.4, gamma: Value = 80, reducer: Value = None) -> Ours:
    reduction = ROW_REDUCERS[reducer_of(reducer, "AvgNonZeroReducer")]
    return ours("circle", {"margin": m, "scale": gamma}, reduction=reduction)


@_equal("ContrastiveLoss", note="the mean over the batch's violating pairs, which is tcm's; margins change sign")
def contrastive(pos_margin: Value = 0, neg_margin: Value = 1, distance: Value = None) -> Ours:
    return _contrastive(pos_margin, neg_margin, distance, "LpDistance")


def _contrastive(pos_margin: Value, neg_margin: Value, distance: Value, default: str) -> Ours:
    similarity, sign = distance_of(distance, default)
    positive, negative = _signed(pos_margin, sign, "pos_margin"), _signed(neg_margin, sign, "neg_margin")
    return ours("tcm", {"positive_margin": positive, "negative_margin": negative}, similarity=similarity)


@_equal("CrossBatchMemory", note="around any loss that is an alias; `miner` has no counterpart", loss="ContrastiveLoss")
def cross_batch_memory(loss: Value, embedding_size: Value = None, memory_size: Value = 1024) -> Ours:
    from similis.objective.aliases import translate

    call = named(loss, "loss")
    # The one that is both libraries' is this library's here.
    found = translate(call, PML)
    if found is None:
        raise UserError(
            f"CrossBatchMemory needs a loss of {PML}, as in CrossBatchMemory(loss=NTXentLoss()), not {call}"
        )
    keys = Call("xbm", {"size": memory_size, **({} if embedding_size is None else {"dimension": embedding_size})})
    return Ours(found.criterion, {**found.settings, "keys": keys})


_losses.where(
    "DynamicSoftMarginLoss",
    "dynamic_soft_margin, similarity=euclidean(normalized=True)",
    "on the first batch: the peer then adds counts to shares, so that its momentum is not the documented one",
)
_losses.none("EmbeddingRegularizerMixin", "the setting `regularizers`")


@_equal("FastAPLoss", note="squared distances 0..4 are cosines 1..-1")
def fast_ap(num_bins: Value = 10) -> Ours:
    return ours("fast_ap", {"bins": num_bins})


@_equal("GeneralizedLiftedStructureLoss", where=_BOTH)
def generalized_lifted_structure(neg_margin: Value = 1, pos_margin: Value = 0, distance: Value = None) -> Ours:
    return _lifted("generalized_lifted_structure", neg_margin, pos_margin, distance, None)


def _lifted(name: str, neg_margin: Value, pos_margin: Value, distance: Value, reduction: str | None) -> Ours:
    similarity, sign = distance_of(distance, "LpDistance")
    negative, positive = _signed(neg_margin, sign, "neg_margin"), _signed(pos_margin, sign, "pos_margin")
    margins: dict[str, Value] = {"negative_margin": negative, "positive_margin": positive}
    return ours(name, margins, similarity=similarity, reduction=reduction)


_losses.none("GenericPairLoss", "the base of others")


@_equal("HistogramLoss")
def histogram(n_bins: Value = None, delta: Value = None) -> Ours:
    bins = n_bins if delta is None else round(2 / number(delta, "delta"))
    return ours("histogram", {"bins": 100 if bins is None else bins})


_losses.none("InstanceLoss", "it takes the class number for a position in the batch: column y of the batch's cosines")


@_equal("IntraPairVarianceLoss")
def intra_pair_variance(pos_eps: Value = 0.01, neg_eps: Value = 0.01) -> Ours:
    return ours("intra_pair_variance", {"positive_slack": pos_eps, "negative_slack": neg_eps})


@_equal("LiftedStructureLoss", note="margins change sign")
def lifted_structure(neg_margin: Value = 1, pos_margin: Value = 0, distance: Value = None) -> Ours:
    return _lifted("lifted_structure", neg_margin, pos_margin, distance, "mean_terms")


_losses.none("ManifoldLoss", "a random walk over items and proxies: it inverts a matrix of the batch and draws classes")


@_equal("MarginLoss", note="beta is minus our boundary")
def margin(
    margin: Value = 0.2, nu: Value = 0, beta: Value = 1.2, learn_beta: Value = False, distance: Value = None
) -> Ours:
    similarity, sign = distance_of(distance, "LpDistance")
    boundary = _signed(beta, sign, "beta")
    arguments: dict[str, Value] = {"margin": margin, "boundary": boundary, "learned": learn_beta, "nu": nu}
    return ours("margin", {**arguments, "average": "triplets"}, similarity=similarity, reduction="mean_terms")


@_equal("MultiSimilarityLoss")
def multi_similarity(
    alpha: Value = 2, beta: Value = 50, base: Value = 0.5, distance: Value = None, reducer: Value = None
) -> Ours:
    similarity, sign = distance_of(distance, "CosineSimilarity")
    reduction = ROW_REDUCERS[reducer_of(reducer, "MeanReducer")]
    arguments: dict[str, Value] = {"alpha": alpha, "beta": beta, "base": _signed(base, sign, "base")}
    return ours("multi_similarity", arguments, similarity=similarity, reduction=_unless_mean(reduction))


def _unless_mean(reduction: str) -> str | None:
    return None if reduction == "mean" else reduction


_losses.none("MultipleLosses", "add objectives, or set a second criterion among the regularizers: `[tcm(0.5)]`")


@_equal("NCALoss")
def nca(softmax_scale: Value = 1, distance: Value = None) -> Ours:
    similarity = distance_of(distance, Call("LpDistance", {"power": 2})).similarity
    return ours("nca", {"scale": softmax_scale}, similarity=similarity)


@_equal("NPairsLoss", where="a class has two items, as pairs: of more, the peer takes one pair a class")
def n_pairs(distance: Value = None) -> Ours:
    return ours("n_pair", similarity=distance_of(distance, "DotProductSimilarity").similarity)


@_equal("NTXentLoss")
def nt_xent(temperature: Value = 0.07, distance: Value = None) -> Ours:
    similarity = distance_of(distance, "CosineSimilarity").similarity
    return ours("nt_xent", {"temperature": temperature}, similarity=similarity, reduction="mean_terms")


_losses.where(
    "PNPLoss",
    "pnp(variant=O, temperature=0.01)",
    "with `Relation.labels(y, y, exclude_self=False)`: the peer counts an item as its own positive",
)


@_equal("RankedListLoss", note="up to the 1e-5 that the peer adds to its weights", margin=0.4, Tn=3)
def ranked_list(margin: Value, Tn: Value, imbalance: Value = 0.5, alpha: Value = None, Tp: Value = 0) -> Ours:
    sphere = 1 + number(margin, "margin") / 2 if alpha is None else number(alpha, "alpha")
    arguments: dict[str, Value] = {
        "margin": margin,
        "boundary": -sphere,
        "positive_temperature": Tp,
        "negative_temperature": Tn,
        "imbalance": imbalance,
    }
    return ours("ranked_list", arguments, similarity="euclidean(normalized=True)")


_losses.where(
    "SelfSupervisedLoss",
    "directions=['q2k+q2q', 'k2q+k2k']",
    "views are pairs: every criterion of pairs with these directions is the symmetric form; without, `symmetric=False`",
)


@_equal("SignalToNoiseRatioContrastiveLoss", note="the mean over the batch's violating pairs, which is tcm's")
def snr_contrastive(pos_margin: Value = 0, neg_margin: Value = 1, distance: Value = None) -> Ours:
    return _contrastive(pos_margin, neg_margin, distance, "SNRDistance")


_losses.where(
    "SmoothAPLoss",
    "smooth_ap(temperature=0.01)",
    "with `Relation.labels(y, y, exclude_self=False)`, classes in order, as many as items of each: it groups by that",
)


@_equal("SupConLoss")
def supcon(temperature: Value = 0.1, distance: Value = None, reducer: Value = None) -> Ours:
    similarity = distance_of(distance, "CosineSimilarity").similarity
    reduction = _unless_mean(ROW_REDUCERS[reducer_of(reducer, "AvgNonZeroReducer")])
    return ours("supcon", {"temperature": temperature}, similarity=similarity, reduction=reduction)


@_equal("ThresholdConsistentMarginLoss")
def tcm(
    lambda_plus: Value = 1.0, lambda_minus: Value = 1.0, margin_plus: Value = 0.9, margin_minus: Value = 0.5
) -> Ours:
    margins: dict[str, Value] = {"positive_margin": margin_plus, "negative_margin": margin_minus}
    return ours("tcm", {**margins, "positive_weight": lambda_plus, "negative_weight": lambda_minus})


@_equal("TripletMarginLoss", note="without the list of triplets")
def triplet_margin(
    margin: Value = 0.05, smooth_loss: Value = False, distance: Value = None, reducer: Value = None
) -> Ours:
    average, reduction = TRIPLET_REDUCERS[reducer_of(reducer, "AvgNonZeroReducer")]
    arguments: dict[str, Value] = {"margin": margin, "smooth": smooth_loss or None, "average": average}
    similarity = distance_of(distance, "LpDistance").similarity
    return ours("triplet", arguments, similarity=similarity, reduction=reduction)


@_equal("TupletMarginLoss", note="margin in degrees")
def tuplet_margin(margin: Value = 5.73, scale: Value = 64) -> Ours:
    return ours("tuplet_margin", {"margin": margin, "scale": scale}, reduction="mean_terms")


@_equal("VICRegLoss", note="on pairs of views; the weights of the terms are in the settings")
def vicreg(invariance_lambda: Value = 25, variance_mu: Value = 25, covariance_v: Value = 1, eps: Value = 1e-4) -> Ours:
    match = Call("match", {"squared": invariance_lambda, "cosine": 0})
    # The peer averages the variance of both views and adds their covariances; ours averages both.
    penalties: list[Value] = [
        Call("variance", {FIRST: variance_mu, "epsilon": eps}),
        Call("covariance", {FIRST: 2 * number(covariance_v, "covariance_v")}),
    ]
    return ours("attract", similarity=match, regularizers=penalties)


_losses.none("WeightRegularizerMixin", "the setting `regularizers`")

ROWS = tuple(_losses.rows)
