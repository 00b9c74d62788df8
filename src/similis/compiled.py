"""Loops that array operations cannot say, compiled; imports numba, so that only modules of such loops import it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(loop: Callable[..., Any]) -> Callable[..., Any]:
    """A function on arrays, compiled at its first call and kept on disk where a folder for that can be written.

    Divisions by zero give what they give in NumPy: Python's own check of every one would keep a loop from being
    vectorised.
    """
    options = {"nogil": True, "error_model": "numpy"}
    try:
        kept: Callable[..., Any] = numba.njit(cache=True, **options)(loop)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        kept = numba.njit(**options)(loop)
    return kept
