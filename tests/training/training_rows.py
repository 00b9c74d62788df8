"""Small made-up rows to train on, and a script that trains on them in a process of its own."""

from __future__ import annotations

import random

SCRIPT = """
import sys, time
sys.path.insert(0, {folder!r})
from training_rows import pairs
from similis.training import train
from similis.training.running import checkpoints
real = checkpoints.Checkpoints.save
def slow_save(self, *given):
    found = real(self, *given)
    print("saved", flush=True)
    time.sleep({pause})
    return found
checkpoints.Checkpoints.save = slow_save
fitted = train(pairs(200), output={output!r}, dimension=16, epochs=8, batch_size=16, save_steps={save})
print("done", fitted.outcome.position.step, flush=True)
"""


def pairs(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Queries of three of the seven rare words of their document."""
    generator = random.Random(seed)
    words = [f"{a}{b}{c}" for a in "bdfgk" for b in "aeiou" for c in "lmnrst"]
    rows = []
    for _ in range(count):
        topic = generator.sample(words, 7)
        rows.append((" ".join(generator.sample(topic, 3)), " ".join([*topic, *generator.sample(words, 5)])))
    return rows


def labelled(count: int, classes: int = 4, seed: int = 0) -> dict[str, list[str]]:
    """Texts of words of which most belong to their class."""
    generator = random.Random(seed)
    rows: dict[str, list[str]] = {"text": [], "label": []}
    for number in range(count):
        label = number % classes
        own = [f"topic{label}{chr(97 + generator.randrange(12))}" for _ in range(4)]
        noise = [f"filler{chr(97 + generator.randrange(20))}" for _ in range(3)]
        rows["text"].append(" ".join([*own, *noise]))
        rows["label"].append(f"c{label}")
    return rows
