"""Compiled loops work where nothing can be written, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest

from similis.compiled import compiled


def _total(values: Any) -> Any:
    total = 0.0
    for value in values:
        total += 1.0 / value
    return total


@pytest.mark.parametrize("writable", [True, False])
def test_a_loop_is_compiled_and_divides_as_numpy_does(writable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = numba.njit

    def njit(*loop: Callable[..., Any], **options: Any) -> Any:
        if options.pop("cache", False) and not writable:
            raise RuntimeError("cannot cache function: no locator available")
        return usual(*loop, **options)

    monkeypatch.setattr(numba, "njit", njit)
    found = compiled(_total)
    assert found(np.array([1.0, 2.0, 4.0])) == 1.75
    assert found(np.array([0.0])) == np.inf
