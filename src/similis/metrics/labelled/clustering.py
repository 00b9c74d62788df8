"""Do clusters found without labels coincide with the classes?"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from similis.metrics.family import measure
from similis.metrics.labelled.neighbours import Labelled
from similis.registry import Source


@measure(
    "NMI",
    "labels",
    registered="nmi",
    source=Source("Cluster ensembles: a knowledge reuse framework for combining partitions", "Strehl, Ghosh", 2002),
)
def normalised_mutual_information(data: Labelled) -> float:
    """Mutual information of classes and as many k-means clusters, over the mean of their entropies."""
    from sklearn.metrics import normalized_mutual_info_score

    return float(normalized_mutual_info_score(data.classes, clusters(data)))


@measure(
    "AMI",
    "labels",
    registered="ami",
    source=Source(
        "Information theoretic measures for clusterings comparison: variants, properties, normalization and correction"
        " for chance",
        "Vinh, Epps, Bailey",
        2010,
    ),
)
def adjusted_mutual_information(data: Labelled) -> float:
    """As NMI, less what chance would give: 0 for clusters that know nothing of the classes."""
    from sklearn.metrics import adjusted_mutual_info_score

    return float(adjusted_mutual_info_score(data.classes, clusters(data)))


def clusters(data: Labelled) -> npt.NDArray[Any]:
    """k-means cluster of every item, as many clusters as classes -> ``[n]``."""
    from sklearn.cluster import KMeans

    k = len(np.unique(data.classes))
    return np.asarray(KMeans(k, n_init=3, random_state=data.seed).fit_predict(data.embeddings))
