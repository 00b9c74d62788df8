"""Samplers: which items of the data share a batch. May import the base only.

A sampler is ``f(items: Items, batch_size, generator, *, parameters) -> list[int64 arrays]``: the batches of one
epoch, as row numbers. It draws from ``generator`` alone, which :func:`epoch_batches` makes from (seed, epoch), so
an epoch can be drawn again in another process and a run resumes from (epoch, batch). Traits of a registration:
``needs`` names the fields of :class:`Items` that must be there; ``groups`` (``rows``, ``apart`` or ``classes``) says
that it draws from groups made of the present model's embeddings as a run goes on (see :mod:`similis.sampling.grouped`).
"""

from similis.sampling import classes, distinct, grouped, shuffled
from similis.sampling.base import Items, epoch_batches

__all__ = ["Items", "classes", "distinct", "epoch_batches", "grouped", "shuffled"]
