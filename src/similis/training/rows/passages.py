"""Learning from the documents to be searched without any supervision: a passage finds the document it was cut from."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from similis.encoders.static.module import StaticModule
from similis.encoders.static.tokenized import TokenizedTexts
from similis.objective import Objective
from similis.relation import Relation
from similis.training.rows.examples import Integers

#: Tokens of a passage: as many as a query has, and a few sentences. No passage is more than half of its document.
SHORTEST, LONGEST = 8, 32
_OBJECTIVE = "infonce(temperature=0.05), directions=[q2k, k2q]"


class Passages:
    """A further loss for each step: passages of some documents, each to be found among the rests of these documents.

    The passages are drawn anew at every step: a fixed set of them is learnt by heart and helps nothing (docstrings
    with their summaries as queries: dev nDCG@10 0.422 without, 0.421 with a fixed passage a document, 0.447 with new
    ones). Passages are cut out of their documents; left in, they teach less (0.438).

    Args:
        module: the token vectors in training.
        documents: tokenised, ``N`` of them; those with fewer than twice :data:`SHORTEST` tokens are left out.
        ids: equal for documents that are the same, ``[N]``.
        count: documents of a step.
        seed: with the number of the step, of all that is drawn.

    Source: the inverse cloze task of "Latent Retrieval for Weakly Supervised Open Domain Question Answering", Lee,
    Chang and Toutanova, 2019, with passages of random places and lengths instead of sentences.
    """

    def __init__(
        self, module: StaticModule, documents: TokenizedTexts, ids: Integers, count: int, seed: int = 0
    ) -> None:
        long = np.flatnonzero(documents.lengths >= 2 * SHORTEST)
        self._documents, self._ids = documents[long], ids[long]
        self._module, self._seed = module, seed
        self.count = min(count, len(long))
        self._objective = Objective(_OBJECTIVE)

    def loss(self, step: int) -> Tensor:
        """The loss of one step, a number; 0 where there are not two documents to tell apart."""
        if self.count < 2:
            return self._module.weight.new_zeros(())
        generator = np.random.default_rng([self._seed, step])
        rows = generator.choice(len(self._ids), self.count, replace=False)
        passages, rests = cut_out(self._documents[rows], generator)
        ids = torch.from_numpy(self._ids[rows])
        relation = Relation.pairs(self.count, self.count, key_ids=ids)
        embedded = self._module.encode(passages), self._module.encode(rests)
        return self._objective(*embedded, relation.to(embedded[0].device))  # type: ignore[no-any-return]


def cut_out(documents: TokenizedTexts, generator: np.random.Generator) -> tuple[TokenizedTexts, TokenizedTexts]:
    """A random passage of each document, and the rest of the document without it."""
    lengths = documents.lengths
    sizes = np.minimum(generator.integers(SHORTEST, LONGEST + 1, len(documents)), lengths // 2)
    starts = (generator.random(len(documents)) * (lengths - sizes + 1)).astype(np.int64)
    place = np.arange(len(documents.ids)) - np.repeat(documents.offsets[:-1], lengths)
    inside = (place >= np.repeat(starts, lengths)) & (place < np.repeat(starts + sizes, lengths))
    return _kept(documents, inside), _kept(documents, ~inside)


def _kept(documents: TokenizedTexts, mask: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> TokenizedTexts:
    before = np.concatenate([[0], np.cumsum(mask)])
    return TokenizedTexts(documents.ids[mask], before[documents.offsets])
