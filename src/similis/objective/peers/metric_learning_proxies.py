"""Losses of pytorch-metric-learning over class proxies in our words."""

from __future__ import annotations

from similis.objective.peers.base import PML, Ours, Table, ours
from similis.text import Call, Value

_losses = Table(PML, "loss")
_equal = _losses.equal


def _proxies(classes: Value, dimension: Value, per_class: Value = None) -> Value:
    """``keys=proxies(...)`` of what is given; None where nothing is, and training fixes the sizes."""
    given = {"classes": classes, "dimension": dimension, "per_class": per_class}
    arguments: dict[str, Value] = {k: v for k, v in given.items() if v is not None}
    return Call("proxies", arguments) if arguments else None


@_equal("ArcFaceLoss", note="margin in degrees")
def arcface(num_classes: Value = None, embedding_size: Value = None, margin: Value = 28.6, scale: Value = 64) -> Ours:
    return ours("arcface", {"margin": margin, "scale": scale}, keys=_proxies(num_classes, embedding_size))


@_equal("CosFaceLoss")
def cosface(num_classes: Value = None, embedding_size: Value = None, margin: Value = 0.35, scale: Value = 64) -> Ours:
    return ours("cosface", {"margin": margin, "scale": scale}, keys=_proxies(num_classes, embedding_size))


_losses.where(
    "LargeMarginSoftmaxLoss",
    "large_margin_softmax(margin=4, scale=1.0)",
    "embeddings and proxies have unit length: the peer multiplies by both lengths, here `scale` stands for them",
)


@_equal("NormalizedSoftmaxLoss")
def normalized_softmax(num_classes: Value = None, embedding_size: Value = None, temperature: Value = 0.05) -> Ours:
    return ours("normalized_softmax", {"temperature": temperature}, keys=_proxies(num_classes, embedding_size))


@_equal(
    "P2SGradLoss", where="the gradient is the embeddings': the peer renormalizes its proxies instead of their gradient"
)
def p2sgrad(descriptors_dim: Value = None, num_classes: Value = None) -> Ours:
    return ours("p2sgrad", keys=_proxies(num_classes, descriptors_dim))


@_equal("ProxyAnchorLoss")
def proxy_anchor(
    num_classes: Value = None, embedding_size: Value = None, margin: Value = 0.1, alpha: Value = 32
) -> Ours:
    return ours("proxy_anchor", {"margin": margin, "scale": alpha}, keys=_proxies(num_classes, embedding_size))


@_equal("ProxyNCALoss")
def proxy_nca(num_classes: Value = None, embedding_size: Value = None, softmax_scale: Value = 1) -> Ours:
    return ours("proxy_nca", {"scale": softmax_scale}, keys=_proxies(num_classes, embedding_size))


@_equal("SoftTripleLoss", note="theirs has the centres class by class, ours proxy j belongs to class j mod C")
def soft_triple(
    num_classes: Value = None,
    embedding_size: Value = None,
    centers_per_class: Value = 10,
    la: Value = 20,
    gamma: Value = 0.1,
    margin: Value = 0.01,
) -> Ours:
    keys = _proxies(num_classes, embedding_size, centers_per_class)
    return ours("soft_triple", {"scale": la, "gamma": gamma, "margin": margin}, keys=keys)


_losses.where(
    "SphereFaceLoss",
    "sphereface(margin=4, scale=1.0)",
    "embeddings have unit length: the peer multiplies by it, here `scale` stands for it",
)


@_equal("SubCenterArcFaceLoss", note="centres ordered as in SoftTripleLoss")
def subcenter_arcface(
    num_classes: Value = None,
    embedding_size: Value = None,
    margin: Value = 28.6,
    scale: Value = 64,
    sub_centers: Value = 3,
) -> Ours:
    keys = _proxies(num_classes, embedding_size, sub_centers)
    return ours("subcenter_arcface", {"margin": margin, "scale": scale}, keys=keys)


ROWS = tuple(_losses.rows)
