"""Relation, and its constructors: one for each kind of supervision."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from similis.relation.codes import Codes, among_side, any_of, marked, self_codes, transposed, weights_of_keys
from similis.relation.rows import Rows

Layout = Literal["matrix", "lists", "list"]

#: The supervisions a criterion may name in ``accepts``.
SUPERVISIONS = ("pairs", "triplets", "labels", "graded", "scored", "labeled_pairs", "teacher", "hierarchy")


@dataclass
class Relation:
    """What supervision says of queries ``[n]`` and keys ``[m]``; use the constructors below.

    Attributes:
        graded_by: ``[n, m]`` grades, or :class:`Codes` whose equality makes a positive.
        supervision: which constructor made it; one of :data:`SUPERVISIONS`.
        layout: ``matrix`` (every query with every key), ``lists`` (each query with its own keys ``[n, m, d]``) or
            ``list`` (query i with key i: one list of N pairs, scores ``[1, N]``).
        unknown: pairs to leave out, unless they are positive: masks ``[n, m]`` or codes whose equality leaves out.
        apart: pairs to leave out even where they are positive (self).
        row_weight: ``[n]`` weight of each query's loss.
        own: codes whose equality makes a key the query's own, which weighs as the query does where keys are the rows;
            None: ``graded_by`` says it.
        pair_weight: ``[n, m]`` weight of each pair.
        guide: queries' and keys' embeddings of a guide model, ``([n, g], [m, g])``, unit length.
        samples: ``[n]`` index of each query in the data set, for criteria that remember.
        query_labels: class of each query, where classes are known (class proxies read it).
        key_labels: class of each key, likewise.
        texts: integers naming the texts of queries ``[n]`` and keys ``[m]`` over the whole data set (memories read it).
    """

    graded_by: Tensor | Codes
    supervision: str
    layout: Layout = "matrix"
    unknown: tuple[Tensor | Codes, ...] = ()
    apart: tuple[Tensor | Codes, ...] = ()
    row_weight: Tensor | None = None
    own: Codes | None = None
    pair_weight: Tensor | None = None
    guide: tuple[Tensor, Tensor] | None = None
    samples: Tensor | None = None
    query_labels: Tensor | None = None
    key_labels: Tensor | None = None
    texts: tuple[Tensor, Tensor] | None = None

    # ---- constructors -------------------------------------------------------------------------------------

    @classmethod
    def pairs(
        cls,
        n: int,
        m: int | None = None,
        *,
        query_ids: Tensor | None = None,
        key_ids: Tensor | None = None,
        in_batch: bool = True,
        device: torch.device | str | None = None,
    ) -> Relation:
        """Query i belongs with key i; keys after the n-th are negatives (given hard negatives, say).

        Args:
            n: number of queries.
            m: number of keys, at least ``n``; default ``n``. Keys ``n + r*n + i`` belong to query i.
            query_ids: ``[n]`` integers naming the query texts: rows of equal id share their positives.
            key_ids: ``[m]`` integers naming the key texts, of the same numbering as ``query_ids``: a repeat of
                the own positive (or of the query itself) is left out instead of counted as a negative.
            in_batch: False leaves out the keys of other queries: only given negatives count.
        """
        m = n if m is None else m
        if m < n:
            raise ValueError(f"pairs need a key for every query: {n} queries, {m} keys")
        if device is None and query_ids is not None:
            device = query_ids.device
        queries = torch.arange(n, device=device) if query_ids is None else query_ids
        owner = torch.full((m,), -1, dtype=queries.dtype, device=device)
        owner[:n] = queries
        unknown: list[Tensor | Codes] = []
        if key_ids is not None:
            unknown.append(Codes(key_ids[:n], key_ids))
            if query_ids is not None:
                unknown.append(Codes(query_ids, key_ids))
        if not in_batch:
            belongs = torch.arange(m, device=device) % n
            unknown.append(torch.arange(n, device=device).unsqueeze(1) != belongs)
        texts = None if query_ids is None or key_ids is None else (query_ids, key_ids)
        own = None if query_ids is None else _own(n, m, device)  # queries that repeat share positives, not weights
        return cls(Codes(queries, owner), "pairs", unknown=tuple(unknown), own=own, texts=texts)

    @classmethod
    def triplets(cls, n: int, negatives: int = 1, **options: object) -> Relation:
        """Anchors, their positives, then ``negatives`` blocks of ``n`` given negatives: ``m = n * (1 + negatives)``."""
        made = cls.pairs(n, n * (1 + negatives), **options)  # type: ignore[arg-type]
        return replace(made, supervision="triplets")

    @classmethod
    def labels(cls, queries: Tensor, keys: Tensor | None = None, *, exclude_self: bool | None = None) -> Relation:
        """Equal labels belong together: ``y_q == y_k``.

        Args:
            queries: ``[n]`` integer labels.
            keys: ``[m]`` integer labels; None means that the keys are the queries.
            exclude_self: leave out the pair of an item with itself; default: where ``keys`` is None.
        """
        if exclude_self is None:
            exclude_self = keys is None
        own = _own(len(queries), len(queries), queries.device) if keys is None else None
        keys = queries if keys is None else keys
        apart = self_codes(len(queries), len(keys), queries.device) if exclude_self else ()
        return cls(Codes(queries, keys), "labels", apart=apart, own=own, query_labels=queries, key_labels=keys)

    @classmethod
    def hierarchy(cls, queries: Tensor, keys: Tensor | None = None, *, exclude_self: bool | None = None) -> Relation:
        """Paths ``[n, L]`` from the root: the grade is the share of leading levels two paths have in common."""
        made = cls.labels(queries, keys, exclude_self=exclude_self)
        return replace(made, supervision="hierarchy", query_labels=queries[:, -1], key_labels=None)

    @classmethod
    def graded(cls, grade: Tensor, known: Tensor | None = None, *, layout: Layout = "matrix") -> Relation:
        """Judged grades ``[n, m]`` (0 = judged not relevant); ``known`` False leaves an unjudged pair out."""
        return cls(grade, "graded", layout, apart=() if known is None else (~known,))

    @classmethod
    def distances(
        cls,
        queries: Tensor,
        keys: Tensor | None = None,
        *,
        scale: float | None = None,
        exclude_self: bool | None = None,
    ) -> Relation:
        """Targets at known distances (ratings, ages, positions): the grade is ``1 - distance / scale``, 0 beyond.

        Args:
            queries: ``[n]`` or ``[n, t]`` real targets; their distance is the sum of absolute differences.
            keys: ``[m]`` or ``[m, t]``; None means that the keys are the queries.
            scale: distance of grade 0, in units of the target; default: the largest distance in the batch.
            exclude_self: leave out the pair of an item with itself; default: where ``keys`` is None.
        """
        if exclude_self is None:
            exclude_self = keys is None
        keys = queries if keys is None else keys
        distance = torch.cdist(queries.view(len(queries), -1), keys.view(len(keys), -1), p=1)
        span = distance.amax().clamp_min(torch.finfo(distance.dtype).tiny) if scale is None else scale
        apart = self_codes(len(queries), len(keys), queries.device) if exclude_self else ()
        return cls((1 - distance / span).clamp_min(0), "graded", apart=apart)

    @classmethod
    def scored(cls, score: Tensor) -> Relation:
        """Scored pairs (STS) ``[N]``: one list, query i with key i, scores ``[1, N]``."""
        return cls(score.unsqueeze(0), "scored", "list")

    @classmethod
    def labeled_pairs(cls, label: Tensor) -> Relation:
        """Pairs labelled 1 (same) or 0 (different) ``[N]``: one list, query i with key i, scores ``[1, N]``."""
        return cls(label.unsqueeze(0), "labeled_pairs", "list")

    @classmethod
    def teacher(cls, scores: Tensor, known: Tensor | None = None, *, layout: Layout = "matrix") -> Relation:
        """A teacher's scores ``[n, m]`` for the same pairs, on the teacher's own scale."""
        return cls(scores, "teacher", layout, apart=() if known is None else (~known,))

    # ---- shape and parts ----------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, int]:
        """``(n, m)``; a list of N pairs is ``(1, N)``."""
        if isinstance(self.graded_by, Codes):
            return len(self.graded_by.rows), len(self.graded_by.keys)
        return self.graded_by.shape[-2], self.graded_by.shape[-1]

    def rows(self, start: int = 0, stop: int | None = None) -> Rows:
        """Dense rows ``start:stop``, each field ``[stop - start, m]``."""
        n, m = self.shape
        stop = n if stop is None else min(stop, n)
        grade = same = places = None
        if isinstance(self.graded_by, Codes) and self.graded_by.rows.dim() == 1:
            places = self.graded_by.places(start, stop)
            same = self.graded_by.equal(start, stop) if places is None else marked(places, m)
        elif isinstance(self.graded_by, Codes):
            grade = self.graded_by.grade(start, stop)
        else:
            grade = self.graded_by[start:stop].float()
        left_out = any_of(self.unknown, start, stop)
        if left_out is not None:
            positive = same if same is not None else grade > 0  # type: ignore[operator]
            left_out = left_out & ~positive
        apart = any_of(self.apart, start, stop)
        if apart is not None:
            left_out = apart if left_out is None else left_out | apart
        guide = None
        if self.guide is not None:
            guide = self.guide[0][start:stop] @ self.guide[1].T
        made = Rows(
            given_grade=grade,
            same=same,
            left_out=left_out,
            weight=None if self.pair_weight is None else self.pair_weight[start:stop],
            guide=guide,
            samples=None if self.samples is None else self.samples[start:stop],
            supervision=self.supervision,
        )
        made.own = places if left_out is None else None
        return made

    def transpose(self) -> Relation:
        """The same pairs read from the keys: key j becomes row j."""
        flipped = self.graded_by.transpose() if isinstance(self.graded_by, Codes) else self.graded_by.mT
        return replace(
            self,
            graded_by=flipped,
            unknown=tuple(transposed(u) for u in self.unknown),
            apart=tuple(transposed(u) for u in self.apart),
            row_weight=self._key_weight(),
            own=None if self.own is None else self.own.transpose(),
            pair_weight=None if self.pair_weight is None else self.pair_weight.mT,
            guide=None if self.guide is None else (self.guide[1], self.guide[0]),
            samples=None,
            query_labels=self.key_labels,
            key_labels=self.query_labels,
            texts=None if self.texts is None else (self.texts[1], self.texts[0]),
        )

    def among_queries(self) -> Relation:
        """Queries against queries: equal queries are positives where labels say so, otherwise left out."""
        codes = self.graded_by.rows if isinstance(self.graded_by, Codes) else None
        return self._among(codes, self.shape[0], self.query_labels, side=0)

    def among_keys(self) -> Relation:
        """Keys against keys, likewise."""
        codes = self.graded_by.keys if isinstance(self.graded_by, Codes) else None
        return self._among(codes, self.shape[1], self.key_labels, side=1)

    def _among(self, codes: Tensor | None, n: int, labels: Tensor | None, side: int) -> Relation:
        device = self.graded_by.rows.device if isinstance(self.graded_by, Codes) else self.graded_by.device
        apart: tuple[Tensor | Codes, ...] = self_codes(n, n, device)
        guide = None if self.guide is None else (self.guide[side], self.guide[side])
        weight = self.row_weight if side == 0 else self._key_weight()
        if labels is not None:
            graded_by, supervision = Codes(labels, labels), "labels"
        else:
            if codes is not None:
                apart = (*apart, Codes(codes, codes))
            apart = (*apart, *(among_side(u, side) for u in self.unknown if isinstance(u, Codes)))
            nothing = torch.arange(n, device=device)
            graded_by, supervision = Codes(nothing, torch.full_like(nothing, -1)), self.supervision
        return Relation(graded_by, supervision, apart=apart, row_weight=weight, guide=guide, query_labels=labels)

    def _key_weight(self) -> Tensor | None:
        """``[m]`` weight of each key's loss where keys are the rows."""
        belongs = self.graded_by if self.own is None else self.own
        return None if self.row_weight is None else weights_of_keys(belongs, self.row_weight)

    def to(self, device: torch.device | str) -> Relation:
        """The same relation with every tensor on ``device``."""
        target = torch.device(device)

        def moved(value: Tensor | None) -> Tensor | None:
            return None if value is None else value.to(target)

        return replace(
            self,
            graded_by=self.graded_by.to(target),
            unknown=tuple(u.to(target) for u in self.unknown),
            apart=tuple(u.to(target) for u in self.apart),
            row_weight=moved(self.row_weight),
            own=None if self.own is None else self.own.to(target),
            pair_weight=moved(self.pair_weight),
            guide=None if self.guide is None else (self.guide[0].to(target), self.guide[1].to(target)),
            samples=moved(self.samples),
            query_labels=moved(self.query_labels),
            key_labels=moved(self.key_labels),
            texts=None if self.texts is None else (self.texts[0].to(target), self.texts[1].to(target)),
        )


def _own(n: int, m: int, device: torch.device | str | None) -> Codes:
    """Key i is query i's own for the first n of m keys; the others are nobody's."""
    queries = torch.arange(n, device=device)
    return Codes(queries, queries if m == n else torch.cat([queries, queries.new_full((m - n,), -1)]))
