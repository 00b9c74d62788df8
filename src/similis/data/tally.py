"""What ``check`` counts while rows stream past: duplicates by digest, lengths, labels and scores."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from similis.data.dedupe import fold
from similis.data.rows import Row

_SIDES = (("anchor", "positive"), ("sentence1", "sentence2"))
_MOST_LABELS = 1000


def digest(*texts: str) -> int:
    """64 bits of the folded texts; equal for texts that differ in case and white space only."""
    folded = "\0".join(fold(text) for text in texts)
    return int.from_bytes(blake2b(folded.encode(), digest_size=8).digest())


@dataclass
class Lengths:
    """Lengths of the texts of one column, in characters and in words between white space."""

    characters: array[int] = field(default_factory=lambda: array("L"))
    words: array[int] = field(default_factory=lambda: array("L"))

    def add(self, text: str) -> None:
        """Count one text."""
        self.characters.append(len(text))
        self.words.append(len(text.split()))

    def summary(self) -> dict[str, dict[str, float]]:
        """Minimum, median, 95th percentile (nearest rank) and maximum of both lengths."""
        return {"characters": _summary(self.characters), "words": _summary(self.words)}


def _summary(lengths: array[int]) -> dict[str, float]:
    if not lengths:
        return {}
    order, n = sorted(lengths), len(lengths)
    middle = (order[(n - 1) // 2] + order[n // 2]) / 2
    return {"min": order[0], "median": middle, "p95": order[-(-95 * n // 100) - 1], "max": order[-1]}


class Tally:
    """Counts over the validated rows of one split, in some 100 bytes a row whatever its texts' length."""

    def __init__(self) -> None:
        self.rows = 0
        self.same_row = 0
        self.same_anchor = 0
        self.same_sides = 0
        self.lengths: dict[str, Lengths] = {}
        self.labels: Counter[str | int] = Counter()
        self.scores = array("d")
        self.keys: Counter[int] = Counter()
        self.texts: set[int] = set()
        self._anchors: set[int] = set()
        self.positives: set[int] = set()

    def add(self, row: Row) -> None:
        """Count one validated row."""
        self.rows += 1
        texts = {name: value for name, value in row.items() if isinstance(value, str) and name not in ("label", "id")}
        for name, text in texts.items():
            self._length(name, text)
        for text in row.get("negatives", ()):
            self._length("negatives", text)
        key = digest(*(t for name, t in texts.items() if name != "title" or not texts.get("text")))
        self.same_row += key in self.keys
        self.keys[key] += 1
        self._sides(texts)
        if "label" in row:
            self.labels[row["label"]] += 1
        if "score" in row:
            self.scores.append(row["score"])

    def _length(self, name: str, text: str) -> None:
        self.lengths.setdefault(name, Lengths()).add(text)

    def _sides(self, texts: dict[str, str]) -> None:
        digests = {name: digest(text) for name, text in texts.items() if name != "title"}
        self.texts.update(digests.values())
        if "anchor" in digests:
            self.same_anchor += digests["anchor"] in self._anchors
            self._anchors.add(digests["anchor"])
        if "positive" in digests:
            self.positives.add(digests["positive"])
        for one, other in _SIDES:
            if one in digests and digests[one] == digests[other]:
                self.same_sides += 1

    def duplicates(self) -> dict[str, int]:
        """Counts of what repeats, by its name in the report."""
        found = {"rows_repeated": self.same_row}
        if self._anchors:
            found["anchors_repeated"] = self.same_anchor
        if self._anchors or "sentence1" in self.lengths:
            found["same_text_on_both_sides"] = self.same_sides
        return found

    def label_counts(self) -> dict[str, int]:
        """Rows of each label, the most frequent first; the rarest beyond 1,000 labels are left out."""
        return {str(name): count for name, count in self.labels.most_common(_MOST_LABELS)}

    def score_summary(self) -> dict[str, Any]:
        """Minimum, quartiles, maximum and mean of the scores, and counts in ten equal bins."""
        if not self.scores:
            return {}
        order, n = sorted(self.scores), len(self.scores)
        low, high = order[0], order[-1]
        bins = [0] * 10
        for score in order:
            bins[min(9, int((score - low) / (high - low) * 10)) if high > low else 0] += 1
        at = {"min": 0, "q1": (n - 1) // 4, "median": (n - 1) // 2, "q3": 3 * (n - 1) // 4, "max": n - 1}
        return {name: order[i] for name, i in at.items()} | {"mean": sum(order) / n, "histogram": bins}
