"""A relation with more keys than the batch has."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from similis.relation import Codes, Relation


def extended(relation: Relation, count: int, codes: Tensor | None = None, unknown: tuple[Codes, ...] = ()) -> Relation:
    """The relation of the same queries with ``count`` more keys after theirs.

    Args:
        relation: of shape ``(n, m)``.
        count: new keys s.
        codes: ``[s]`` codes that make a new key a positive of the queries of equal code; None: of no query.
        unknown: rules of queries ``[n]`` and new keys ``[s]`` that leave a pair out unless it is positive.
    """
    m = relation.shape[1]
    graded_by = _padded(relation.graded_by, count)
    if codes is not None and isinstance(graded_by, Codes):
        graded_by = Codes(graded_by.rows, torch.cat([graded_by.keys[:m], codes]))
    added = tuple(Codes(u.rows, torch.cat([u.keys.new_full((m,), -1), u.keys])) for u in unknown)
    labels, guide = relation.key_labels, relation.guide
    if guide is not None:
        # No guide has seen the new keys: a similarity of 0 never makes one suspect.
        guide = (guide[0], pad(guide[1], (0, 0, 0, count)))
    return replace(
        relation,
        graded_by=graded_by,
        unknown=(*(_padded(u, count) for u in relation.unknown), *added),
        apart=tuple(_padded(u, count) for u in relation.apart),
        own=None if relation.own is None else _longer(relation.own, count),
        pair_weight=None if relation.pair_weight is None else pad(relation.pair_weight, (0, count), value=1.0),
        guide=guide,
        key_labels=None if labels is None or codes is None else torch.cat([labels, codes]),
        texts=None,
    )


def _padded(rule: Tensor | Codes, count: int) -> Tensor | Codes:
    """A rule with ``count`` more keys that it does not apply to: codes of -1, grades of 0, masks of False."""
    return _longer(rule, count) if isinstance(rule, Codes) else pad(rule, (0, count))


def _longer(rule: Codes, count: int) -> Codes:
    return Codes(rule.rows, torch.cat([rule.keys, rule.keys.new_full((count, *rule.keys.shape[1:]), -1)]))
