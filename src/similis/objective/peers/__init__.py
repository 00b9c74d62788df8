"""What the classes of pytorch-metric-learning 2.9 and sentence-transformers 6.2 are called here, one row a class.

May import the registry and the text form only; ``objective/aliases.py`` reads an alias by it, and
``docs/from-peers.md`` is written from it. A row that is a function is an alias: its parameters are the peer's, with
the peer's defaults, and its value is our text.
"""

from similis.objective.peers import (
    metric_learning,
    metric_learning_parts,
    metric_learning_proxies,
    sentence_others,
    sentence_transformers,
)
from similis.objective.peers.base import Ours, Peer

#: Every class of the peers, in the order of the documentation.
PEERS: tuple[Peer, ...] = (
    *sorted((*metric_learning.ROWS, *metric_learning_proxies.ROWS), key=lambda row: row.name.lower()),
    *metric_learning_parts.ROWS,
    *sentence_transformers.ROWS,
    *sentence_others.ROWS,
)

__all__ = ["PEERS", "Ours", "Peer"]
