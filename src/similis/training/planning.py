"""The plan of a run: what is chosen from the supervision and the size of the data, and why."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from similis.training.recipe import Recipe

#: By supervision: objective, sampler, reason. Supervisions are named as ``Relation`` names them.
_OBJECTIVES = {
    "pairs": (
        "infonce(temperature=0.05), directions=[q2k, k2q]",
        "shuffle",
        "each pair's own text is told apart from all others of the batch, in both directions",
    ),
    "triplets": (
        "infonce(temperature=0.05)",
        "shuffle",
        "each positive is told apart from its given negatives and from the other texts of the batch",
    ),
    "labels": (
        "infonce(temperature=0.1)",
        "pk",
        "all items of a class in the batch are positives; batches hold several of each class",
    ),
    "scored": (
        "cosent(temperature=0.05)",
        "shuffle",
        "scores say an order of pairs, and this learns the order without fixing what cosine a score means",
    ),
    "labeled_pairs": (
        "cosent(temperature=0.05)",
        "shuffle",
        "pairs labelled same should score above pairs labelled different, at no fixed threshold",
    ),
}
_STATIC_STEPS = 600
#: Of a static model from texts alone: what they teach is soon learnt, and then learnt by heart.
_UNLABELED_STEPS = 100
#: Batches that an epoch has at least; of a static model, where 8 teach as well as 16 (dev rows of SciFact, Perspectrum
#: and STS-B) in fewer steps; and of one that is taught by texts alone, which teach little by each row: what tells
#: them apart is how many are in a batch.
_EPOCH, _STATIC_EPOCH, _UNLABELED_EPOCH = 16, 8, 4
#: Where a static model is best taught otherwise: on STS-B's dev rows, Spearman 0.79 with pearson and 0.72 with cosent.
_STATIC_OBJECTIVES = {
    "scored": (
        "pearson",
        "shuffle",
        "cosines should lie on a line over the scores, whatever its slope",
    ),
}
#: Most rows of a batch: a sparse text is a row over the vocabulary, a multi-vector one a row a token.
_BATCHES = {"sparse": 32, "multi_vector": 32, "cross": 16}
#: Rows of a batch and learning rate of a dense transformer that learns from classes: a text is read once, not in a pair
#: with a mate, so that steps are few. MAP@R on Banking77's dev rows of all-MiniLM-L6-v2 after 2,000 rows: 0.532; with
#: 64 rows 0.521; with those and 5e-5, as for pairs, 0.505.
_LABELLED = (32, 1e-4)
#: What a cross-encoder learns by: its scores have no bounds, and a few candidates are what it will have to order.
_CROSS = {
    "pairs": ("infonce(temperature=1.0)", "each pair's own text is told apart from candidates, as in re-ranking"),
    "triplets": ("infonce(temperature=1.0)", "each positive is told apart from its negatives, as in re-ranking"),
    "labels": ("binary_cross_entropy", "the score is the log-odds that two texts are of one class"),
    "scored": ("binary_cross_entropy", "the score's sigmoid is the grade"),
    "labeled_pairs": ("binary_cross_entropy", "the score is the log-odds that two texts belong together"),
}
#: Where a cross-encoder's negatives come from if the data has none: chance would give it none that are hard.
_CROSS_NEGATIVES = "bm25(count=4)"
#: Queries are pressed harder than documents: they are what a search pays for.
_SPARSITY = "flops(0.003, side=query, warmup=0.33), flops(0.001, side=key, warmup=0.33)"
_TRANSFORMER_STEPS = 1000


@dataclass(frozen=True)
class Plan:
    """A recipe with nothing left open.

    Attributes:
        recipe: every setting filled in.
        supervision: as ``Relation`` names it.
        reasons: one sentence for each thing that was chosen here, not given.
    """

    recipe: Recipe
    supervision: str
    reasons: tuple[str, ...] = field(default=())

    @property
    def objective(self) -> str:
        assert self.recipe.objective is not None
        return self.recipe.objective

    def as_dict(self) -> dict[str, Any]:
        return {"supervision": self.supervision, "recipe": self.recipe.as_dict(), "reasons": list(self.reasons)}


def plan(
    supervision: str,
    rows: int,
    recipe: Recipe | None = None,
    *,
    static: bool = True,
    documents: int = 0,
    family: str = "dense",
    unlabeled: bool = False,
) -> Plan:
    """Fill in what a recipe leaves open.

    Args:
        supervision: ``pairs``, ``triplets``, ``labels``, ``scored`` or ``labeled_pairs``.
        rows: number of training rows.
        recipe: what was given; None: nothing.
        static: whether the encoder is a static one, which takes larger batches and rates.
        documents: number of documents in the corpus to be searched, 0 where it is not known.
        family: of the encoder; sparse and multi-vector models are compared in their own way, a cross-encoder scores.
        unlabeled: whether the rows were made of texts alone.
    """
    recipe = recipe or Recipe()
    chosen: dict[str, Any] = {}
    reasons: list[str] = []
    objective, sampler, why = (_OBJECTIVES | (_STATIC_OBJECTIVES if static else {}))[supervision]
    objective, why = _CROSS[supervision] if family == "cross" else _of_family(family, objective, why)
    if family == "cross" and supervision == "pairs" and recipe.negatives is None:
        recipe = recipe.with_settings({"negatives": _CROSS_NEGATIVES})
        reasons.append(f"negatives {_CROSS_NEGATIVES}: texts that share the query's words are what is to be told apart")
    if recipe.base is None:
        chosen["base"] = "static"
        reasons.append("base static: trained from your own texts in seconds on a CPU; --base takes any other model")
    if recipe.objective is None:
        chosen["objective"] = objective
        reasons.append(f"objective {objective}: {supervision} were found; {why}")
    if recipe.sampler is None:
        chosen["sampler"] = sampler
    if recipe.per_device_train_batch_size is None:
        least = (_UNLABELED_EPOCH if unlabeled else _STATIC_EPOCH) if static else _EPOCH
        chosen["per_device_train_batch_size"] = _batch_size(rows, _most_rows(supervision, static, family), least)
    size = recipe.per_device_train_batch_size or chosen["per_device_train_batch_size"]
    if recipe.num_train_epochs is None:
        chosen["num_train_epochs"] = _epochs(rows, size, static, unlabeled)
    if recipe.learning_rate is None:
        # adapters and biases are few and start near nothing: they take ten times the rate
        chosen["learning_rate"] = 0.1 if static else _rate(supervision, family) * (1 if recipe.peft is None else 10)
    if recipe.base in (None, "static"):
        chosen["dimension"] = recipe.dimension or (512 if rows >= (1100 if unlabeled else 2000) else 256)
        chosen["vocabulary"] = None if recipe.tokenizer else recipe.vocabulary or 16_000
    if recipe.interpolate is None:
        chosen["interpolate"] = recipe.base not in (None, "static")
    if recipe.passages is None:
        cloze = static and documents and recipe.objective is None and supervision in ("pairs", "triplets")
        chosen["passages"] = size if cloze else 0
        if cloze:
            reasons.append(
                f"{size} passages a step: the {documents:,} documents of the corpus teach too, "
                "a passage cut out of each is to find the rest of it"
            )
    given = recipe.as_dict()
    settings = {
        n: v
        for n, v in chosen.items()
        if n not in ("base", "objective", "passages", "interpolate", *given) and v is not None
    }
    if settings:
        reasons.append(f"for {rows:,} rows: " + ", ".join(f"{name} {value}" for name, value in settings.items()))
    return Plan(recipe.with_settings(chosen), supervision, tuple(reasons))


def with_similarity(made: Plan, similarity: str | None) -> Plan:
    """The plan with an objective that compares by ``similarity`` where it states none; None changes nothing."""
    from similis.objective import Objective
    from similis.text import parse_settings

    if similarity is None or "similarity" in parse_settings(made.objective)[1]:
        return made
    text = str(Objective(made.objective, similarity=similarity))
    why = f"compared by {similarity}: what the model gives is read by it alone"
    return replace(made, recipe=made.recipe.with_settings({"objective": text}), reasons=(*made.reasons, why))


def _of_family(family: str, objective: str, why: str) -> tuple[str, str]:
    """An objective as a family of encoders takes it."""
    if family == "multi_vector":
        return f"{objective}, similarity=maxsim(mean=True)", f"{why}; texts are compared token by token"
    if family == "sparse":
        # a dot product of word weights is large by itself
        scaled = objective.replace("infonce(temperature=0.05)", "infonce(temperature=1.0)")
        scaled = scaled.replace("infonce(temperature=0.1)", "infonce(temperature=1.0)")
        return f"{scaled}, similarity=dot, regularizers=[{_SPARSITY}]", f"{why}; flops presses weights to few words"
    return objective, why


def _most_rows(supervision: str, static: bool, family: str) -> int:
    if static:
        return 512
    return _LABELLED[0] if (supervision, family) == ("labels", "dense") else _BATCHES.get(family, 64)


def _rate(supervision: str, family: str) -> float:
    return _LABELLED[1] if (supervision, family) == ("labels", "dense") else 5e-5


def _batch_size(rows: int, most: int, least: int) -> int:
    """The greatest power of two up to ``most`` that gives an epoch at least ``least`` batches (8 rows at least)."""
    size = 8
    while size * 2 <= min(most, rows // least):
        size *= 2
    return size


def _epochs(rows: int, size: int, static: bool, unlabeled: bool) -> int:
    """Epochs that come to some hundred steps: small data is read more often, large data once."""
    steps = max(1, rows // size)
    few = _UNLABELED_STEPS if unlabeled else _STATIC_STEPS
    wanted, most = (few, 20) if static else (_TRANSFORMER_STEPS, 5)
    return max(1, min(most, -(-wanted // steps)))
