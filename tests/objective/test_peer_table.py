"""The table of the peers' classes is complete, every name in it is tested, and its errors say what to write."""

from __future__ import annotations

import inspect
import runpy
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
import test_peer_aliases
import test_peer_aliases_sentences
import torch
from peer_cases import random, value_and_gradients
from pytorch_metric_learning import distances, losses, miners, reducers, regularizers
from sentence_transformers.cross_encoder import losses as cross
from sentence_transformers.multi_vector_encoder import losses as multi
from sentence_transformers.sentence_transformer import losses as dense
from sentence_transformers.sparse_encoder import losses as sparse

from similis.errors import UserError
from similis.objective import Objective
from similis.objective.peers import PEERS
from similis.objective.peers.base import PML, ST
from similis.relation import Relation


def classes(module: ModuleType) -> set[str]:
    """Public classes of a peer's package, as it lists them, or else as it imports them."""
    listed = getattr(module, "__all__", None)
    return set(listed or [name for name, value in vars(module).items() if inspect.isclass(value)])


@pytest.mark.parametrize(
    ("library", "kind", "module"),
    [
        (PML, "loss", losses),
        (PML, "distance", distances),
        (PML, "miner", miners),
        (PML, "reducer", reducers),
        (PML, "regularizer", regularizers),
        (ST, "loss", dense),
        (ST, "sparse loss", sparse),
        (ST, "multi-vector loss", multi),
        (ST, "cross-encoder loss", cross),
    ],
)
def test_every_class_of_the_peers_has_its_row(library: str, kind: str, module: ModuleType) -> None:
    rows = [row.name for row in PEERS if (row.library, row.kind) == (library, kind)]
    assert sorted(rows) == sorted(classes(module))


@pytest.mark.parametrize(("library", "tests"), [(PML, test_peer_aliases), (ST, test_peer_aliases_sentences)])
def test_every_name_that_is_read_is_compared_with_the_peer(library: str, tests: ModuleType) -> None:
    assert {row.name for row in PEERS if row.alias and row.library == library} == tests.COVERED


@pytest.mark.parametrize("row", [row for row in PEERS if row.alias], ids=lambda row: f"{row.library} {row.name}")
def test_what_a_name_is_read_as_reads_as_itself(row: object) -> None:
    text = str(row.text)  # type: ignore[attr-defined]
    assert str(Objective(text)) == text


@pytest.mark.parametrize("row", [row for row in PEERS if row.text and not row.alias], ids=lambda row: row.name)
def test_the_text_of_every_other_row_is_an_objective_or_a_part_of_one(row: object) -> None:
    text: str = row.text  # type: ignore[attr-defined]
    setting = "=" in text.partition("(")[0].partition(",")[0]
    if not text.startswith("Relation"):
        Objective(f"infonce, {text}" if setting else text)


def test_arguments_are_put_in_our_words() -> None:
    assert str(Objective("MultipleNegativesRankingLoss(scale=50)")) == "infonce(temperature=0.02)"
    assert (
        str(Objective("NTXentLoss(0.5), similarity=snr"))
        == "nt_xent(temperature=0.5), reduction=mean_terms, similarity=snr"
    )
    sized = Objective("SoftTripleLoss(num_classes=3, embedding_size=5, centers_per_class=2)")
    assert sized.keys is not None
    assert sized.keys.weight.shape == (6, 5)
    cached = Objective("CachedMultipleNegativesRankingLoss(mini_batch_size=32, show_progress_bar=True)")
    assert str(cached) == "infonce(temperature=0.05)"
    pair = Objective("ContrastiveLoss(size_average=True)"), Objective("ContrastiveLoss(neg_margin=1)")
    assert [str(one).partition("(")[0] for one in pair] == ["contrastive", "tcm"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("CirleLoss(m=0.4)", "did you mean 'CircleLoss'"),
        ("infonc", "did you mean 'infonce'"),
        ("TripletMarginLoss(margn=0.1)", "did you mean 'margin'"),
        ("TripletMarginLoss(swap=True)", "without an argument 'swap'"),
        ("TripletMarginLoss(distance=LpDistance(p=1))", "no counterpart"),
        ("TripletMarginLoss(distance=CosineSimilarty())", "did you mean 'CosineSimilarity'"),
        ("TripletMarginLoss(reducer=ClassWeightedReducer())", "MeanReducer"),
        ("NTXentLoss(weight_regularizer=LpRegularizer())", "RegularFaceRegularizer"),
        ("ContrastiveLoss", "both libraries"),
        ("RankedListLoss(margin=0.4)", "needs Tn"),
        ("MultipleNegativesRankingLoss(scale=0)", "scale must be above 0"),
        ("MultipleNegativesRankingLoss(directions='query_to_docs')", "did you mean 'query_to_doc'"),
        ("InstanceLoss()", "has no counterpart here: it takes the class number"),
        ("TripletLoss(triplet_margin=1)", "write 'triplet(margin=5), similarity=euclidean'"),
        ("CrossBatchMemory(loss=infonce)", "needs a loss of pytorch-metric-learning"),
        ("LambdaLoss(weighting_scheme=NDCGLoss3Scheme())", "must be one of"),
        ("multi_similarity, reduction=mean_terms", "use reduction=mean"),
    ],
)
def test_what_cannot_be_read_says_what_would_be_right(text: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        Objective(text)
    assert says in str(caught.value)


def over_labels(objective: Objective, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return objective(x, x, Relation.labels(y))


@pytest.mark.parametrize(
    "text",
    [
        "NTXentLoss()",
        "TripletMarginLoss(margin=0.3)",
        "TripletMarginLoss(margin=0.3, smooth_loss=True)",
        "LiftedStructureLoss()",
        "MarginLoss(margin=0.4)",
    ],
)
def test_means_over_terms_are_the_same_in_tiles(text: str) -> None:
    x, y = random(13, 5), torch.tensor([0] * 6 + [1] * 4 + [2] * 3)
    plain, tiled = (
        value_and_gradients(partial(over_labels, Objective(text, **settings), y), x)
        for settings in ({"execution": "plain"}, {"execution": "tiled", "tile": 4})
    )
    torch.testing.assert_close(tiled, plain, rtol=1e-7, atol=1e-10)


def test_the_page_of_the_peers_says_what_the_table_says() -> None:
    script = Path(__file__).parents[2] / "docs" / "peers.py"
    page = runpy.run_path(str(script))
    assert page["PAGE"].read_text(encoding="utf-8") == page["page"](), "run python docs/peers.py"
