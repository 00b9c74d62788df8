"""The data set every Python carries: docstrings of the standard library and the installed packages.

The summary line is the query, the rest of the docstring the document. Files are parsed, never imported.
"""

from __future__ import annotations

import ast
import inspect
import os
import re
import sysconfig
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from similis.data import dedupe
from similis.errors import UserError
from similis.progress import note, track

#: At most so many items.
MOST = 20_000
#: Source parsed at most (about 7 MB a second); where there is more, files are taken in the order of a hash.
MOST_BYTES = 110_000_000
#: One generated file (tables, bindings) must not take the time of a hundred others.
_LARGEST_FILE = 1_000_000
_MIN_BODY = 60
_MIN_WORDS = 3
_SKIPPED_FOLDERS = frozenset(
    {
        *("test", "tests", "testing", "idle_test", "examples", "benchmarks"),
        *("_vendor", "_vendored", "vendor", "vendored", "extern", "third_party"),
        *("site-packages", "dist-packages", "__pycache__", "node_modules"),
    }
)
_SKIPPED_FILE = re.compile(r"(test_.*|.*_tests?|conftest|setup|__main__)\.py")
#: Near copies across the splits: looser than within one, because leaking flatters and losing a row costs little.
_LEAK = 0.5


@dataclass(frozen=True)
class DocItem:
    """One docstring: ``summary`` is its first sentence (the query), ``body`` the rest (the document).

    ``id`` is ``module:name``, ``module`` the dotted path of the file, ``name`` the dotted name in it
    (empty for the module's own docstring).
    """

    id: str
    module: str
    name: str
    summary: str
    body: str


def harvest_docstrings(
    limit: int | None = None, seed: int = 0, *, roots: Sequence[Path] | None = None
) -> list[DocItem]:
    """Collect docstrings, without exact and near duplicates, in the order of their ids.

    Left out: tests, private names, vendored copies, summaries under three words or that only repeat the
    signature, rests under 60 characters or that repeat the summary. Where there is more than is wanted, files
    and then items are taken in the order of a hash of their names, so that the sample favours no package.

    Args:
        limit: at most so many items (20,000 where not given, and never more).
        seed: changes which items are taken where there are more.
        roots: folders of Python files; by default those of the running Python.

    Raises:
        UserError: ``limit`` is not positive, or there are no docstrings at all.
    """
    most = MOST if limit is None else min(limit, MOST)
    if most < 1:
        raise UserError(f"limit must be at least 1, not {limit}")
    files = sorted(_files(roots or _installed()), key=lambda f: _unit(f"file:{seed}:{f[0]}"))
    items = _distinct(sorted(_collect(files, most), key=lambda item: item.id))
    if not items:
        raise UserError("no docstrings were found; this Python was installed without sources")
    chosen = sorted(items, key=lambda item: _unit(f"item:{seed}:{item.id}"))[:most]
    return sorted(chosen, key=lambda item: item.id)


def split_by_module(
    items: Sequence[DocItem], seed: int = 0, *, dev: float = 0.1, test: float = 0.1
) -> tuple[list[DocItem], list[DocItem], list[DocItem]]:
    """Divide into train, dev and test by a hash of the module, so that siblings of one file stay together.

    Items of train whose summary or body nearly repeats one of dev or test are removed from train, and those of
    dev that repeat one of test from dev: copies and families of near-equal classes cannot leak.
    """
    parts: tuple[list[DocItem], list[DocItem], list[DocItem]] = ([], [], [])
    for item in items:
        # Another hash than the one that chose the files: those chosen have the low values of that one.
        u = _unit(f"split:{seed}:{item.module}")
        parts[2 if u < test else 1 if u < test + dev else 0].append(item)
    train, held_dev, held_test = parts
    held_dev = _without_leaks(held_dev, held_test)
    return _without_leaks(train, [*held_dev, *held_test]), held_dev, held_test


def _without_leaks(items: list[DocItem], held_out: Sequence[DocItem]) -> list[DocItem]:
    leaking: set[int] = set()
    for side in (_summary, _body):
        leaking.update(dedupe.overlap([side(i) for i in held_out], [side(i) for i in items], _LEAK).tolist())
    return [item for index, item in enumerate(items) if index not in leaking]


def _summary(item: DocItem) -> str:
    return item.summary


def _body(item: DocItem) -> str:
    return item.body


def _unit(name: str) -> float:
    """A number in [0, 1) that depends on the name alone."""
    return int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=6).digest()) / 2**48


def _installed() -> list[Path]:
    paths = sysconfig.get_paths()
    return [Path(paths[key]) for key in ("stdlib", "platstdlib", "purelib", "platlib")]


def _files(roots: Iterable[Path]) -> Iterator[tuple[str, Path, int]]:
    """Module name, path and size in bytes of every file worth parsing."""
    seen: set[str] = set()
    for root in dict.fromkeys(root.resolve() for root in roots):
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(f for f in folders if f.lower() not in _SKIPPED_FOLDERS and f.isidentifier())
            for name in sorted(names):
                if not name.endswith(".py") or _SKIPPED_FILE.fullmatch(name):
                    continue
                path = Path(folder, name)
                module = _module(path.relative_to(root))
                size = path.stat().st_size
                if module not in seen and 0 < size <= _LARGEST_FILE:
                    seen.add(module)
                    yield module, path, size


def _module(path: Path) -> str:
    parts = list(path.with_suffix("").parts)
    if parts[-1] == "__init__" and len(parts) > 1:
        parts.pop()
    return ".".join(parts)


def _collect(files: Sequence[tuple[str, Path, int]], most: int) -> list[DocItem]:
    """Items of the files in order, until there are enough to choose from or enough source was parsed."""
    # Duplicates take a part of what is found; what is beyond twice the wish would be thrown away.
    enough, read, parsed = 2 * most, 0, 0
    items: list[DocItem] = []
    for module, path, size in track(files, total=len(files), label="docstrings", unit="file"):
        if len(items) >= enough or read + size > MOST_BYTES:
            note(
                f"docstrings: {parsed:,} of {len(files):,} files ({read / 1e6:.0f} MB), chosen by a hash of "
                "their names, hold enough"
            )
            break
        read, parsed = read + size, parsed + 1
        items.extend(parse_file(path, module))
    return items


def parse_file(path: Path, module: str) -> list[DocItem]:
    """The items of one file; none where it is not UTF-8 Python of this version."""
    try:
        source = path.read_text(encoding="utf-8")
        if '"""' not in source and "'''" not in source:
            return []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (OSError, UnicodeDecodeError, SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    items = [_item(module, name, node) for name, node in _documented(tree, "")]
    return list({item.id: item for item in items if item}.values())


_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _documented(node: _Documented, prefix: str) -> Iterator[tuple[str, _Documented]]:
    """The node and the public classes and functions in it, with dotted names; bodies of functions are not entered."""
    yield prefix, node
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return
    for child in node.body:
        if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and not child.name.startswith("_"):
            yield from _documented(child, f"{prefix}.{child.name}" if prefix else child.name)


def _item(module: str, name: str, node: _Documented) -> DocItem | None:
    docstring = ast.get_docstring(node, clean=False)
    if not docstring or len(docstring) < _MIN_BODY:
        return None
    parts = divide(inspect.cleandoc(docstring))
    if parts is None or _is_signature(parts[0], name):
        return None
    return DocItem(f"{module}:{name}", module, name, *parts)


def _is_signature(summary: str, name: str) -> bool:
    """Whether the first line is a call such as ``name(a, b) -> c``, as extension modules write it."""
    head, bracket, _ = summary.partition("(")
    return bool(name and bracket) and head.strip().rpartition(".")[2] == name.rpartition(".")[2]


_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z`\"'*(:])")


def divide(docstring: str) -> tuple[str, str] | None:
    """Summary and rest of a cleaned docstring; None where either is too short or the rest repeats the summary.

    The summary is the first sentence of the first paragraph (which PEP 257 wants on one line, and which many
    wrap), the rest all that follows it.
    """
    paragraph, _, rest = docstring.partition("\n\n")
    joined = " ".join(paragraph.split())
    sentence, *more = _SENTENCE.split(joined, maxsplit=1)
    body = "\n\n".join(part for part in (" ".join(more), rest.strip()) if part)
    if len(sentence.split()) < _MIN_WORDS or len(sentence) > 300 or len(body) < _MIN_BODY:
        return None
    if dedupe.fold(sentence).rstrip(".!?: ") in dedupe.fold(body):
        return None
    if not any(character.isalpha() for character in sentence) or sentence.startswith((">>>", "..", "+-", "==")):
        return None
    try:
        (sentence + body).encode()
    except UnicodeEncodeError:
        return None
    return sentence, body


def _distinct(items: list[DocItem]) -> list[DocItem]:
    """One item of each class of exact or near duplicate summaries, and then of bodies."""
    rules: list[tuple[Callable[[DocItem], str], Callable[[Sequence[str]], dedupe.Ints]]] = [
        (_summary, dedupe.exact_duplicates),
        (_body, dedupe.exact_duplicates),
        (_summary, dedupe.near_duplicates),
        (_body, dedupe.near_duplicates),
    ]
    for side, label in rules:
        labels = label([side(item) for item in items])
        items = [item for index, item in enumerate(items) if labels[index] == index]
    return items
