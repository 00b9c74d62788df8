"""Class proxies: learned keys, one or several a class."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from similis.errors import UserError
from similis.keys.base import KeySource
from similis.registry import Source, register
from similis.relation import Codes, Numbered, Relation


@register(
    "keys",
    "proxies",
    source=Source(
        "No Fuss Distance Metric Learning using Proxies",
        "Movshovitz-Attias, Toshev, Leung, Ioffe and Singh",
        2017,
    ),
    accepts=("labels",),
)
class Proxies(KeySource):
    """Learned keys ``[classes * per_class, d]``; the relation becomes "is this proxy of the query's class".

    Args:
        classes: number of classes C; labels are 0..C-1. None: taken from the training data.
        dimension: d. None: taken from the encoder.
        per_class: proxies of each class (SoftTriple, sub-centre ArcFace); proxy j belongs to class j mod C.
        seed: of the initial proxies, Gaussian of expected length 1.
    """

    weight: nn.Parameter | None

    def __init__(
        self, classes: int | None = None, dimension: int | None = None, per_class: int = 1, seed: int = 0
    ) -> None:
        super().__init__()
        self.classes, self.dimension, self.per_class, self.seed = classes, dimension, per_class, seed
        self.register_parameter("weight", None)
        if classes is not None and dimension is not None:
            self.prepare(dimension=dimension, classes=classes, rows=None)

    def prepare(self, *, dimension: int, classes: int | None, rows: int | None) -> None:
        if classes is None and self.classes is None:
            raise UserError("class proxies need labels: this data has none; choose an objective without proxies")
        self.classes = self.classes or classes
        self.dimension = self.dimension or dimension
        generator = torch.Generator().manual_seed(self.seed)
        shape = (self.classes * self.per_class, self.dimension)  # type: ignore[operator]
        self.weight = nn.Parameter(torch.randn(shape, generator=generator) / self.dimension**0.5)

    def forward(self, queries: Tensor, keys: Tensor, relation: Relation) -> tuple[Tensor, Relation]:
        if self.weight is None:
            raise UserError(
                "class proxies have no size yet: write keys=proxies(classes=..., dimension=...) "
                "or call objective.prepare(dimension=..., classes=...)"
            )
        labels = relation.query_labels
        if labels is None:
            raise UserError(
                f"class proxies need labels, and this batch is supervised by {relation.supervision}; "
                "use Relation.labels, or an objective without proxies"
            )
        classes = self.weight.shape[0] // self.per_class
        lowest, highest = (int(bound) for bound in labels.aminmax()) if len(labels) else (0, 0)
        if highest >= classes:
            raise UserError(f"label {highest} has no proxy: there are {classes} classes, 0-based")
        own = torch.arange(classes, device=labels.device)
        if self.per_class > 1:
            own = own.repeat(self.per_class)
        # a label below 0 belongs to no class
        rule = Codes(labels, own) if lowest < 0 else Numbered(labels, own, classes)
        related = Relation(
            rule,
            "labels",
            row_weight=relation.row_weight,
            samples=relation.samples,
            query_labels=labels,
            key_labels=own,
        )
        return self.weight, related
