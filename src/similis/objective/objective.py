"""Objective: what is learnt, in one line of text or Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from similis.errors import UserError, did_you_mean
from similis.keys import KeySource
from similis.objective.aliases import translate
from similis.objective.blocks import Block, Shared, blocks_of
from similis.objective.inputs import check_finite, check_supervision, prefix, wide
from similis.objective.options import as_list, one_of, quoted, shown
from similis.objective.penalties import Penalty
from similis.objective.positives import of_positives
from similis.objective.tiles import Totals, plain, tiled, totals
from similis.objective.weights import Weight
from similis.registry import bind
from similis.relation import Relation, Rows
from similis.similarity import Similarity, build
from similis.text import Call, Value, parse_settings

#: Scores held at once by an execution that chooses its tile itself: 2^19 float32 are 2 MB, about one core's cache.
TILE_SCORES = 1 << 19

EXECUTIONS = ("auto", "plain", "tiled")
REDUCTIONS = ("mean", "mean_nonzero", "mean_terms", "sum")
DIRECTIONS = ("q2k", "k2q", "q2q", "k2k")


class Objective(nn.Module):
    """A similarity, where the keys come from, which pairs count, and a criterion: a loss to train by.

    Args:
        criterion: text such as ``"triplet(margin=0.1)"``; the whole objective may be written in it, as it prints:
            ``"triplet(margin=0.1), similarity=snr, miner=semi_hard"``. Class names of sentence-transformers and
            pytorch-metric-learning are read too: ``"MultipleNegativesRankingLoss(scale=20)"``.
        similarity: text or a :class:`Similarity`; default cosine.
        keys: a key source such as ``"proxies(classes=77)"``; default: the criterion's own, or the batch's keys.
        miner: text; None takes every known pair.
        regularizers: texts, each with its weight first: ``"zero_mean(0.1)"``. A criterion may stand here too
            (``"tcm(0.5)"``): a second loss over the same embeddings, similarity and relation. ``side=query`` or
            ``key`` reads one side alone, ``warmup=0.3`` grows the weight over that share of a run (see :meth:`at`).
        directions: of ``q2k, k2q, q2q, k2k``: each is scored by itself and the losses averaged; joined by ``+``
            (``"q2k+q2q"``) they share one row of keys.
        matryoshka: prefixes of the embedding dimension, each with an equal share of the loss.
        execution: ``plain`` (the score matrix at once), ``tiled`` (O(tile × m) memory), or ``auto`` (tiled where
            the matrix outgrows the cache). All give the same gradient.
        tile: rows of a tile; None: as many as hold half a million scores.
        reduction: ``mean`` over the rows that have what the criterion needs, ``mean_nonzero`` over the rows of
            non-zero loss, ``mean_terms`` over the terms (positives, triplets) that the rows' losses are means of, so
            that rows of more terms weigh more, or ``sum``.

    Raises:
        UserError: an unknown name or argument, or a setting of the wrong form.

    >>> str(Objective("circle(margin=0.25)", similarity="snr", miner="semi_hard"))
    'circle(margin=0.25), similarity=snr, miner=semi_hard'
    """

    def __init__(
        self,
        criterion: str,
        *,
        similarity: str | Similarity | None = None,
        keys: str | KeySource | None = None,
        miner: str | None = None,
        regularizers: Sequence[str] = (),
        directions: str | Sequence[str] | None = None,
        matryoshka: Sequence[int] = (),
        execution: str = "auto",
        tile: int | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        head, written = _expand(criterion)
        given = {
            "similarity": similarity,
            "keys": keys,
            "miner": miner,
            "regularizers": list(regularizers) or None,
            "directions": directions,
            "matryoshka": list(matryoshka) or None,
            "execution": None if execution == "auto" else execution,
            "tile": tile,
            "reduction": None if reduction == "mean" else reduction,
        }
        settings: dict[str, Any] = {**written, **{k: v for k, v in given.items() if v is not None}}
        for name in settings:
            if name not in given:
                raise UserError(f"an objective has no setting {name!r}{did_you_mean(name, given)}")
        self._criterion = bind("criterion", head)
        traits = self._criterion.entry.traits
        self._settings = settings
        self.similarity = build(settings.get("similarity") or traits.get("similarity", "cosine"))
        self.keys = _keys(settings.get("keys") or traits.get("keys"))
        self.miner = None if settings.get("miner") is None else bind("miner", settings["miner"]).build()
        made = self._criterion.build()
        self.criterion: Callable[[Tensor, Rows], Tensor] = made
        penalties = as_list(settings.get("regularizers", ()))
        self.regularizers = nn.ModuleList([Penalty(text, self.similarity, Objective) for text in penalties])
        self.directions = tuple(str(d) for d in as_list(settings.get("directions", traits.get("directions", "q2k"))))
        self.matryoshka = tuple(int(d) for d in as_list(settings.get("matryoshka", ())))
        self.execution = one_of("execution", settings.get("execution", "auto"), EXECUTIONS)
        self.reduction = one_of("reduction", settings.get("reduction", "mean"), REDUCTIONS)
        if self.reduction == "mean_terms" and "terms" not in traits:
            raise UserError(f"the loss of a row of {head.name!r} is no mean of terms: use reduction=mean")
        self.tile = settings.get("tile")
        for direction in self.directions:
            for part in direction.split("+"):
                one_of("direction", part.strip(), DIRECTIONS)
        self._seen: list[tuple[int, int]] = []

    # ---- text ---------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        settings = [f"{name}={shown(value)}" for name, value in self._settings.items()]
        return ", ".join([str(self._criterion), *settings])

    def __repr__(self) -> str:
        settings = [f"{name}={quoted(value)}" for name, value in self._settings.items()]
        return f"Objective({', '.join([repr(str(self._criterion)), *settings])})"

    @property
    def accepts(self) -> tuple[str, ...]:
        """The supervisions this objective has a meaning for."""
        return self._criterion.entry.accepts

    @property
    def similarity_stated(self) -> bool:
        """Whether the similarity was given, or is the criterion's own, and not the default."""
        return "similarity" in self._settings or "similarity" in self._criterion.entry.traits

    @property
    def last_rows(self) -> int:
        """Rows of the last call."""
        return sum(rows for rows, _ in self._seen)

    @property
    def last_valid(self) -> int:
        """Rows of the last call that had what the criterion needs."""
        return sum(valid for _, valid in self._seen)

    # ---- the loss -----------------------------------------------------------------------------------------

    def prepare(self, *, dimension: int, classes: int | None = None, rows: int | None = None) -> Objective:
        """Fix the sizes that data decides (proxies, memories): dimension, number of classes, rows of the data."""
        sizes = {"dimension": dimension, "classes": classes, "rows": rows}
        for part in (self.keys, self.criterion, self.similarity, *(p.penalty for p in self.regularizers)):
            prepare = getattr(part, "prepare", None)
            if prepare is not None:
                prepare(**sizes)
        return self

    def at(self, progress: float) -> None:
        """Tell what share of a run is done, 0..1, for weights that warm up; a new objective stands at the end."""
        for penalty in self.regularizers:
            weight = penalty.weight
            assert isinstance(weight, Weight)
            weight.progress = progress

    def forward(self, queries: Tensor, keys: Tensor | None = None, relation: Relation | None = None) -> Tensor:
        """The loss of one batch.

        Args:
            queries: ``[n, ...]`` embeddings.
            keys: ``[m, ...]`` embeddings, ``[n, m, ...]`` where each query has its own list; None: the queries.
            relation: what supervision says of the pairs; None: query i belongs with key i.

        Returns:
            A scalar, of float32 or wider.

        Raises:
            UserError: an embedding is not finite, or the criterion has no meaning for this supervision.
        """
        keys = queries if keys is None else keys
        relation = Relation.pairs(len(queries), len(keys), device=queries.device) if relation is None else relation
        check_supervision(self._criterion.entry, relation.supervision)
        check_finite(queries, "query")
        if keys is not queries:
            check_finite(keys, "key")
        shared, queries = keys is queries, wide(queries)
        keys = queries if shared else wide(keys)
        self._seen.clear()
        if self.training and self._criterion.entry.traits.get("sampled"):
            # Sampled criteria hash torch's random state into their noise, and without dropout nothing else moves it.
            torch.rand(())
        prefixes = self.matryoshka or (queries.shape[-1],)
        # A source is asked once a step, before prefixes are cut: a memory must not remember a batch once a prefix.
        scored, related = (keys, relation) if self.keys is None else self.keys(queries, keys, relation)
        # Penalties come first, so that the backward pass comes to them last, when the scores' graph is freed.
        penalties = [p(queries, keys, relation, getattr(self.keys, "weight", None)) for p in self.regularizers]
        return sum(penalties, _mean([self._cut(d, queries, scored, related) for d in prefixes]))

    def _cut(self, dimension: int, queries: Tensor, keys: Tensor, relation: Relation) -> Tensor:
        cut = prefix(queries, dimension)
        return self._loss(cut, cut if keys is queries else prefix(keys, dimension), relation)

    def _loss(self, queries: Tensor, keys: Tensor, relation: Relation) -> Tensor:
        if relation.layout != "matrix":
            return self._listed(queries, keys, relation)
        shared = Shared()
        return _mean([self._pass(direction, queries, keys, relation, shared) for direction in self.directions])

    def _listed(self, queries: Tensor, keys: Tensor, relation: Relation) -> Tensor:
        if relation.layout == "list":
            scores = self.similarity.paired(queries, keys).unsqueeze(0)
        else:
            scores = self.similarity.lists(queries, keys)
        return self._reduced(self._totals(scores, relation.rows(), relation.row_weight))

    def _pass(self, direction: str, queries: Tensor, keys: Tensor, relation: Relation, shared: Shared) -> Tensor:
        if self.execution == "auto" and self.miner is None and self._criterion.entry.traits.get("reads") == "positives":
            few = of_positives(self.similarity, direction, queries, keys, relation, TILE_SCORES)
            if few is not None:
                return self._reduced(self._totals(*few))
        blocks = blocks_of(self.similarity, direction, queries, keys, relation, shared)
        weight = blocks[0].weight
        tile = self._tile(blocks)
        if tile is None:
            return self._reduced(plain(blocks, self._totals, weight))
        value, sums = tiled(
            blocks,
            self._totals,
            weight,
            parameters=self._parameters_of_scores(),
            tile=tile,
            whole=bool(self._criterion.entry.traits.get("whole")),
        )
        self._count(sums)
        return value

    def _tile(self, blocks: list[Block]) -> int | None:
        """Rows of a tile, or None for the plain execution."""
        columns = sum(block.columns for block in blocks)
        fitting = max(1, TILE_SCORES // max(1, columns))
        # A criterion that reads the whole matrix holds it in any case, and tiles would score it a second time.
        whole = bool(self._criterion.entry.traits.get("whole"))
        if self.execution == "plain" or (self.execution == "auto" and (whole or blocks[0].rows <= fitting)):
            return None
        # a matrix little larger than that is halved too, or it would be held nearly whole
        return self.tile or max(1, min(fitting, -(-blocks[0].rows // 2)))

    def _totals(self, scores: Tensor, rows: Rows, weight: Tensor | None) -> Totals:
        if self.miner is not None:
            rows = self.miner(scores.detach(), rows)
        losses = self.criterion(scores, rows)
        valid = rows.with_all(self._criterion.entry.traits.get("needs", ()))
        return totals(losses, valid, self._terms(scores, rows), weight, self.reduction)

    def _terms(self, scores: Tensor, rows: Rows) -> Tensor | None:
        """How many terms each row's loss is the mean of, where the reduction asks."""
        if self.reduction != "mean_terms":
            return None
        counted = self._criterion.entry.traits["terms"]
        if counted in ("positives", "keys"):
            return (rows.positive if counted == "positives" else rows.known).sum(-1)
        own = getattr(self.criterion, "terms", None) if counted == "own" else None
        scores = scores.detach()
        number: Tensor = own(scores, rows) if own else counted(scores, rows, **self._criterion.arguments)
        return number

    def _parameters_of_scores(self) -> list[Tensor]:
        parts = (self.similarity, self.criterion)
        return [p for part in parts if isinstance(part, nn.Module) for p in part.parameters() if p.requires_grad]

    def _reduced(self, sums: Totals) -> Tensor:
        self._count(sums)
        return sums.numerator / sums.denominator

    def _count(self, sums: Totals) -> None:
        self._seen.append((sums.rows, sums.valid))


def _expand(criterion: str) -> tuple[Call, dict[str, Value]]:
    """The criterion and the settings written with it; a peer's class name is put in our words."""
    head, settings = parse_settings(criterion)
    translated = translate(head)
    return (head, settings) if translated is None else (translated.criterion, {**translated.settings, **settings})


def _mean(losses: list[Tensor]) -> Tensor:
    return losses[0] if len(losses) == 1 else torch.stack(losses).mean()


def _keys(source: Any) -> KeySource | None:
    if source is None or isinstance(source, KeySource):
        return source
    return bind("keys", source).build()  # type: ignore[no-any-return]
