"""One raw record to canonical rows, or the reason why it is set aside."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from similis.data.columns import Schema
from similis.data.rejects import BadRowError

#: One validated row under canonical column names.
Row = dict[str, Any]


def rows_of(values: Mapping[str, Any], schema: Schema) -> list[Row]:
    """The canonical rows of one record: one, or one for each positive where a record lists several.

    Raises:
        BadRowError: a field is missing, empty, of the wrong type, not finite, or not valid Unicode.
    """
    columns = schema.columns
    if schema.supervision in ("pairs", "triplets"):
        return _tuples(values, schema)
    if schema.supervision == "texts":
        return [_document(values, schema)]
    row: Row = {role: text(values, columns[role]) for role in ("text", "sentence1", "sentence2") if role in columns}
    if "score" in columns:
        row["score"] = score(values, columns["score"])
    if "label" in columns:
        row["label"] = label(values, columns["label"], schema.integer_labels)
    return [row]


def _tuples(values: Mapping[str, Any], schema: Schema) -> list[Row]:
    anchor = text(values, schema.columns["anchor"])
    positives = texts(values, schema.columns["positive"], schema.documents)
    if not positives:
        raise BadRowError(f"no text in column {schema.columns['positive']!r}")
    rows: list[Row] = [{"anchor": anchor, "positive": positive} for positive in positives]
    if schema.supervision == "triplets":
        negatives = [t for name in schema.negatives for t in texts(values, name, schema.documents, optional=True)]
        # An empty list says that there are none (keys of the batch serve then); an empty field is a mistake.
        if not negatives and not any(isinstance(values.get(name), list) for name in schema.negatives):
            raise BadRowError(f"no negative in column {' or '.join(repr(n) for n in schema.negatives)}")
        for row in rows:
            row["negatives"] = negatives
    return rows


def _document(values: Mapping[str, Any], schema: Schema) -> Row:
    columns = schema.columns
    title = optional_text(values, columns["title"]) if "title" in columns else ""
    # A document may be its title alone, as some corpora have it; one with neither is empty.
    body = optional_text(values, columns["text"]) if title.strip() else text(values, columns["text"])
    row: Row = {"text": body}
    if "title" in columns:
        row["title"] = title
    if "id" in columns:
        row["id"] = identifier(values, columns["id"])
    return row


def text(values: Mapping[str, Any], column: str) -> str:
    """The non-empty text in ``column``."""
    if column not in values:
        raise BadRowError(f"column {column!r} is missing")
    return _checked(values[column], column)


def optional_text(values: Mapping[str, Any], column: str) -> str:
    """The text in ``column``; empty where it is missing, null or blank."""
    value = values.get(column)
    if value is None or (isinstance(value, str) and not value.strip()):
        return ""
    return _checked(value, column)


def _checked(value: Any, column: str) -> str:
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise BadRowError(f"column {column!r} is not valid Unicode (a lone surrogate)")
        if value and not value.isspace():
            return value
    elif value is not None:
        raise BadRowError(f"column {column!r} holds {_kind(value)}, not text")
    raise BadRowError(f"column {column!r} is empty")


def texts(values: Mapping[str, Any], column: str, documents: Mapping[str, str], *, optional: bool = False) -> list[str]:
    """The texts of a column that holds one text, a list of texts, passages ``{title, text}``, or document ids."""
    value = values.get(column)
    if optional and (value is None or (isinstance(value, str) and not value.strip())):
        return []
    if not isinstance(value, list):
        return [text(values, column)]
    return [_item(item, column, documents) for item in value]


def _item(item: Any, column: str, documents: Mapping[str, str]) -> str:
    if documents:
        if str(item) not in documents:
            raise BadRowError(f"column {column!r} names document {str(item)!r}, which the corpus does not have")
        return documents[str(item)]
    if isinstance(item, Mapping):
        body = item.get("text") or item.get("document_text") or ""
        return _checked(" ".join(part for part in (item.get("title") or "", body) if part), column)
    return _checked(item, column)


def score(values: Mapping[str, Any], column: str) -> float:
    """The finite number in ``column`` (written as a number, or as text as in CSV)."""
    value = values.get(column)
    if value is None or (isinstance(value, str) and not value.strip()):
        raise BadRowError(f"column {column!r} has no score")
    if isinstance(value, (bool, list, dict)):
        raise BadRowError(f"column {column!r} holds {_kind(value)}, not a score")
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise BadRowError(f"column {column!r} holds {value!r}, not a score") from None
    if not math.isfinite(number):
        raise BadRowError(f"column {column!r} is {number}; a score must be finite")
    return number


def label(values: Mapping[str, Any], column: str, integers: bool) -> str | int:
    """The class in ``column``: a whole number where the file's labels are, else text."""
    value = values.get(column)
    if value is None or (isinstance(value, str) and not value.strip()):
        raise BadRowError(f"column {column!r} has no label")
    if not isinstance(value, (str, int, float)):
        raise BadRowError(f"column {column!r} holds {_kind(value)}, not one label")
    if not integers:
        return str(value)
    try:
        number = float(value)
    except ValueError:
        raise BadRowError(f"label {value!r} is not a whole number as the others are") from None
    if not math.isfinite(number) or not number.is_integer():
        raise BadRowError(f"label {value!r} is not a whole number as the others are")
    return int(number)


def identifier(values: Mapping[str, Any], column: str) -> str:
    """The id in ``column`` as text."""
    value = values.get(column)
    if isinstance(value, bool) or not isinstance(value, (str, int)) or not str(value).strip():
        raise BadRowError(f"column {column!r} has no id")
    return _checked(str(value), column)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, list):
        return "a list"
    return "an object" if isinstance(value, dict) else type(value).__name__
