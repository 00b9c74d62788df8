"""Mixed points as keys: interpolated embeddings with interpolated grades."""

from __future__ import annotations

import torch
from torch import Tensor

from similis.errors import UserError
from similis.keys.base import KeySource
from similis.registry import Source, register
from similis.relation import Relation


@register(
    "keys",
    "mixup",
    source=Source(
        "It Takes Two to Tango: Mixup for Deep Metric Learning",
        "Venkataramanan, Psomas, Kijak, Amsaleg, Karantzalos and Avrithis",
        2022,
    ),
    accepts=("pairs", "triplets", "labels", "graded", "hierarchy"),
)
class Mixup(KeySource):
    """The batch's keys and as many mixed ones ``[2m, d]``: λk_i + (1 - λ)k_j of grade λg_i + (1 - λ)g_j.

    Metrix at the level of embeddings, λ drawn from Beta(α, α), for any criterion that reads grades (``infonce``,
    ``generalized_contrastive``, ``list_net``): points between a positive and a negative are positive in part, which
    teaches the space between classes too. A mixed key is known to the queries that grade its parts differently (the
    paper's positive-negative pairs), or to all that know both parts with ``everywhere``. Which keys are mixed, and λ,
    follow from the seed and the number of steps; in evaluation nothing is mixed. Checked against the paper and the
    authors' code (α = 2), which weighs the mixed terms of an additive loss by λ and 1 - λ where here the grade carries
    them. Memory is O(n·m).

    Args:
        alpha: α > 0 of the Beta distribution; large: always halfway, small: near one of the two.
        everywhere: mixed keys of two negatives (or two positives) count too.
        seed: of the mixing.

    Raises:
        UserError: α is not above 0.
    """

    step: Tensor

    def __init__(self, alpha: float = 2.0, everywhere: bool = False, seed: int = 0) -> None:
        super().__init__()
        if alpha <= 0:
            raise UserError(f"mixup needs alpha above 0, as in mixup(alpha=2.0), not {alpha}")
        self.alpha, self.everywhere, self.seed = alpha, everywhere, seed
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        """Partners ``[m]`` and shares λ ``[m]`` of this step."""
        import numpy as np

        random = np.random.default_rng((self.seed, int(self.step)))
        return torch.from_numpy(random.permutation(count)), torch.from_numpy(random.beta(self.alpha, self.alpha, count))

    def forward(self, queries: Tensor, keys: Tensor, relation: Relation) -> tuple[Tensor, Relation]:
        if not self.training or relation.layout != "matrix":
            return keys, relation
        partner, share = (drawn.to(keys.device) for drawn in self.draw(len(keys)))
        self.step += 1
        shape = (len(keys), *[1] * (keys.dim() - 1))
        weight = share.to(keys.dtype).view(shape)
        mixed = weight * keys + (1 - weight) * keys[partner]
        rows = relation.rows()
        grade = rows.grade.to(torch.float64)
        blended = share * grade + (1 - share) * grade[:, partner]
        known = rows.known & rows.known[:, partner]
        if not self.everywhere:
            known = known & (grade != grade[:, partner])
        related = Relation.graded(
            torch.cat([rows.grade, blended.to(rows.grade.dtype)], -1), torch.cat([rows.known, known], -1)
        )
        related.supervision = relation.supervision
        related.row_weight, related.samples = relation.row_weight, relation.samples
        return torch.cat([keys, mixed]), related
