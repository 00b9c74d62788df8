"""What a run of pre-training is asked for, and what it gives back."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from similis.encoders.library.dense import SentenceTransformerEncoder
from similis.errors import UserError


@dataclass(frozen=True)
class Settings:
    """How to pre-train; see :func:`~similis.training.pretraining.running.pretrain`.

    Raises:
        UserError: a setting out of range.
    """

    how: str = "retromae"
    max_steps: int = 1000
    batch_size: int = 16
    learning_rate: float = 3e-5
    warmup_steps: float = 0.1
    seed: int = 0
    bf16: bool = False

    def __post_init__(self) -> None:
        if self.max_steps < 1 or self.batch_size < 1 or self.learning_rate <= 0:
            raise UserError("pretrain needs max_steps and batch_size of at least 1 and a learning_rate above 0")


@dataclass(frozen=True)
class Pretrained:
    """A pre-trained encoder and how it came about.

    Attributes:
        encoder: with the last weights.
        base: what it started from.
        settings: of the run.
        texts: how many there were.
        history: mean loss of each tenth of the run: ``step`` at its end, and ``loss``.
        seconds: in training, those before a kill included.
        output: the model's folder, or None.
    """

    encoder: SentenceTransformerEncoder
    base: str
    settings: Settings
    texts: int
    history: list[dict[str, float]]
    seconds: float
    output: Path | None

    def as_dict(self) -> dict[str, Any]:
        """Everything but the encoder, for JSON."""
        return {
            "output": None if self.output is None else str(self.output),
            "base": self.base,
            **asdict(self.settings),
            "texts": self.texts,
            "dimension": self.encoder.dimension,
            "history": self.history,
            "seconds": round(self.seconds, 2),
        }

    def as_text(self) -> str:
        """A few lines for a person."""
        first, last = self.history[0], self.history[-1]
        lines = [
            f"{self.settings.how} on {self.texts:,} texts, {last['step']:,.0f} steps, {self.seconds:.1f} s",
            f"loss {first['loss']:.4f} until step {first['step']:,.0f}, {last['loss']:.4f} in the last part",
        ]
        if self.output is not None:
            lines.append(f"saved in {self.output}; train it further with similis fit --base {self.output}")
        return "\n".join(lines)
