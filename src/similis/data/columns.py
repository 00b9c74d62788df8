"""Which column is what: the supervision of a table, recognised from its column names and a sample of rows."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from similis.errors import UserError, did_you_mean
from similis.progress import note

#: Names under which the ecosystem's data carry each canonical column, the preferred first.
ALIASES: dict[str, tuple[str, ...]] = {
    "anchor": ("anchor", "query", "query_text", "question", "search_query", "anchor_text"),
    "positive": (
        *("positive", "pos", "positives", "positive_passages", "positive_document_ids", "positive_text"),
        *("answer", "answers", "document", "doc", "document_text", "passage", "context", "response", "reply"),
    ),
    "sentence1": ("sentence1", "sentence_1", "text1", "text_1", "sentence_a", "text_a", "premise", "question1"),
    "sentence2": ("sentence2", "sentence_2", "text2", "text_2", "sentence_b", "text_b", "hypothesis", "question2"),
    "score": ("score", "scores", "similarity", "similarity_score", "sim_score", "relatedness", "relatedness_score"),
    "label": ("label", "labels", "class", "intent", "category", "gold_label", "is_duplicate", "target"),
    "text": ("text", "sentence", "content", "contents", "body", "utterance"),
    "title": ("title",),
    "id": ("id", "_id", "docid", "doc_id", "document_id"),
}
NEGATIVE = re.compile(
    r"(hard_)?(negative|negatives|neg)(_?\d+)?|negative_(passages|document_ids|text)|(hard_)?neg(ative)?_text"
)
SUPERVISIONS = ("pairs", "triplets", "scored_pairs", "labeled_pairs", "labels", "texts", "retrieval")
#: Names that a misspelt one is compared with; to names of two or three letters everything short is close.
_KNOWN = [alias for aliases in ALIASES.values() for alias in aliases if len(alias) > 3] + ["negative"]
#: A column of at least so many rows, so many rows a value and no longer texts may well be one of classes.
_CLASS_ROWS, _ROWS_A_CLASS, _CLASS_LENGTH = 50, 10, 50
#: What a file should look like, for messages.
EXPECTED = "anchor,positive[,negative]; query,document; sentence1,sentence2,score (or label); text,label; or text alone"


@dataclass(frozen=True)
class Schema:
    """What each column of a file means.

    ``columns`` maps canonical names to the file's; ``negatives`` lists the file's columns of negatives;
    ``integer_labels`` says that labels are whole numbers (they are text in CSV).
    """

    supervision: str
    columns: Mapping[str, str]
    negatives: tuple[str, ...] = ()
    why: str = ""
    left_out: tuple[str, ...] = ()
    integer_labels: bool = False
    documents: Mapping[str, str] = field(default_factory=dict)


def _normal(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def recognise(
    names: Sequence[str], sample: Sequence[Mapping[str, Any]], where: str, chosen: Mapping[str, str] | None = None
) -> Schema:
    """Say which supervision the columns ``names`` carry, looking at the values of ``sample`` where names leave it open.

    Args:
        names: the file's columns in order.
        sample: some rows.
        where: the file, for messages.
        chosen: canonical name → column of the file, which overrides recognition for that column.

    Raises:
        UserError: no supervision can be made of the columns, or ``chosen`` names what is not there.
    """
    roles, negatives = _roles(names, where, chosen or {})
    schema = _combine(roles, negatives, sample)
    if schema is None:
        _refuse_misspelt(names, roles, where)
        schema = _beside_label(names, sample, roles.get("label")) or _by_order(names, sample)
    if schema is None:
        listed = ", ".join(repr(n) for n in names) or "none"
        raise UserError(f"{where}: no supervision is recognised in its columns ({listed}); expected {EXPECTED}")
    return _finished(schema, names, sample)


def _roles(names: Sequence[str], where: str, chosen: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The file's column for each canonical name, and the columns of negatives."""
    for role, name in chosen.items():
        if role not in ALIASES and not NEGATIVE.fullmatch(role):
            hint = did_you_mean(role, [*ALIASES, "negative"])
            raise UserError(f"{where}: {role!r} is no column that can be chosen{hint} (one of {', '.join(ALIASES)})")
        if name not in names:
            hint = did_you_mean(name, names) or f"; it has {', '.join(repr(n) for n in names)}"
            raise UserError(f"{where}: there is no column {name!r}{hint}")
    taken = set(chosen.values())
    roles = {role: name for role, name in chosen.items() if role in ALIASES}
    negatives = [name for role, name in chosen.items() if role not in ALIASES]
    for role, aliases in ALIASES.items():
        found = sorted(
            (n for n in names if _normal(n) in aliases and n not in taken), key=lambda n: aliases.index(_normal(n))
        )
        if found and role not in roles:
            roles[role] = found[0]
    negatives += [n for n in names if NEGATIVE.fullmatch(_normal(n)) and n not in taken]
    return roles, tuple(negatives)


def _combine(
    roles: Mapping[str, str], negatives: tuple[str, ...], sample: Sequence[Mapping[str, Any]]
) -> Schema | None:
    """The supervision that the recognised columns make together, None where they make none."""
    first = roles.get("anchor") or roles.get("sentence1")
    second = roles.get("positive") or roles.get("sentence2")
    if first and not second and "text" in roles:
        second = roles["text"]
    if first and second and negatives and any(row.get(name) for row in sample for name in negatives):
        return Schema("triplets", {"anchor": first, "positive": second}, negatives)
    if first and second:
        return _pair(first, second, roles, sample)
    lone = [roles[r] for r in ("text", "anchor", "positive", "sentence1", "sentence2") if r in roles]
    if "text" in roles or (len(lone) == 1 and ("label" in roles or len(_texts(sample)) == 1)):
        kept = {"text": roles.get("text", lone[0])} | {r: roles[r] for r in ("title", "id") if r in roles}
        if "label" in roles:
            return Schema("labels", {"text": kept["text"], "label": roles["label"]})
        return Schema("texts", kept)
    if "title" in roles and not lone and len(_texts(sample)) == 1:
        return Schema("texts", {"text": roles["title"]} | ({"id": roles["id"]} if "id" in roles else {}))
    return None


def _pair(first: str, second: str, roles: Mapping[str, str], sample: Sequence[Mapping[str, Any]]) -> Schema:
    two = {"sentence1": first, "sentence2": second}
    if "score" in roles:
        return Schema("scored_pairs", two | {"score": roles["score"]})
    if "label" in roles:
        # A column called label that holds fractions is a score under another name (as STS sets have it).
        values = [row.get(roles["label"]) for row in sample]
        if any(_fraction(v) for v in values):
            return Schema("scored_pairs", two | {"score": roles["label"]})
        return Schema("labeled_pairs", two | {"label": roles["label"]})
    return Schema("pairs", {"anchor": first, "positive": second})


def _refuse_misspelt(names: Sequence[str], roles: Mapping[str, str], where: str) -> None:
    for name in names:
        if name in roles.values() or NEGATIVE.fullmatch(_normal(name)):
            continue
        if difflib.get_close_matches(_normal(name), _KNOWN, n=1, cutoff=0.75):
            hint = did_you_mean(_normal(name), _KNOWN)
            listed = ", ".join(repr(n) for n in names)
            raise UserError(f"{where}: column {name!r} is not known{hint} (the columns are {listed})")


def _texts(sample: Sequence[Mapping[str, Any]], names: Sequence[str] = ()) -> list[str]:
    """Columns whose values are texts (not numbers, not ids), in the file's order."""
    order = names or list(dict.fromkeys(name for row in sample for name in row))
    return [n for n in order if not _is_id(n) and _is_text([row.get(n) for row in sample])]


def _is_id(name: str) -> bool:
    normal = _normal(name)
    return normal in ALIASES["id"] or normal.endswith(("_id", "_ids"))


def _is_text(values: Sequence[Any]) -> bool:
    present = [v for v in values if v is not None]
    return bool(present) and all(isinstance(v, str) for v in present) and not all(_number(v) for v in present)


def _beside_label(names: Sequence[str], sample: Sequence[Mapping[str, Any]], label: str | None) -> Schema | None:
    """The one column of texts beside a column of labels; ``target`` may as well be the second of two texts."""
    texts = [name for name in _texts(sample, names) if name != label]
    if label is None or _normal(label) == "target" or len(texts) != 1:
        return None
    return Schema("labels", {"text": texts[0], "label": label}, why="it is the only other column of texts")


def _by_order(names: Sequence[str], sample: Sequence[Mapping[str, Any]]) -> Schema | None:
    """Columns with unknown names are read by their order, as sentence-transformers reads them."""
    texts = _texts(sample, names)
    numbers = [n for n in names if not _is_id(n) and _is_number([row.get(n) for row in sample])]
    said = "the names are not known, so columns are read by order"
    if len(texts) == 1:
        return Schema("texts", {"text": texts[0]}, why=said)
    if len(texts) == 2 and len(numbers) == 1:
        return Schema("scored_pairs", {"sentence1": texts[0], "sentence2": texts[1], "score": numbers[0]}, why=said)
    if len(texts) in (2, 3) and not numbers:
        return Schema(
            "pairs" if len(texts) == 2 else "triplets",
            {"anchor": texts[0], "positive": texts[1]},
            tuple(texts[2:]),
            why=said,
        )
    return None


def _is_number(values: Sequence[Any]) -> bool:
    present = [v for v in values if v is not None]
    return bool(present) and all(_number(v) for v in present)


def _number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _fraction(value: Any) -> bool:
    return _number(value) and math.isfinite(float(value)) and not float(value).is_integer()


def _finished(schema: Schema, names: Sequence[str], sample: Sequence[Mapping[str, Any]]) -> Schema:
    """Add the sentence that says why, the columns left out, and the kind of labels."""
    used = [*schema.columns.values(), *schema.negatives]
    left = tuple(n for n in names if n not in used)
    parts = [f"{name!r} as {role}" for role, name in schema.columns.items()]
    if schema.negatives:
        parts.append(" and ".join(repr(n) for n in schema.negatives) + " as negatives")
    why = f"{schema.supervision}: {', '.join(parts)}" + (f"; {schema.why}" if schema.why else "")
    if left:
        hints = "".join(did_you_mean(_normal(n), _KNOWN) for n in left if _misspelt(n))
        why += f"; left out: {', '.join(repr(n) for n in left)}{hints}"
    label = schema.columns.get("label")
    values = [row.get(label) for row in sample if row.get(label) not in (None, "")] if label else []
    integers = bool(values) and all(isinstance(v, bool) or (_number(v) and not _fraction(v)) for v in values)
    return Schema(schema.supervision, schema.columns, schema.negatives, why, left, integers)


def _misspelt(name: str) -> bool:
    normal = _normal(name)
    return normal not in _KNOWN and not _is_id(name) and bool(difflib.get_close_matches(normal, _KNOWN, 1, 0.8))


def look_like_classes(different: int, rows: int, longest: int) -> bool:
    """Whether so many different texts of at most ``longest`` characters in so many rows are likely names of classes."""
    return rows >= _CLASS_ROWS and different * _ROWS_A_CLASS < rows and longest <= _CLASS_LENGTH


def classes_said(column: str, different: int, rows: int) -> str:
    """What is to be said of the second column of pairs where it looks like classes: nothing else would betray it."""
    return (
        f"{column} has {different:,} different short texts in {rows:,} rows, as classes have, and is read as texts "
        'that the first column belongs with; to learn from classes call the columns text and label: {"text": [...], '
        '"label": [...]}'
    )


def note_classes(where: str, column: str, values: Sequence[Any]) -> None:
    """Say so of the second column of pairs, where it looks like classes."""
    found: set[str] = set()
    for value in values:  # a column of other texts is left after few of them
        found.add(value)
        if not look_like_classes(len(found), len(values), len(value)):
            return
    if found:
        note(f"{where}: {classes_said(column, len(found), len(values))}")
