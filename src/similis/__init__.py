"""similis: learn, judge, repair, serve and explain similarity."""

from __future__ import annotations

__version__ = "0.1.0"
