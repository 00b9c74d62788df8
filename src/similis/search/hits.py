"""What every search gives back, and the one protocol of everything that ranks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, overload, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Hit:
    """The ranked documents of one query, best first.

    Attributes:
        ids: document ids.
        scores: float32 ``[len(ids)]``, higher is better; the unit is the retriever's own.
        parts: where the search was asked to explain, for each document what its score is made of; else None.
    """

    ids: list[str]
    scores: NDArray[np.float32]
    parts: list[dict[str, float]] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[tuple[str, float]]:
        return zip(self.ids, self.scores.tolist(), strict=True)


class Hits(Sequence[Hit]):
    """The hits of each query, in the order the queries were given."""

    def __init__(self, hits: Sequence[Hit]) -> None:
        self._hits = list(hits)

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> Hits: ...
    def __getitem__(self, index: int | slice) -> Hit | Hits:
        return Hits(self._hits[index]) if isinstance(index, slice) else self._hits[index]

    def __len__(self) -> int:
        return len(self._hits)

    def __repr__(self) -> str:
        return f"Hits({len(self)} queries, {sum(map(len, self._hits))} documents)"

    def run(self, query_ids: Sequence[str]) -> dict[str, dict[str, float]]:
        """The hits as a TREC run: query id → document id → score."""
        return {qid: dict(hit) for qid, hit in zip(query_ids, self._hits, strict=True)}

    @classmethod
    def from_run(cls, run: Mapping[str, Mapping[str, float]], query_ids: Sequence[str]) -> Hits:
        """The hits of a TREC run, each query sorted by falling score; a query that is not in the run has none."""
        import numpy as np

        hits = []
        for qid in query_ids:
            rows = sorted(run.get(qid, {}).items(), key=lambda row: -row[1])
            hits.append(Hit([doc for doc, _ in rows], np.array([score for _, score in rows], np.float32)))
        return cls(hits)


@runtime_checkable
class Retriever(Protocol):
    """Anything that ranks documents for a text: dense, lexical, fused, re-ranked."""

    def search(self, queries: str | Sequence[str], k: int = 10) -> Hits:
        """The best ``k`` documents (fewer where fewer match) of each query; one string is a list of one."""
        ...
