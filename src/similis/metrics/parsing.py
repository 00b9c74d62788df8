"""From text to a measure: ``nDCG@10``, ``ndcg_cut_10``, ``P(rel=2)@5``, ``R@100`` and the field's other spellings."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from similis.errors import UserError, did_you_mean
from similis.metrics.family import FAMILIES, NEEDS_IN_WORDS, Cutoff, Family, Metric, Needs, Value

_FORM = re.compile(r"\s*(?P<name>[^(@]+?)\s*(?:\((?P<params>[^()]*)\))?\s*(?:@\s*(?P<cutoff>[^@()]+?)\s*)?$")
_TREC = re.compile(r"(?P<name>.*[A-Za-z])[_.](?P<cutoff>\d+)$")  # trec_eval's own: ndcg_cut_10, P.5
_IR_MEASURES_DCG = {"log2": "linear", "exp-log2": "exp"}


def parse(text: str | Metric) -> Metric:
    """Read a measure as one says it; case, ``-`` and ``_`` do not matter.

    >>> str(parse("ndcg_cut_10")), str(parse("P(rel=2)@5")), str(parse("R@100")), str(parse("AP"))
    ('nDCG@10', 'P(rel=2)@5', 'Recall@100', 'MAP')

    Raises:
        UserError: unknown measure or parameter, or a cut-off that is missing, not allowed or not positive.
    """
    if isinstance(text, Metric):
        return text
    match = _FORM.match(text)
    if match is None:
        raise UserError(f"{text!r} is not a measure; write it like nDCG@10 or P(rel=2)@5")
    name, cutoff = match["name"], match["cutoff"]
    family = _names().get(_plain(name))
    if family is None and cutoff is None and (trec := _TREC.match(name)):
        name, cutoff = trec["name"], trec["cutoff"]
        family = _names().get(_plain(name))
    if family is None:
        suggestion = did_you_mean(name, FAMILIES) or did_you_mean(_plain(name), _names())
        raise UserError(f"{name!r} is not a measure{suggestion or '; known are ' + ', '.join(FAMILIES)}")
    return Metric(family.name, _cutoff(family, cutoff, text), _params(family, match["params"] or "", text))


def parse_all(texts: str | Metric | Iterable[str | Metric], needs: Iterable[Needs]) -> list[Metric]:
    """Several measures, each once, all readable from data of the kinds ``needs``; ``a,b`` is two measures.

    Raises:
        UserError: no measure, an unknown one, or one that needs other data than there is.
    """
    if isinstance(texts, str | Metric):
        texts = _split(texts) if isinstance(texts, str) else [texts]
    metrics = list(dict.fromkeys(parse(text) for text in texts))
    kinds = tuple(needs)
    for metric in metrics:
        if metric.needs not in kinds:
            have = " or ".join(NEEDS_IN_WORDS[kind] for kind in kinds)
            raise UserError(f"{metric} needs {NEEDS_IN_WORDS[metric.needs]}, but the data here is {have}")
    if not metrics:
        raise UserError("no measure was asked for; give at least one, such as nDCG@10")
    return metrics


def _split(texts: str) -> list[str]:
    """Cut at commas outside parentheses."""
    return [part.strip() for part in re.split(r",(?![^(]*\))", texts) if part.strip()]


@lru_cache(4096)  # every measure read compares all names and aliases
def _plain(name: str) -> str:
    return re.sub(r"[-_\s]", "", name).lower()


def _names() -> dict[str, Family]:
    return {_plain(name): family for family in FAMILIES.values() for name in (family.name, *family.aliases)}


def _cutoff(family: Family, text: str | None, whole: str) -> Cutoff:
    if text is None:
        if family.cutoff == "required":
            raise UserError(f"{whole!r} needs a cut-off: write {whole}@10")
        return None
    if family.cutoff == "none":
        raise UserError(f"{whole!r}: {family.name} takes no cut-off; write {whole.split('@')[0]}")
    if text.upper() == "R" and family.needs == "ranking":
        return "R"
    if not text.isdigit() or int(text) < 1:
        raise UserError(f"{whole!r}: the cut-off must be a whole number of at least 1, not {text!r}")
    return int(text)


def _params(family: Family, text: str, whole: str) -> tuple[tuple[str, Value], ...]:
    given: dict[str, Value] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        key, equals, value = (piece.strip().strip("'\"") for piece in part.partition("="))
        if key == "dcg" and "gains" in family.params and value in _IR_MEASURES_DCG:
            key, value = "gains", _IR_MEASURES_DCG[value]
        if not equals or key not in family.params:
            known = ", ".join(family.params) or "none"
            raise UserError(
                f"{whole!r}: {family.name} has no parameter {key!r}{did_you_mean(key, family.params)} (it has {known})"
            )
        given[key] = _value(family, key, value, whole)
    return tuple(sorted((k, v) for k, v in given.items() if v != family.params[k]))


def _value(family: Family, key: str, text: str, whole: str) -> Value:
    if key in family.choices:
        if text not in family.choices[key]:
            choices = family.choices[key]
            raise UserError(f"{whole!r}: {key} is one of {', '.join(choices)}{did_you_mean(text, choices)}")
        return text
    kind = type(family.params[key])
    try:
        return kind(text)
    except ValueError:
        word = "a whole number" if kind is int else "a number"
        raise UserError(f"{whole!r}: {key} must be {word}, not {text!r}") from None
