"""Groups of rows that a step weighs against each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from similis.errors import UserError, did_you_mean
from similis.registry import Source, register
from similis.training.running.dev import no_graph
from similis.training.stepping.base import Embedded, Run, Stepping

BY = ("set", "label", "cluster")


class Grouped(Stepping):
    """Knows the group of every row, and the loss of each group of a batch.

    Groups are the data sets of a run (``set``), the labels of its rows (``label``), or ``clusters`` of its queries by
    k-means of the embeddings before training (``cluster``).
    """

    name = ""

    def __init__(self, by: str, clusters: int) -> None:
        if by not in BY:
            raise UserError(f"by of {self.name} must be one of {', '.join(BY)}, not {by!r}{did_you_mean(by, BY)}")
        if clusters < 2:
            raise UserError(f"clusters of {self.name} must be at least 2, not {clusters}")
        self.by, self.clusters = by, clusters
        self.rows: list[Tensor] = []

    def begin(self, run: Run) -> None:
        self.run = run
        parts = run.parts
        if self.by == "set" and len(parts) < 2:
            raise UserError(f"{self.name} weighs data sets, and there is one: give several, or by=label or by=cluster")
        if self.by == "label" and any(part.examples.labels is None for part in parts):
            raise UserError(f"{self.name} weighs labels, and the data has none: use by=cluster")
        if self.by == "cluster" and getattr(run.trainee, "reads_pairs", False):
            raise UserError(f"{self.name} makes clusters of embeddings, and a cross-encoder gives none")
        if self.by == "set":
            self._take([torch.full((len(part.examples),), number) for number, part in enumerate(parts)])
        elif self.by == "label":
            found, before = [], 0
            for part in parts:
                assert part.examples.labels is not None
                found.append(torch.from_numpy(np.asarray(part.examples.labels, np.int64)) + before)
                before = int(found[-1].max()) + 1
            self._take(found)

    def start(self) -> None:
        if self.by != "cluster":
            return
        module = self.run.trainee.module
        module.eval()
        embed = no_graph(lambda codes, side: self.run.trainee.embed([(codes, side)])[0].float(), self.run.trainee.block)
        queries = [part.examples.queries for part in self.run.parts]
        vectors = embed(np.concatenate(queries), True).cpu()
        if vectors.dim() != 2:
            raise UserError(f"{self.name} clusters one vector a text, and this model gives several: use by=set")
        found = k_means(vectors, self.clusters, self.run.recipe.seed)
        self._take(list(found.split([len(own) for own in queries])))

    def _take(self, rows: list[Tensor]) -> None:
        """Take the groups of all rows of each part, and begin with equal weights."""
        self.rows = rows
        every = torch.cat(rows)
        self.counts = torch.bincount(every).float()
        self.weights = torch.full((len(self.counts),), 1 / len(self.counts))

    def losses(self, embedded: Embedded, loss: Tensor) -> tuple[Tensor, Tensor]:
        """Groups ``[g]`` in the batch and each one's loss ``[g]``: that of the batch with its queries alone."""
        part = next(n for n, each in enumerate(self.run.parts) if each is embedded.drawn.part)
        own = self.rows[part][torch.from_numpy(embedded.drawn.rows)]
        groups = own.unique()
        if len(groups) == 1:
            return groups, loss.unsqueeze(0)
        found = []
        for group in groups:
            weight = (own == group).to(loss)
            if embedded.relation.row_weight is not None:
                weight = weight * embedded.relation.row_weight
            relation = replace(embedded.relation, row_weight=weight)
            with self.run.memories_kept():
                found.append(embedded.objective(embedded.queries, embedded.keys, relation))
        return groups, torch.stack(found)

    def weighed(self, groups: Tensor, losses: Tensor) -> Tensor:
        """The sum of weights times losses, of the size of a mean loss: equal weights give the mean over the groups."""
        weights = self.weights[groups].to(losses)
        return (weights * losses).sum() * len(self.weights) / len(groups)

    def state(self) -> dict[str, Tensor]:
        return {"weights": self.weights, **{f"rows/{number}": rows for number, rows in enumerate(self.rows)}}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self._take([state[f"rows/{number}"].cpu().clone() for number in range(len(self.run.parts))])
        self.weights = state["weights"].cpu().clone()


@register(
    "stepping",
    "group_dro",
    source=Source(
        "Distributionally Robust Neural Networks for Group Shifts: On the Importance of Regularization for Worst-Case "
        "Generalization",
        "Sagawa, Koh, Hashimoto and Liang",
        2020,
    ),
    family="groups",
)
class GroupDRO(Grouped):
    """Groups that are learnt badly weigh more: q ← q · exp(rate · (loss + adjustment / √n)), and q again a share.

    The step descends on Σ q · loss of the groups in its batch, times their number over those in it, so that equal
    weights leave the loss of plain training. Checked against the authors' code. They pair it with strong weight decay
    or early stopping, without which a model that fits every row has no worst group.

    Args:
        rate: the paper's step size of the weights.
        adjustment: the paper's C, for groups of n rows: small ones are expected to generalise worse.
        by: what a group is, ``set``, ``label`` or ``cluster``.
        clusters: of ``by=cluster``.
    """

    name = "group_dro"

    def __init__(self, rate: float = 0.01, adjustment: float = 0.0, by: str = "set", clusters: int = 8) -> None:
        if rate <= 0 or adjustment < 0:
            raise UserError(f"group_dro needs a rate above 0 and an adjustment of at least 0, not {rate}, {adjustment}")
        super().__init__(by, clusters)
        self.rate, self.adjustment = rate, adjustment

    def loss(self, embedded: Embedded, loss: Tensor) -> Tensor:
        groups, losses = self.losses(embedded, loss)
        gained = losses.detach().cpu() + self.adjustment / self.counts[groups].sqrt()
        raised = self.weights.clone()
        raised[groups] *= (self.rate * gained).exp()
        self.weights = raised / raised.sum()
        return self.weighed(groups, losses)


@register(
    "stepping",
    "implicit_dro",
    source=Source(
        "COCO-DR: Combating Distribution Shifts in Zero-Shot Dense Retrieval with Contrastive and Distributionally "
        "Robust Learning",
        "Yu, Xiong, Sun, Zhang and Overwijk",
        2022,
    ),
    family="groups",
)
class ImplicitDRO(Grouped):
    """Clusters of queries whose gradients help the others weigh more (iDRO).

    Of the groups in a batch, i's weight becomes w ← w^memory · exp(rate · Σⱼ (lᵢ lⱼ)^power · cos(gᵢ, gⱼ) / G) with
    losses l, gradients g of the transformer's last layers and G groups in all; weights are made shares, at least
    ``least``, and are used from the next batch on. Checked against the authors' code; there as here a group that a
    batch lacks falls to ``least``. The loss has the size of plain training's, as in ``group_dro``.

    Args:
        rate: the code's rho.
        power: of the losses, the code's alpha.
        memory: how much of the weights before stays, the code's ema.
        least: of a weight.
        layers: last layers whose gradients are compared.
        by: what a group is, ``set``, ``label`` or ``cluster``.
        clusters: of ``by=cluster``.
    """

    name = "implicit_dro"

    def __init__(
        self,
        rate: float = 0.1,
        power: float = 0.25,
        memory: float = 0.1,
        least: float = 0.05,
        layers: int = 3,
        by: str = "cluster",
        clusters: int = 8,
    ) -> None:
        super().__init__(by, clusters)
        if by == "set":
            raise UserError("implicit_dro compares groups in one batch, and a batch is of one set: use by=cluster")
        self.rate, self.power, self.memory, self.least, self.layers = rate, power, memory, least, layers

    def begin(self, run: Run) -> None:
        from similis.training.stepping.layers import depths

        super().begin(run)
        if run.recipe.mini_batch_size is not None:
            raise UserError("implicit_dro needs the graph of a whole batch: leave mini_batch_size out")
        down = depths(run.trainee.module, self.name)
        found = run.named_parameters().values()
        self._compared = [p for p in found if down.get(id(p), self.layers) < self.layers]

    def loss(self, embedded: Embedded, loss: Tensor) -> Tensor:
        groups, losses = self.losses(embedded, loss)
        weighed = self.weighed(groups, losses)
        if len(groups) > 1:
            self._weigh(groups, losses)
        return weighed

    def _weigh(self, groups: Tensor, losses: Tensor) -> None:
        compared = [parameter for parameter in self._compared if parameter.requires_grad]
        if not compared:
            return  # another way has frozen the last layers
        rows = []
        for each in losses:
            found = torch.autograd.grad(each, compared, retain_graph=True, allow_unused=True)
            rows.append(torch.cat([g.flatten() for g in found if g is not None]))
        gradients = torch.stack(rows)
        gradients = gradients / (gradients.norm(dim=-1, keepdim=True) + 1e-12)
        sizes = losses.detach().clamp(min=0) ** self.power
        helped = self.rate * (sizes[:, None] * sizes * (gradients @ gradients.T)).sum(0) / len(self.weights)
        raised = torch.zeros_like(self.weights)
        raised[groups] = self.weights[groups] ** self.memory * (helped - helped.max()).exp().cpu()
        self.weights = (raised / raised.sum()).clamp(min=self.least)


def k_means(vectors: Tensor, clusters: int, seed: int, rounds: int = 20) -> Tensor:
    """Group numbers ``[n]`` of vectors ``[n, d]`` by direction: Lloyd's rounds, from vectors far from each other."""
    vectors = torch.nn.functional.normalize(vectors)
    draw = torch.Generator().manual_seed(seed)
    centres = vectors[torch.randint(len(vectors), (1,), generator=draw)]
    while len(centres) < min(clusters, len(vectors)):
        far = (1 - vectors @ centres.T).clamp(min=0).amin(1).square() + 1e-12
        centres = torch.cat([centres, vectors[torch.multinomial(far, 1, generator=draw)]])
    for _ in range(rounds):
        nearest = (vectors @ centres.T).argmax(1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, vectors)
        centres = torch.where(sums.norm(dim=1, keepdim=True) > 0, torch.nn.functional.normalize(sums), centres)
    nearest = (vectors @ centres.T).argmax(1)
    numbers: Tensor = nearest.unique(return_inverse=True)[1]
    return numbers
