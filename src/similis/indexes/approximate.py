"""Approximate search: a scan of 4-bit codes finds candidates, the full vectors rank them.

Each vector is rotated (OPQ), cut into groups of 4 or 2 coordinates and each group coded in 4 bits; a query scans all
codes with table look-ups in registers (faiss' fast scan). The best candidates are then scored with the stored
vectors. How many candidates, and how fine the codes, is measured at build time on held queries until recall@10 against
exact search reaches 0.99. Above a million vectors the codes are kept in inverted lists and only some are scanned.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from similis.errors import UserError, did_you_mean
from similis.indexes.exact import ExactIndex, Positions, best, rescore
from similis.indexes.reduction import Reduction, Scorer, Vectors, inner_products, plain_query
from similis.registry import Source, register

#: Sizes from which codes pay, and from which lists do.
CODES_FROM, LISTS_FROM = 50_000, 1_000_000
KINDS = ("auto", "exact", "pq", "ivf")

#: The recall that is sought, and what the search for settings aims at, so that held-out queries reach it too.
RECALL, AIM = 0.99, 0.993
#: Candidates for the best 10 that are tried, and training vectors.
CANDIDATES, TRAINING = (20, 50, 100, 200, 400), 20_000
#: Vectors coded at a time.
_CHUNK = 65_536
#: Rounding between a matrix product and the reported score never hides a document this close to the k-th.
_SPARE = 8


def choose(n: int, d: int, kind: str = "auto") -> str:
    """``exact``, ``pq`` or ``ivf`` for n vectors of d dimensions.

    Raises:
        UserError: an unknown kind.
    """
    kind = {"approximate": "pq" if n < LISTS_FROM else "ivf"}.get(kind, kind)
    if kind not in KINDS:
        raise UserError(f"index kind {kind!r} is unknown; one of {', '.join(KINDS)}{did_you_mean(kind, KINDS)}")
    if kind != "auto":
        return kind
    if n < CODES_FROM or d < 32:
        return "exact"
    return "pq" if n < LISTS_FROM else "ivf"


@dataclass(frozen=True)
class Settings:
    """What was tuned, and what it reached.

    Attributes:
        group: coordinates coded together in 4 bits.
        candidates: how many are rescored for the best 10; in proportion for other depths.
        lists, probes: inverted lists and how many are scanned; 1 and 1 without lists.
        recall: recall@10 against exact search on the half of the held queries that settings are checked on.
        queries: how many those were.
    """

    group: int
    candidates: int
    lists: int
    probes: int
    recall: float
    queries: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@register(
    "index",
    "pq",
    source=Source(
        "Cache locality is not enough: High-Performance Nearest Neighbor Search with Product Quantization Fast Scan",
        "André, Kermarrec and Le Scouarnec",
        2015,
    ),
    family="dense",
)
class ApproximateIndex:
    """4-bit codes scanned, candidates rescored with the full vectors.

    Args:
        vectors: the stored keys, float32 ``[n, r]``, may be memory-mapped.
        codes: the faiss index over them.
        settings: what :meth:`build` tuned.
        squared: the codes hold the keys without their last coordinate and look for the nearest
            (see :class:`similis.indexes.reduction.Reduction`).
    """

    kind = "approximate"

    def __init__(self, vectors: Vectors, codes: Any, settings: Settings, squared: bool = False) -> None:
        self.vectors, self.codes, self.settings, self.squared = vectors, codes, settings, squared

    def __len__(self) -> int:
        return len(self.vectors)

    @classmethod
    def build(
        cls, vectors: Vectors, queries: Vectors, reduction: Reduction, *, kind: str = "pq", seed: int = 0
    ) -> ApproximateIndex:
        """Code the vectors and tune on held queries.

        Args:
            vectors: mapped keys, float32 ``[n, r]``.
            queries: mapped queries ``[t, r]``: half tune, half measure.
            reduction: the similarity.
            kind: ``pq`` or ``ivf``.
            seed: of the choice of training vectors.
        """
        gold = ExactIndex(vectors).search(queries, 10, reduction.score)[1]
        made = None
        for group in (4, 2):
            codes, lists = _coded(vectors, group, reduction.squared, kind, seed)
            made = _tuned(vectors, codes, lists, group, queries, gold, reduction)
            if made.settings.recall >= RECALL:
                break
        assert made is not None
        return made

    def search(self, queries: Vectors, k: int, score: Scorer = inner_products) -> tuple[Vectors, Positions]:
        """Scores and positions ``[q, min(k, n)]`` as in :meth:`ExactIndex.search`; -inf and -1 where it has too few."""
        k = min(k, len(self.vectors))
        wanted = max(k, -(-self.settings.candidates * k // 10)) + _SPARE
        if wanted >= len(self.vectors) // 2:
            return ExactIndex(self.vectors).search(queries, k, score)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        positions = np.full((len(queries), k), -1, np.int64)
        for row, found in enumerate(self.candidates(queries, wanted)):
            near = np.sort(found[found >= 0])
            products = np.vecdot(np.asarray(self.vectors[near]), queries[row])
            near = np.sort(near[best(products, k + _SPARE)])
            kept_scores, kept = rescore(self.vectors, queries[row], near, k, score)
            scores[row, : len(kept)], positions[row, : len(kept)] = kept_scores, kept
        return scores, positions

    def candidates(self, queries: Vectors, wanted: int) -> Positions:
        """``[q, wanted]`` positions by falling approximate score, -1 where there are no more."""
        found: Positions = self.codes.search(_coded_queries(queries, self.squared, self.codes.d), wanted)[1]
        return found

    def save(self, path: Path) -> None:
        """Write the codes; vectors and settings are kept elsewhere."""
        import faiss

        faiss.write_index(self.codes, str(path))

    @classmethod
    def load(cls, path: Path, vectors: Vectors, settings: Settings, squared: bool) -> ApproximateIndex:
        """Open what :meth:`save` wrote.

        Raises:
            UserError: the file is not a faiss index of these vectors.
        """
        import faiss

        try:
            codes = faiss.read_index(str(path))
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise UserError(f"{path} cannot be read as a faiss index ({reason}); build the index again") from None
        if codes.ntotal != len(vectors):
            raise UserError(f"{path} holds {codes.ntotal} codes for {len(vectors)} vectors; build the index again")
        set_probes(codes, settings.probes)
        return cls(vectors, codes, settings, squared)


def set_probes(codes: Any, probes: int) -> None:
    """How many lists a search scans; nothing where the codes are in no lists."""
    import faiss

    inner = faiss.downcast_index(codes.index)
    if hasattr(inner, "nprobe"):
        inner.nprobe = probes


def _tuned(
    vectors: Vectors,
    codes: Any,
    lists: int,
    group: int,
    queries: Vectors,
    gold: Positions,
    reduction: Reduction,
) -> ApproximateIndex:
    """The cheapest settings that reach the aim on every other query and the recall sought on the others."""
    made = ApproximateIndex(vectors, codes, Settings(group, 0, lists, 1, 0.0, 0), reduction.squared)
    probes, depth = 1, min(CANDIDATES[-1], len(vectors))
    while True:
        set_probes(codes, probes)
        found = made.candidates(queries, depth)
        reached = {size: _recalls(found[:, :size], gold) for size in CANDIDATES}
        enough = [size for size, r in reached.items() if r[::2].mean() >= AIM and r[1::2].mean() >= RECALL]
        if enough or 2 * probes > lists:
            break
        probes *= 2
    size = enough[0] if enough else CANDIDATES[-1]
    held = reached[size][1::2]
    made.settings = Settings(group, size, lists, probes, round(float(held.mean()), 4), len(held))
    return made


def _recalls(found: Positions, gold: Positions) -> NDArray[np.float64]:
    """``[q]``, the share of each query's true best that is among the candidates."""
    hits = [np.isin(true, candidates).mean() for candidates, true in zip(found, gold, strict=True)]
    return np.array(hits)


def _coded(vectors: Vectors, group: int, squared: bool, kind: str, seed: int) -> tuple[Any, int]:
    """A trained faiss index holding all vectors, and its number of lists."""
    import faiss

    n = len(vectors)
    chosen = np.sort(np.random.default_rng(seed).choice(n, min(n, TRAINING), replace=False))
    sample = _coded_keys(vectors[chosen], squared, group)
    d = sample.shape[1]
    metric = faiss.METRIC_L2 if squared else faiss.METRIC_INNER_PRODUCT
    rotation = faiss.OPQMatrix(d, d // group)
    rotation.niter, rotation.niter_pq, rotation.max_train_points = 10, 4, len(sample)
    # OPQ trains the rotation for the codes that are used: 4 bits, where faiss would take 8.
    four_bits = faiss.ProductQuantizer(d, d // group, 4)
    rotation.pq = four_bits
    lists = max(1, int(4 * n**0.5)) if kind == "ivf" else 1
    if kind == "ivf":
        flat = faiss.IndexFlat(d, metric)
        inner: Any = faiss.IndexIVFPQFastScan(flat, d, lists, d // group, 4, metric)
        inner.cp.min_points_per_centroid = 1
    else:
        inner = faiss.IndexPQFastScan(d, d // group, 4, metric)
    codes = faiss.IndexPreTransform(rotation, inner)
    codes.train(sample)
    rotation.pq = None
    for start in range(0, n, _CHUNK):
        codes.add(_coded_keys(vectors[start : start + _CHUNK], squared, group))
    return codes, lists


def _coded_keys(keys: Vectors, squared: bool, group: int) -> Vectors:
    """What is coded of the stored keys ``[n, r]``; zeros pad it to a multiple of ``group`` and change nothing."""
    plain = np.asarray(keys)[:, :-1] if squared else np.asarray(keys)
    return _padded(plain, -(-plain.shape[1] // group) * group)


def _coded_queries(queries: Vectors, squared: bool, d: int) -> Vectors:
    """The queries that go with :func:`_coded_keys`: for distances, the plain vector."""
    return _padded(plain_query(queries) if squared else queries, d)


def _padded(vectors: Vectors, d: int) -> Vectors:
    short = d - vectors.shape[1]
    return np.ascontiguousarray(np.pad(vectors, ((0, 0), (0, short))) if short else vectors, np.float32)
