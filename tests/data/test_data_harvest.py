"""The harvest takes public docstrings, each once, and its splits share no module and no near copy."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from similis.data import dedupe, harvest
from similis.errors import UserError

BODY = "Long explanation number {0} about topic{0}, which names detail{0} and further words{0} of its own only."


def function(name: str, number: int, indent: str = "") -> str:
    inner = indent + "    "
    text = f'"""Explain topic{number} to readers{number}.\n\n{inner}{BODY.format(number)}\n{inner}"""'
    return f"{indent}def {name}():\n{inner}{text}\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "lib"
    files = {
        "pack/__init__.py": '"""Package docstring with summary.\n\n' + BODY.format(0) + '\n"""\n',
        "pack/one.py": function("public", 1) + function("_private", 2) + "class C:\n" + function("method", 3, "    "),
        "pack/copy.py": function("again", 1),
        "pack/tests/inner.py": function("tested", 4),
        "pack/test_it.py": function("tested", 5),
        "pack/_vendor/dep.py": function("vendored", 6),
        "pack/broken.py": "def (:\n",
        "pack/latin.py": function("bad", 7),
        "pack/short.py": 'def f():\n    """Two words.\n\n    ' + BODY.format(8) + '"""\n',
        "pack/brief.py": 'def f():\n    """A summary of enough words.\n\n    Too brief."""\n',
        "pack/signature.py": 'def f():\n    """f(a, b) -> c d e.\n\n    ' + BODY.format(9) + '"""\n',
        "pack/danger.py": "raise SystemExit('imported')\n" + function("parsed", 10),
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "pack/latin.py").write_bytes("# caf\xe9\n".encode("latin-1") + function("bad", 7).encode())
    return root


def test_only_public_docstrings_with_summary_and_rest_are_taken_once(tree: Path) -> None:
    items = harvest.harvest_docstrings(roots=[tree])
    assert [item.id for item in items] == ["pack.copy:again", "pack.danger:parsed", "pack.one:C.method", "pack:"]
    assert items[2].summary == "Explain topic3 to readers3."
    assert items[2].body == BODY.format(3)
    assert (items[2].module, items[2].name) == ("pack.one", "C.method")


def test_limit_takes_the_same_items_each_time_and_others_with_another_seed(tmp_path: Path) -> None:
    for number in range(80):
        (tmp_path / f"module{number}.py").write_text(function("f", number))
    some = harvest.harvest_docstrings(limit=20, roots=[tmp_path])
    assert len(some) == 20
    assert some == harvest.harvest_docstrings(limit=20, roots=[tmp_path])
    assert some != harvest.harvest_docstrings(limit=20, seed=1, roots=[tmp_path])


def test_a_wrapped_summary_is_joined_and_one_that_the_rest_repeats_is_left_out() -> None:
    rest = "Further words that make the rest of this docstring long enough to be taken."
    assert harvest.divide(f"A summary that\nis wrapped. More on it.\n\n{rest}") == (
        "A summary that is wrapped.",
        f"More on it.\n\n{rest}",
    )
    assert harvest.divide(f"A summary of words.\n\n{rest} A summary  of\nwords.") is None


def test_no_roots_with_docstrings_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no docstrings"):
        harvest.harvest_docstrings(roots=[tmp_path])
    with pytest.raises(UserError, match="limit"):
        harvest.harvest_docstrings(limit=0, roots=[tmp_path])


def near_items() -> list[harvest.DocItem]:
    """300 modules of four items; every third module copies another with a word changed."""
    rng = random.Random(0)
    items = []
    for module in range(300):
        topic = module // 3 if module % 3 else module
        for k in range(4):
            words = random.Random(topic * 10 + k).sample(range(10**6), 30)
            body = [f"w{w}" for w in words]
            body[rng.randrange(30)] = "changed"
            items.append(
                harvest.DocItem(f"m{module}:{k}", f"m{module}", str(k), f"s{module} t{k} u{module}{k}", " ".join(body))
            )
    return items


def test_splits_share_no_module_and_no_near_copy() -> None:
    parts = harvest.split_by_module(near_items(), seed=3)
    modules = [{item.module for item in part} for part in parts]
    assert len(set.union(*modules)) == sum(len(part) for part in modules)
    assert all(len(part) > 40 for part in parts)
    bodies = [[item.body for item in part] for part in parts]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert dedupe.overlap(bodies[one], bodies[other], 0.5).tolist() == []
    assert sum(len(part) for part in parts) < len(near_items()) - 100
    assert parts == harvest.split_by_module(near_items(), seed=3)


def test_this_python_yields_items_quickly_with_a_limit() -> None:
    items = harvest.harvest_docstrings(limit=50)
    assert len(items) == 50
    assert all(len(item.summary.split()) >= 3 and len(item.body) >= 60 for item in items)
