"""Dependencies point one way, light commands stay light, and the docs say what the registry says."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "similis"
BASE = {"errors", "files", "progress", "threads", "text", "registry", "compiled"}
NOUNS = {"relation", "similarity", "criteria", "encoders"}
OBJECTIVE = {"keys", "mining", "regularizers", "objective"}

#: package → what it may import besides itself and the base.
MAY = {
    **dict.fromkeys(BASE, BASE),
    "relation": set(),
    "similarity": {"relation"},
    "criteria": {"relation", "similarity"},
    "encoders": {"similarity"},
    "keys": NOUNS,
    "mining": NOUNS,
    "regularizers": NOUNS,
    "objective": NOUNS | OBJECTIVE,
    "metrics": set(),
    "data": set(),
    "evaluation": {"metrics", "similarity"},
    "sampling": set(),
    "augment": set(),
    "training": NOUNS | OBJECTIVE | {"sampling", "data", "augment", "metrics", "evaluation", "indexes"},
    "search": set(),
    "indexes": {"search", "encoders", "data", "similarity"},
    "report": {"metrics", "evaluation"},
    "comparing": {
        *("encoders", "objective", "training", "evaluation", "metrics", "similarity"),
        *("data", "indexes", "search", "report"),
    },
}
ABOVE = {"judging", "judging_arrays", "leaking", "portraying", "api", "demo", "cli", "__init__"}


def imports(path: Path) -> Iterator[str]:
    """Names of similis' own packages that a file imports anywhere, lazily too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("similis."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.ImportFrom) and node.module == "similis":
            yield from (alias.name for alias in node.names if (SOURCE / alias.name).exists())
        elif isinstance(node, ast.Import):
            yield from (a.name.split(".")[1] for a in node.names if a.name.startswith("similis."))


@pytest.mark.parametrize("package", sorted(MAY))
def test_a_layer_imports_only_what_stands_above_it(package: str) -> None:
    files = (SOURCE / package).rglob("*.py") if (SOURCE / package).is_dir() else [SOURCE / f"{package}.py"]
    for file in files:
        for imported in imports(file):
            allowed = imported == package or imported in BASE | MAY[package]
            assert allowed, f"{file.relative_to(SOURCE)} imports similis.{imported}"


def test_every_package_has_its_place() -> None:
    found = {p.name.removesuffix(".py") for p in SOURCE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert found <= set(MAY) | ABOVE


def loaded_after(code: str) -> set[str]:
    """Top-level modules loaded in a fresh interpreter after ``code``."""
    script = f"import sys\n{code}\nprint(*{{m.split('.')[0] for m in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_help_loads_nothing_heavy() -> None:
    heavy = {"torch", "numpy", "sentence_transformers", "transformers", "pyarrow", "sklearn", "scipy", "faiss"}
    assert not heavy & loaded_after("import similis.cli")


def test_importing_similis_loads_nothing_heavy() -> None:
    assert not {"torch", "numpy"} & loaded_after("import similis")


def test_method_pages_say_what_the_registry_says() -> None:
    script = SOURCE.parents[1] / "docs" / "generate.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
