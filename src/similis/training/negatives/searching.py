"""The search for negatives of a run: when it is due, and the examples with what it found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from similis.errors import UserError
from similis.progress import note
from similis.similarity import Similarity
from similis.training.negatives.base import Negatives, Search, negatives
from similis.training.negatives.fixed import Adore, Judging
from similis.training.recipe import Recipe
from similis.training.rows.examples import Examples, Integers
from similis.training.running.dev import Embed


class Searching:
    """The search for negatives of a run: when it is due, and what it found last.

    Args:
        source: how they are found.
        examples: pairs or triplets.
        documents: text codes of a corpus that is searched beside the rows' own documents.
        seed: with the number of the epoch, of all that is drawn.
    """

    def __init__(self, source: Negatives, examples: Examples, documents: Integers, seed: int) -> None:
        self.source, self.plain, self._seed = source, examples, seed
        if self.in_every_batch and examples.negatives is not None:
            documents = np.concatenate([examples.negatives[examples.negatives >= 0], documents])
        self._pool = _pool(examples, documents)
        self.found: Integers | None = None

    @property
    def in_every_batch(self) -> bool:
        """Whether each batch searches for itself, among vectors that stay as they are."""
        return isinstance(self.source, Adore)

    def fixed(self, similarity: Similarity, judging: Judging) -> Examples:
        """The examples whose batches search for themselves; the present model gives the documents' vectors.

        Raises:
            UserError: a teacher has scored the rows, or the model gives several vectors a text.
        """
        assert isinstance(self.source, Adore)
        if type(self.plain) is not Examples:
            raise UserError("adore finds negatives that no teacher has scored: leave teacher or negatives out")
        return self.source.examples(self.plain, self._pool, similarity, judging)

    def due(self, epoch: int) -> bool:
        return epoch == 0 or (self.source.every > 0 and epoch % self.source.every == 0)

    def search(self, epoch: int, embed: Embed, similarity: Similarity) -> Examples:
        """The examples with the negatives that the present model, or the words, find."""
        generator = np.random.default_rng([self._seed, epoch])
        self.found = self.source(Search(self.plain, self._pool, embed, similarity, generator))
        without = int((self.found < 0).all(1).sum())
        if without:
            note(f"{without:,} of {len(self.found):,} rows get no hard negative: all near ones may be positives")
        return self.examples()

    def examples(self) -> Examples:
        """The examples with the negatives found last."""
        assert self.found is not None
        given = self.plain.negatives
        both = self.found if given is None else np.concatenate([given, self.found], 1)
        return replace(self.plain, supervision="triplets", negatives=both)


def _pool(examples: Examples, documents: Integers) -> Integers:
    """Codes of all distinct documents (when folded): the rows' own, then those of the corpus."""
    assert examples.keys is not None
    codes = np.concatenate([examples.keys, documents])
    _, first = np.unique(examples.table.folded[codes], return_index=True)
    return codes[np.sort(first)]


def searching_of(recipe: Recipe, examples: Examples, documents: Integers, told: str) -> Searching | None:
    """The search for hard negatives that the recipe asks for, or None; ``told`` names the data.

    Raises:
        UserError: the rows have no documents to search among.
    """
    if recipe.negatives is None or getattr(examples, "taught", None) is not None:
        return None  # a teacher has scored the negatives it was given
    if examples.supervision not in ("pairs", "triplets"):
        raise UserError(
            f"negatives are searched for pairs and triplets, and {told} has {examples.supervision}: "
            "leave negatives out; the batch has negatives of its own"
        )
    return Searching(negatives(recipe.negatives), examples, documents, recipe.seed)
