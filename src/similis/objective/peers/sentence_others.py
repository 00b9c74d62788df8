"""Losses of sentence-transformers' sparse encoders, multi-vector encoders and cross-encoders in our words."""

from __future__ import annotations

from similis.errors import UserError
from similis.objective.peers import sentence_transformers as dense
from similis.objective.peers.base import ST, Ours, Table, inverse, named, ours
from similis.text import Call, Value

_sparse = Table(ST, "sparse loss")
_multi = Table(ST, "multi-vector loss")
_cross = Table(ST, "cross-encoder loss")

_FLOPS = "with equal weights of both sides: ours is w times the mean of the queries' and the documents' penalty"

_sparse.none("CSRLoss", "a sparse autoencoder's reconstruction: none yet")
_sparse.none("CSRReconstructionLoss", "a sparse autoencoder's reconstruction: none yet")
_sparse.where("CachedSpladeLoss", "infonce(temperature=1.0), similarity=dot, regularizers=[flops(0.001)]", _FLOPS)
_sparse.where(
    "FlopsLoss",
    "regularizers=[flops(1)]",
    "of embeddings that are not negative, as a SPLADE head gives; `threshold` has no counterpart",
)


@_sparse.equal("SparseAnglELoss")
def sparse_angle(scale: Value = 20.0) -> Ours:
    return dense.angle(scale)


@_sparse.equal("SparseCoSENTLoss")
def sparse_cosent(scale: Value = 20.0, similarity_fct: Value = "pairwise_cos_sim") -> Ours:
    return dense.cosent(scale, similarity_fct)


@_sparse.equal("SparseCosineSimilarityLoss")
def sparse_cosine_similarity() -> Ours:
    return dense.cosine_similarity()


@_sparse.equal("SparseDistillKLDivLoss", note="each query with its own list of keys; their temperature is 2 here")
def sparse_distill_kl(
    similarity_fct: Value = "pairwise_dot_score",
    temperature: Value = 2.0,
    student_temperature: Value = None,
    teacher_temperature: Value = None,
) -> Ours:
    return dense.distill_kl(similarity_fct, temperature, student_temperature, teacher_temperature)


@_sparse.equal("SparseMSELoss", note="keys are the teacher's embeddings")
def sparse_mse() -> Ours:
    return dense.mse()


@_sparse.equal("SparseMarginMSELoss", note="each query with its own list of keys, the positive first")
def sparse_margin_mse(similarity_fct: Value = "pairwise_dot_score") -> Ours:
    return dense.margin_mse(similarity_fct)


@_sparse.equal("SparseMultipleNegativesRankingLoss")
def sparse_multiple_negatives(
    scale: Value = 1.0,
    similarity_fct: Value = "dot_score",
    directions: Value = "query_to_doc",
    partition_mode: Value = "joint",
) -> Ours:
    return dense.infonce(scale, similarity_fct, directions, partition_mode)


_sparse.where(
    "SparseTripletLoss",
    "triplet(margin=5), similarity=euclidean",
    "with `Relation.triplets(n, in_batch=False)`, as TripletLoss",
)
_sparse.where("SpladeLoss", "infonce(temperature=1.0), similarity=dot, regularizers=[flops(0.001)]", _FLOPS)


def _maxsim(name: str, arguments: dict[str, Value] | None = None) -> Ours:
    return ours(name, arguments, similarity=Call("maxsim", {"normalize": False}))


@_multi.equal("MultiVectorMultipleNegativesRankingLoss", "CachedMultiVectorMultipleNegativesRankingLoss")
def multi_vector_multiple_negatives(scale: Value = 1.0) -> Ours:
    return _maxsim("infonce", {"temperature": inverse(scale)})


@_multi.equal("MultiVectorDistillKLDivLoss", note="each query with its own list of keys")
def multi_vector_distill_kl(
    temperature: Value = 1.0, student_temperature: Value = None, teacher_temperature: Value = None
) -> Ours:
    found = dense.distill_kl("dot_score", temperature, student_temperature, teacher_temperature)
    return _maxsim("distill_kl", found.criterion.arguments)


@_multi.equal("MultiVectorMarginMSELoss", note="each query with its own list of keys, the positive first")
def multi_vector_margin_mse() -> Ours:
    return _maxsim("margin_mse")


@_cross.equal("ADRMSELoss", note="alpha is 1 / temperature")
def adr_mse(alpha: Value = 1.0) -> Ours:
    return ours("adr_mse", {"temperature": inverse(alpha)}, similarity="dot", reduction="mean_terms")


@_cross.equal("BinaryCrossEntropyLoss")
def binary_cross_entropy(pos_weight: Value = 1.0) -> Ours:
    return ours("logistic", {"positive_weight": pos_weight}, similarity="dot")


_cross.where(
    "CachedMultipleNegativesRankingLoss",
    "infonce(temperature=0.1)",
    "on scores after a sigmoid, against all negatives of the batch: the peer draws 4; the bare name is the dense loss",
)
_cross.none("CrossEntropyLoss", "a classifier of pairs, not a similarity")

#: The peer's weighting schemes in our words.
_SCHEMES = {
    "NoWeightingScheme": "none",
    "NDCGLoss1Scheme": "ndcg1",
    "NDCGLoss2Scheme": "ndcg2",
    "LambdaRankScheme": "lambda_rank",
    "NDCGLoss2PPScheme": "ndcg2pp",
}


@_cross.equal("LambdaLoss", note="`weighting_scheme` by class name")
def lambda_loss(weighting_scheme: Value = "NDCGLoss2PPScheme", k: Value = None, sigma: Value = 1.0) -> Ours:
    scheme = named("NoWeightingScheme" if weighting_scheme is None else weighting_scheme, "weighting_scheme")
    if scheme.name not in _SCHEMES:
        raise UserError(f"weighting_scheme must be one of {', '.join(_SCHEMES)}, not {scheme.name!r}")
    arguments: dict[str, Value] = {"weighting": _SCHEMES[scheme.name], "k": k, "sigma": sigma, **scheme.arguments}
    return ours("lambda_loss", arguments, similarity="dot", reduction="mean_terms")


for _name, _weighting in _SCHEMES.items():
    _cross.same(_name, f"lambda_loss(weighting={_weighting})", "an argument of LambdaLoss")

_FALLING = "grades fall along the list without ties, as the peer takes its order; ties are right here in any order"


@_cross.equal("ListMLELoss", where=_FALLING)
def list_mle() -> Ours:
    return ours("list_mle", similarity="dot")


@_cross.equal("ListNetLoss")
def list_net() -> Ours:
    return ours("list_net", similarity="dot")


_cross.where("MSELoss", "mse, similarity=dot", "on scored pairs; the bare name is the dense encoder's loss")
_cross.where("MarginMSELoss", "margin_mse", "always; the bare name is the dense encoder's loss, of the same text")
_cross.where(
    "MultipleNegativesRankingLoss",
    "infonce(temperature=0.1)",
    "on scores after a sigmoid, against all negatives of the batch: the peer draws 4; the bare name is the dense loss",
)
_cross.where("PListMLELambdaWeight", "p_list_mle", "its default, 2^(n - rank) - 1; other discounts have no counterpart")


@_cross.equal("PListMLELoss", where=_FALLING)
def p_list_mle() -> Ours:
    return ours("p_list_mle", similarity="dot")


@_cross.equal("RankNetLoss", note="in base 2, as the peer's default; `ranknet` is in base e")
def ranknet(k: Value = None, sigma: Value = 1.0) -> Ours:
    return lambda_loss("NoWeightingScheme", k, sigma)


ROWS = (*_sparse.rows, *_multi.rows, *_cross.rows)
