"""Training few of a transformer's parameters: low-rank adapters by peft, or its biases alone.

Adapters are saved as adapters: small files beside the name of the base they belong to, which the library loads again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from similis.errors import MissingExtraError, UserError
from similis.registry import Source, bind, register

#: What architectures call the attention's query and value maps.
_QUERY_AND_VALUE = ("query", "value", "q", "v", "q_lin", "v_lin", "q_proj", "v_proj")

#: Puts adapters into a sentence-transformers model, or freezes parts of it.
Adapt = Callable[[Any], None]


def adapt(model: Any, text: str) -> None:
    """Freeze a model but for what the recipe's ``peft`` names, such as ``"lora(rank=8)"``.

    Args:
        model: of sentence-transformers, with a transformer in it.
        text: of a registered way.

    Raises:
        UserError: an unknown way, or a model without a transformer.
        MissingExtraError: adapters without the library peft.
    """
    make: Adapt = bind("peft", text).build()
    if model.transformers_model is None:
        raise UserError("peft trains few parameters of a transformer, and this model has none: leave peft out")
    make(model)


@register(
    "peft",
    "lora",
    source=Source(
        "LoRA: Low-Rank Adaptation of Large Language Models",
        "Hu, Shen, Wallis, Allen-Zhu, Li, Wang, Wang and Chen",
        2022,
    ),
    family="adapters",
)
class LoRA:
    """Low-rank updates of the attention's (or all) linear maps: W + (alpha / rank) · B A, of which A and B are trained.

    Args:
        rank: of the update.
        alpha: its scale is alpha / rank.
        dropout: on its input.
        targets: ``attention`` (queries and values, as in the paper) or ``all`` linear maps.
    """

    def __init__(self, rank: int = 8, alpha: float = 16.0, dropout: float = 0.0, targets: str = "attention") -> None:
        if rank < 1 or targets not in ("attention", "all"):
            raise UserError(f"lora needs rank of at least 1 and targets attention or all, not {rank} and {targets!r}")
        self.rank, self.alpha, self.dropout, self.targets = rank, alpha, dropout, targets

    def __call__(self, model: Any) -> None:
        config = _peft().LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=_linear(model.transformers_model, self.targets),
        )
        model.add_adapter(config)


@register(
    "peft",
    "ia3",
    source=Source(
        "Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context Learning",
        "Liu, Tam, Muqeeth, Mohta, Huang, Bansal and Raffel",
        2022,
    ),
    family="adapters",
)
class IA3:
    """Learned factors on the outputs of linear maps, (IA)³, starting at 1.

    Args:
        targets: ``attention`` (queries and values) or ``all`` linear maps; the paper takes keys, values and the
            feed-forward layers.
    """

    def __init__(self, targets: str = "all") -> None:
        self.targets = targets

    def __call__(self, model: Any) -> None:
        names = _linear(model.transformers_model, self.targets)
        model.add_adapter(_peft().IA3Config(target_modules=names, feedforward_modules=[]))


@register(
    "peft",
    "bitfit",
    source=Source(
        "BitFit: Simple Parameter-efficient Fine-tuning for Transformer-based Masked Language-models",
        "Ben Zaken, Goldberg and Ravfogel",
        2022,
    ),
    family="freezing",
)
class BitFit:
    """Only biases are trained; the model is saved whole."""

    def __call__(self, model: Any) -> None:
        _train_only(model, lambda name: name.endswith("bias"))


@register(
    "peft",
    "last_layers",
    source=Source("How transferable are features in deep neural networks?", "Yosinski, Clune, Bengio and Lipson", 2014),
    family="freezing",
)
class LastLayers:
    """Only the last layers of the transformer, and what comes after it, are trained; the model is saved whole.

    Args:
        count: number of layers.
    """

    def __init__(self, count: int = 2) -> None:
        if count < 0:
            raise UserError(f"count must be at least 0, not {count}")
        self.count = count

    def __call__(self, model: Any) -> None:
        inner = model.transformers_model
        layers = max((m for m in inner.modules() if isinstance(m, nn.ModuleList)), key=len, default=nn.ModuleList())
        kept = {id(p) for layer in list(layers)[len(layers) - self.count :] for p in layer.parameters()}
        own = {id(p) for p in inner.parameters()}
        for parameter in model.parameters():
            parameter.requires_grad_(id(parameter) in kept or id(parameter) not in own)


def _train_only(model: Any, chosen: Callable[[str], bool]) -> None:
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(chosen(name))


def _linear(inner: nn.Module, targets: str) -> list[str]:
    """Names of the linear maps to adapt: attention's by their usual names, or all."""
    names = [name for name, part in inner.named_modules() if isinstance(part, nn.Linear)]
    if targets == "all":
        return names
    found = [name for name in names if name.rpartition(".")[2] in _QUERY_AND_VALUE]
    if not found:
        raise UserError("the attention's query and value maps have names that are not known here: say targets=all")
    return found


def _peft() -> Any:
    try:
        import peft
    except ImportError:
        raise MissingExtraError("training adapters", "peft") from None
    return peft
