"""Small corpora, an encoder that needs no model, and the brute force that searches are compared with."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np

WORDS = [
    "river",
    "stone",
    "cloud",
    "engine",
    "garden",
    "mirror",
    "violin",
    "copper",
    "ladder",
    "window",
    "forest",
    "planet",
    "butter",
    "rocket",
    "sailor",
]


class HashEncoder:
    """Each word has its own fixed random vector; a text is their sum. Reads and saves nothing but its settings."""

    def __init__(self, dimension: int = 16, similarity_name: str = "cosine") -> None:
        self.dimension, self.similarity_name, self.fingerprint = dimension, similarity_name, f"hash{dimension}"

    def encode(self, texts: list[str], batch_size: int = 32) -> np.ndarray:
        vectors = [sum((self._word(w) for w in text.split()), np.zeros(self.dimension)) for text in texts]
        return np.array(vectors, np.float32).reshape(len(texts), self.dimension)

    def save(self, folder: str) -> None:
        Path(folder).mkdir(parents=True)
        facts = {"dimension": self.dimension, "similarity_name": self.similarity_name}
        (Path(folder) / "hash.json").write_text(json.dumps(facts))

    @classmethod
    def load(cls, folder: Path) -> HashEncoder:
        return cls(**json.loads((Path(folder) / "hash.json").read_text()))

    def _word(self, word: str) -> np.ndarray:
        return np.random.default_rng(zlib.crc32(word.encode())).standard_normal(self.dimension)


def documents(n: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Ids and texts of 4 to 12 words."""
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice(WORDS, rng.integers(4, 13))) for _ in range(n)]
    return [f"d{i}" for i in range(n)], texts


def clustered(n: int, d: int, seed: int = 0, clusters: int = 40) -> np.ndarray:
    """Float32 ``[n, d]`` unit vectors around a few centres, with unequal variances: easy to code, like real ones."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((clusters, d))
    points = centres[rng.integers(0, clusters, n)] + 0.6 * rng.standard_normal((n, d))
    points *= np.linspace(1.5, 0.5, d)
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


def ranked(scores: np.ndarray, k: int) -> np.ndarray:
    """Positions ``[q, k]`` of the largest of ``[q, n]``, ties by lower position."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]
