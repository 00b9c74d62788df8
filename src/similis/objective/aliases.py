"""Class names of sentence-transformers and pytorch-metric-learning, read as our words where the meaning is the same."""

from __future__ import annotations

from collections.abc import Sequence

from similis.errors import UserError, did_you_mean
from similis.objective.peers import PEERS, Ours, Peer
from similis.objective.peers.base import PML
from similis.objective.peers.metric_learning_parts import regularizer_of
from similis.registry import entries, is_registered
from similis.text import FIRST, Call, Value

#: Arguments of the peers that belong to training or to a model, not to the loss.
NOT_OURS = ("mini_batch_size", "mini_batch_num_tokens", "show_progress_bar", "score_mini_batch_size")

#: Arguments of every loss of pytorch-metric-learning: a regularizer, its weight, and what it reads.
PENALTIES = (
    ("embedding_regularizer", "embedding_reg_weight", "embedding"),
    ("weight_regularizer", "weight_reg_weight", "weight"),
)


def translate(call: Call, library: str | None = None) -> Ours | None:
    """The criterion and settings that a peer's class stands for, or None where the name is one of our own.

    Args:
        call: the class with its arguments.
        library: whose class it is, where both libraries have one of that name.

    Raises:
        UserError: an argument that has no counterpart here, a class that has none, or a misspelt name.
    """
    if is_registered("criterion", call.name):
        return None
    rows = [row for row in PEERS if row.name == call.name]
    aliases = [row for row in rows if row.alias is not None and library in (None, row.library)]
    if not aliases:
        raise _unknown(call.name, rows)
    return _read(_chosen(call, aliases), call)


def _chosen(call: Call, aliases: Sequence[Peer]) -> Peer:
    """Of two classes of one name, the one that has the arguments."""
    given = [name for name in call.arguments if name and name not in NOT_OURS]
    fitting = [row for row in aliases if all(name in row.parameters for name in given)] or list(aliases)
    if len(fitting) > 1 and (not given or len(aliases) == len(fitting)):
        ways = " or ".join(f"{row.name}({row.parameters[-1]}=...) of {row.library}" for row in fitting)
        raise UserError(f"{call.name} is a class of both libraries: give an argument, as in {ways}")
    return fitting[0]


def _read(row: Peer, call: Call) -> Ours:
    arguments = dict(call.arguments)
    penalties = _penalties(row, arguments)
    for name in NOT_OURS:
        arguments.pop(name, None)
    if FIRST in arguments:
        arguments = {(row.parameters[0] if k == FIRST and row.parameters else k): v for k, v in arguments.items()}
    for name in arguments:
        if name not in row.parameters:
            takes = ", ".join(row.parameters) or "none"
            raise UserError(
                f"{row.name} is read here without an argument {name!r}{did_you_mean(name, row.parameters)}"
                f" (of {row.library}'s it takes {takes})"
            )
    missing = [name for name in row.required if name not in arguments]
    if missing:
        raise UserError(f"{row.name} needs {', '.join(missing)}, as in {row.name}({missing[0]}=...)")
    assert row.alias is not None
    found = row.alias(**arguments)
    return Ours(found.criterion, {**found.settings, "regularizers": penalties}) if penalties else found


def _penalties(row: Peer, arguments: dict[str, Value]) -> list[Value]:
    """Take the regularizers that pytorch-metric-learning gives to a loss out of its arguments."""
    found: list[Value] = []
    for name, weight, reads in PENALTIES if row.library == PML else ():
        given = arguments.pop(name, None)
        amount = arguments.pop(weight, 1)
        if given is not None:
            found.append(regularizer_of(given, amount, reads))
    return found


def _unknown(name: str, rows: Sequence[Peer]) -> UserError:
    """What to write instead of a name that is no criterion: a peer's class that differs, or a misspelt name."""
    for row in rows:
        if row.text is not None:
            case = "is the same here in one case" if row.agrees == "where" else "differs here"
            return UserError(f"{name} of {row.library} {case} ({row.note}): where that fits, write {row.text!r}")
        return UserError(f"{name} of {row.library} has no counterpart here: {row.note}")
    names = [e.name for e in entries("criterion")] + [row.name for row in PEERS if row.alias is not None]
    hint = f"{did_you_mean(name, names)} ('similis methods --kind criterion' lists them)"
    return UserError(f"there is no criterion called {name!r}{hint}")
