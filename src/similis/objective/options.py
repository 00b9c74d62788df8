"""Settings of an objective as they are given, checked and written back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from similis.errors import UserError, did_you_mean
from similis.text import Call, format_value


def as_list(value: Any) -> list[Any]:
    if isinstance(value, str):
        return [value]
    return list(value) if isinstance(value, Sequence) else [value]


def one_of(what: str, value: Any, allowed: Sequence[str]) -> str:
    if value not in allowed:
        raise UserError(f"{what} must be one of {', '.join(allowed)}, not {value!r}{did_you_mean(str(value), allowed)}")
    return str(value)


def shown(value: Any) -> str:
    """A setting as the text form reads it: methods bare, the rest as Python."""
    if isinstance(value, nn.Module):
        return type(value).__name__
    if isinstance(value, str | Call):
        return str(value) if not isinstance(value, str) or "+" not in value else repr(value)
    if isinstance(value, Mapping):
        return str(dict(value))
    if isinstance(value, Sequence):
        return f"[{', '.join(shown(v) for v in value)}]"
    return format_value(value)


def quoted(value: Any) -> str:
    """A setting as Python takes it: methods as strings."""
    if isinstance(value, Call):
        return repr(str(value))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(quoted(v) for v in value)}]"
    return repr(value)
