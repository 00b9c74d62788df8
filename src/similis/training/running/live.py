"""What a run makes anew of its present model as it goes: hard negatives, and the groups that batches are drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from similis.errors import UserError
from similis.sampling.grouped import due, regrouped
from similis.similarity import Similarity
from similis.training.negatives import Searching
from similis.training.negatives.fixed import Judging
from similis.training.rows.examples import Examples, Integers
from similis.training.running.mixing import Part

#: Names of what was made last among a checkpoint's tensors; groups are followed by the number of their part.
_NEGATIVES = "data/negatives"
_GROUPS = "data/groups/"
_GUIDE = "data/guide"


class Live:
    """Hard negatives of the first part, and the groups of every part whose sampler draws from some.

    Args:
        parts: the data sets; their examples and items are replaced by what is found.
        searching: where hard negatives of the first part come from, or None.
        lengths: of each text of the table ``[T]``, or None.
        batch_size: rows of a batch.
        seed: of everything random.
        embeds: whether the model embeds texts, and does not only score pairs.

    Raises:
        UserError: a sampler wants embeddings, and the model gives none.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        searching: Searching | None,
        *,
        lengths: Integers | None,
        batch_size: int,
        seed: int,
        embeds: bool,
    ) -> None:
        self.parts, self.searching = parts, searching
        self._lengths, self._batch_size, self._seed = lengths, batch_size, seed
        self._groups: dict[int, Integers] = {}
        self._fixed = False
        for part in parts:
            if not embeds and due(part.sampler, part.items, 0):
                raise UserError(
                    f"sampler {part.sampler!r} draws from embeddings, and a cross-encoder gives none: use shuffle"
                )

    def begin(self, epoch: int, within: bool, judging: Judging, similarity: Similarity) -> None:
        """Make what is due at the start of an epoch.

        Args:
            epoch: from 0.
            within: whether the run goes on within the epoch, so that only what no checkpoint holds is made.
            judging: gives the present model without dropout or a graph.
            similarity: the one that is trained.
        """
        if self.searching is not None and self.searching.in_every_batch and not self._fixed:
            self._fixed = True
            self._learn_from(self.searching.fixed(similarity, judging))
        if within:
            return
        search = self.searching is not None and not self._fixed and self.searching.due(epoch)
        wanted = [n for n, part in enumerate(self.parts) if due(part.sampler, part.items, epoch)]
        if not search and not wanted:
            return
        with judging() as embed:
            if search:
                assert self.searching is not None
                self._learn_from(self.searching.search(epoch, embed, similarity))
            for number in wanted:
                part = self.parts[number]
                vectors = embed(part.examples.queries, True).float().cpu()
                if vectors.dim() != 2:
                    raise UserError(f"sampler {part.sampler!r} needs one vector a text, and the model gives several")
                self._groups[number] = regrouped(
                    part.sampler, part.items, vectors.numpy(), self._batch_size, seed=self._seed, epoch=epoch
                )
                self._group(number)

    def tensors(self) -> dict[str, Tensor]:
        """What was made last, for a checkpoint."""
        made = {f"{_GROUPS}{number}": torch.from_numpy(groups) for number, groups in self._groups.items()}
        if self.searching is not None and self.searching.found is not None:
            made[_NEGATIVES] = torch.from_numpy(self.searching.found)
            made[_GUIDE] = torch.tensor(list(self._guide.encode()), dtype=torch.uint8)
        return made

    @property
    def _guide(self) -> str:
        """Who judges negatives beside the model, as a fingerprint."""
        return str(getattr(getattr(self.searching, "source", None), "fingerprint", ""))

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on with what a checkpoint's tensors hold.

        Raises:
            UserError: negatives were judged by another guide than the one of this run.
        """
        if _GUIDE in tensors and bytes(tensors[_GUIDE].tolist()).decode() != self._guide:
            raise UserError(
                "the guide of the negatives is another model than the one this run began with; give that one to "
                "continue it, or resume=False (--no-resume) to start again"
            )
        for name, tensor in tensors.items():
            if name.startswith(_GROUPS):
                self._groups[int(name.removeprefix(_GROUPS))] = tensor.numpy()
        if self.searching is not None and _NEGATIVES in tensors:
            self.searching.found = tensors[_NEGATIVES].numpy()
            self._learn_from(self.searching.examples())
        for number in self._groups:
            self._group(number)

    def _learn_from(self, examples: Examples) -> None:
        first = self.parts[0]
        first.examples, first.items = examples, examples.items(self._lengths)
        if 0 in self._groups:
            self._group(0)

    def _group(self, number: int) -> None:
        part = self.parts[number]
        part.items = replace(part.items, groups=self._groups[number])
