"""A planted upgrade: documents in words that an old model knows, and queries in other words for the same things."""

from __future__ import annotations

import random

THINGS = 40
DOCUMENTS = 60


def documents(seed: int = 0) -> list[list[int]]:
    """Things of which each document speaks."""
    generator = random.Random(seed)
    return [generator.sample(range(THINGS), 6) for _ in range(DOCUMENTS)]


def document(things: list[int]) -> str:
    return " ".join(f"thing{chr(97 + t // 26)}{chr(97 + t % 26)}" for t in things)


def query(things: list[int], generator: random.Random) -> str:
    """Three of the things, in the words of queries."""
    chosen = generator.sample(things, 3)
    return " ".join(f"alias{chr(97 + t // 26)}{chr(97 + t % 26)}" for t in chosen)


def halves(count: int = 240, seed: int = 1) -> list[tuple[str, str]]:
    """What the old model learnt: parts of documents belong together; half of the aliases were never seen."""
    generator, own = random.Random(seed), documents()
    rows = []
    for number in range(count):
        things = own[number % len(own)]
        rows.append((document(generator.sample(things, 3)), document(things)))
        known = [t for t in things if t % 2]
        if len(known) > 2:
            rows.append((query(known, generator), document(things)))
    return rows


def asked(count: int = 360, seed: int = 2) -> list[tuple[str, str]]:
    """Queries with their documents."""
    generator, own = random.Random(seed), documents()
    return [(query(own[n % len(own)], generator), document(own[n % len(own)])) for n in range(count)]
