"""Batches of groups: rows that the present model embeds near each other, and classes that belong under one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from similis.errors import UserError
from similis.registry import Bound, Source, bind, register
from similis.sampling.base import Integers, Items, even_cuts, first_fit, setting
from similis.sampling.clusters import Floats, balanced_clusters, class_means


@register(
    "sampler",
    "clustered",
    source=Source(
        "NGAME: Negative Mining-aware Mini-batching for Extreme Classification",
        "Dahiya, Gupta, Saini, Soni, Wang, Dave et al.",
        2023,
    ),
    family="live",
    groups="rows",
)
def clustered(
    items: Items,
    batch_size: int,
    generator: np.random.Generator,
    *,
    size: int = 4,
    every: int = 1,
    doubling: int = 2,
) -> list[Integers]:
    """Every row once an epoch; a batch is made of clusters of rows whose queries the present model finds alike.

    The texts of like queries are each other's hard negatives, and cost no further encoding. Clusters are made anew
    every few epochs and grow as the model learns. Checked against the authors' code: clusters are halved evenly,
    their order is shuffled and cut into batches, and their size doubles at set epochs, from 1 (random batches) on;
    there they are made anew every 5 of 300 epochs and double after the 10th, 25th, 50th epoch and so on. Before the
    first clusters, rows are shuffled.

    Args:
        items: n rows; ``groups`` are their clusters.
        batch_size: most rows of a batch; sizes differ by one at most.
        generator: all randomness.
        size: most rows of a cluster in the first epoch; 1 begins with random batches. It ends at the batch size.
        every: epochs between clusterings.
        doubling: epochs after which the size doubles; 0: never.

    Returns:
        ``ceil(n / batch_size)`` arrays of row numbers.

    Raises:
        UserError: a setting out of range.
    """
    if size < 1 or every < 1 or doubling < 0:
        raise UserError(
            f"clustered needs size and every of at least 1 and doubling of at least 0, not size={size}, every={every}, "
            f"doubling={doubling}"
        )
    if items.groups is None:
        return even_cuts(generator.permutation(items.count), batch_size)
    place = generator.permutation(int(items.groups.max(initial=0)) + 1)[items.groups]
    order = np.lexsort((generator.random(items.count), place))
    batches = even_cuts(order, batch_size)
    return [batches[i] for i in generator.permutation(len(batches))]


@register(
    "sampler",
    "apart",
    source=Source(
        "G-SimCLR: Self-Supervised Contrastive Learning with Guided Projection via Pseudo Labelling",
        "Chakraborty, Gosthipaty and Paul",
        2020,
    ),
    family="live",
    groups="apart",
)
def apart(items: Items, batch_size: int, generator: np.random.Generator, *, every: int = 1) -> list[Integers]:
    """Every row once an epoch; no two rows of a batch are of one cluster, so that few negatives are false ones.

    For rows without labels, of which near ones may belong together: the opposite of ``clustered``. There are at least
    as many clusters as rows of a batch. The paper clusters once, by k-means over what an autoencoder makes of the
    inputs; here the present model's embeddings are clustered evenly, and anew as it learns. Before the first clusters,
    rows are shuffled.

    Args:
        items: n rows; ``groups`` are their clusters.
        batch_size: most rows of a batch.
        generator: all randomness.
        every: epochs between clusterings.

    Returns:
        Arrays of row numbers.

    Raises:
        UserError: a setting out of range.
    """
    if every < 1:
        raise UserError(f"apart needs every of at least 1, not {every}")
    order = generator.permutation(items.count)
    if items.groups is None:
        return even_cuts(order, batch_size)
    batches = [
        order[np.array(units)] for units in first_fit([(code,) for code in items.groups[order].tolist()], batch_size)
    ]
    return [batches[i] for i in generator.permutation(len(batches))]


@register(
    "sampler",
    "hierarchical",
    source=Source("Deep Metric Learning to Rank", "Cakir, He, Xia, Kulis and Sclaroff", 2019),
    family="classes",
    needs=("labels",),
    groups="classes",
)
def hierarchical(
    items: Items,
    batch_size: int,
    generator: np.random.Generator,
    *,
    per_class: int = 4,
    groups: int = 2,
    every: int = 1,
) -> list[Integers]:
    """Batches of few groups of near classes, each class with several rows: all other classes are hard negatives.

    The paper takes the classes of a batch from two classes above them; checked against the sampler of
    pytorch-metric-learning that follows its code, which draws a fixed number of batches of each pair, where this one
    gives every row once. The groups are what stands before the last ``/`` of the class names (``tools/hammer``) or,
    where they have none, classes whose mean embeddings the present model puts near each other, found anew every few
    epochs: the tree of classes of "Deep Metric Learning with Hierarchical Triplet Loss", Ge, Huang, Dong and Scott,
    2018, cut at one level.

    Args:
        items: n rows with labels; ``above``, else ``groups``, has the group of each row's class; None: one group.
        batch_size: most rows of a batch.
        generator: all randomness.
        per_class: most rows of a class in a batch; a class is parted evenly.
        groups: groups in a batch.
        every: epochs between groupings, where class names give no groups.

    Returns:
        Arrays of row numbers. Rows that are left over when only one class has any are left out: a batch of one class
        has no negatives.

    Raises:
        UserError: a setting out of range.
    """
    assert items.labels is not None
    if groups < 1 or every < 1 or not 2 <= per_class <= batch_size // max(2, groups):
        raise UserError(
            f"hierarchical needs groups and every of at least 1 and per_class from 2 to {batch_size // max(2, groups)} "
            f"in batches of {batch_size}, not groups={groups}, every={every}, per_class={per_class}"
        )
    known = items.groups if items.above is None else items.above
    above = np.zeros(items.count, np.int64) if known is None else known
    groups = min(groups, len(np.unique(above)))
    blocks: list[Integers] = []
    place = []
    for group in np.unique(above):
        own = _blocks(np.flatnonzero(above == group), items.labels, per_class, batch_size // groups, generator)
        blocks += own
        place.append(_spread(len(own), generator))
    order = np.argsort(np.concatenate(place), kind="stable")
    units = first_fit([(int(above[blocks[i][0]]),) for i in order], groups)
    batches = [np.concatenate([blocks[order[unit]] for unit in batch]) for batch in units]
    several = [rows for rows in batches if len(np.unique(items.labels[rows])) > 1 or len(np.unique(items.labels)) == 1]
    return [several[i] for i in generator.permutation(len(several))]


def _blocks(
    rows: Integers, labels: Integers, per_class: int, most: int, generator: np.random.Generator
) -> list[Integers]:
    """The rows of one group in blocks of at most ``most``, of classes that differ, each with about ``per_class``."""
    units: list[Integers] = []
    place = []
    for label in np.unique(labels[rows]):
        own = generator.permutation(rows[labels[rows] == label])
        parts = np.array_split(own, -(-len(own) // per_class))
        units += parts
        place.append(_spread(len(parts), generator))
    units = [units[i] for i in np.argsort(np.concatenate(place), kind="stable")]
    found = first_fit([(int(labels[unit[0]]),) for unit in units], max(1, most // per_class))
    return [np.concatenate([units[unit] for unit in block]) for block in found]


def _spread(count: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Places in 0..1 of the parts of one class or group, evenly over the epoch, so that none is left over alone."""
    return (np.arange(count) + generator.random(count)) / count


def due(sampler: str | Bound, items: Items, epoch: int) -> bool:
    """Whether the sampler wants its groups made anew at the start of this epoch."""
    bound = bind("sampler", sampler) if isinstance(sampler, str) else sampler
    kind = bound.entry.traits.get("groups")
    if kind is None or (kind == "classes" and items.above is not None):
        return False
    return bool(epoch % int(setting(bound, "every")) == 0)


def regrouped(
    sampler: str | Bound, items: Items, vectors: Floats, batch_size: int, *, seed: int, epoch: int
) -> Integers:
    """The groups that a sampler draws from, made of the present embeddings.

    Args:
        sampler: one for which :func:`due` says yes.
        items: n rows.
        vectors: embeddings of the rows' queries, ``[n, d]``.
        batch_size: most rows of a batch.
        seed: of the first centres, with ``epoch``.
        epoch: from 0; clusters of rows grow with it.

    Returns:
        The group of each row, int64 ``[n]``.
    """
    bound = bind("sampler", sampler) if isinstance(sampler, str) else sampler
    generator = np.random.default_rng([seed, epoch, 1])
    if bound.entry.traits["groups"] == "rows":
        doubling = int(setting(bound, "doubling"))
        size = int(setting(bound, "size")) * 2 ** min(epoch // doubling if doubling else 0, 30)
        return balanced_clusters(vectors, min(size, batch_size), generator)
    if bound.entry.traits["groups"] == "apart":
        return balanced_clusters(vectors, max(1, len(vectors) // batch_size), generator)
    assert items.labels is not None
    classes, means = class_means(vectors, items.labels)
    size = max(1, batch_size // int(setting(bound, "per_class")) // int(setting(bound, "groups")))
    return balanced_clusters(means, size, generator)[np.searchsorted(classes, items.labels)]


def named_groups(classes: Sequence[Any]) -> Integers | None:
    """The group of each class, int64 ``[C]``: what stands before the last ``/`` of its name; None if one has none."""
    above = [str(name).rpartition("/")[0] for name in classes]
    if not above or not all(above):
        return None
    return np.unique(above, return_inverse=True)[1].astype(np.int64)
