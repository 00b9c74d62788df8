"""Hard negatives for pairs, found by a search among the documents: by the model itself as it learns, or by words.

A source of negatives is built from its settings and asked at the start of epochs; it returns text codes ``[n, count]``,
-1 where a row has fewer; ``adore`` alone has each batch search for itself. Positives of the same query anywhere in the
data, and the query itself, are never taken.
"""

from similis.training.negatives import fixed, searched
from similis.training.negatives.base import Negatives, Search, negatives
from similis.training.negatives.fixed import Adore
from similis.training.negatives.searched import ByWords, Guided, Hard
from similis.training.negatives.searching import Searching

__all__ = ["Adore", "ByWords", "Guided", "Hard", "Negatives", "Search", "Searching", "fixed", "negatives", "searched"]
