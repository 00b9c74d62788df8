"""Where a long text may be cut: between any tokens, between paragraphs, between statements of Python."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from itertools import pairwise

SPLITS = ("tokens", "paragraphs", "python")

_BLANK = re.compile(r"(?<=\n)[ \t]*\n+")


def pieces(text: str, how: str) -> list[str]:
    """A text in parts that joined give it again.

    ``paragraphs`` end at blank lines. ``python``: each statement begins a part, those inside functions, classes and
    branches too, with the decorators before it; what does not parse is cut into paragraphs.

    Source of the cuts at statements: SEA's splitting by the syntax tree.
    """
    if how == "python":
        try:
            return _at_lines(text, _statements(ast.parse(text)))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return pieces(text, "paragraphs")
    if how == "paragraphs":
        ends = [found.end() for found in _BLANK.finditer(text)]
        return [text[start:stop] for start, stop in zip([0, *ends], [*ends, len(text)], strict=True) if stop > start]
    return [text]


def _statements(tree: ast.Module) -> list[int]:
    """Lines, counted from 0, on which statements begin."""
    lines = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt):
            decorators = [each.lineno for each in getattr(node, "decorator_list", [])]
            lines.add(min([node.lineno, *decorators]) - 1)
    return sorted(lines)


def _at_lines(text: str, starts: Sequence[int]) -> list[str]:
    # only what ends a line for Python's parser, whose numbers these are
    lines = re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", text)
    bounds = [0, *(start for start in starts if start), len(lines)]
    joined = ["".join(lines[start:stop]) for start, stop in pairwise(bounds)]
    return [part for part in joined if part]


def packed(parts: Sequence[str], lengths: Sequence[int], room: int) -> list[str]:
    """Parts joined to blocks of at most ``room`` tokens; a part that is longer is a block by itself."""
    blocks: list[str] = []
    size = 0
    for part, length in zip(parts, lengths, strict=True):
        if blocks and size + length <= room:
            blocks[-1] += part
            size += length
        else:
            blocks.append(part)
            size = length
    return blocks
