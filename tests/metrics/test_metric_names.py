"""Every spelling the field uses is understood, prints one way, and is refused with a hint where it is wrong."""

from __future__ import annotations

import pytest

from similis.errors import UserError
from similis.metrics import FAMILIES, parse, parse_all
from similis.registry import entries


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("ndcg@10", "nDCG@10"),
        ("NDCG@10", "nDCG@10"),
        ("ndcg_cut_10", "nDCG@10"),
        ("ndcg_cut.10", "nDCG@10"),
        ("nDCG(dcg='exp-log2')@10", "nDCG(gains=exp)@10"),
        ("nDCG(gains=linear)@10", "nDCG@10"),
        ("R@100", "Recall@100"),
        ("recall_100", "Recall@100"),
        ("RR@10", "MRR@10"),
        ("recip_rank", "MRR"),
        ("mrr", "MRR"),
        ("AP", "MAP"),
        ("map@100", "MAP@100"),
        ("map_cut_5", "MAP@5"),
        ("map@r", "MAP@R"),
        ("P_5", "P@5"),
        ("Precision@5", "P@5"),
        ("P(rel=2)@5", "P(rel=2)@5"),
        (" P( rel = 2 ) @ 5 ", "P(rel=2)@5"),
        ("HitRate@3", "Success@3"),
        ("hit_rate@3", "Success@3"),
        ("R-precision", "Rprec"),
        ("r-prec", "Rprec"),
        ("bpref", "Bpref"),
        ("RBP(p=0.95,rel=2)", "RBP(p=0.95, rel=2)"),
        ("RBP(p=0.8)", "RBP"),
        ("infap", "infAP"),
    ],
)
def test_spellings_agree_and_round_trip(text: str, canonical: str) -> None:
    metric = parse(text)
    assert str(metric) == canonical
    assert parse(str(metric)) == metric


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nDGC@10", "did you mean 'nDCG'"),
        ("recal@10", "did you mean 'Recall'"),
        ("P", "needs a cut-off: write P@10"),
        ("Rprec@5", "takes no cut-off"),
        ("nDCG@0", "at least 1"),
        ("nDCG@ten", "not 'ten'"),
        ("P(lel=2)@5", "no parameter 'lel'; did you mean 'rel'"),
        ("P(rel=x)@5", "must be a whole number"),
        ("nDCG(gains=expo)@5", "did you mean 'exp'"),
        ("nDCG@10@5", "is not a measure"),
        ("", "is not a measure"),
    ],
)
def test_a_wrong_name_is_refused_with_what_would_be_right(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(text)
    assert message in str(caught.value)


def test_lists_are_split_at_commas_outside_parentheses_and_kept_once() -> None:
    metrics = parse_all("nDCG@10, RBP(p=0.9, rel=2),AP,MAP", ["ranking"])
    assert [str(metric) for metric in metrics] == ["nDCG@10", "RBP(p=0.9, rel=2)", "MAP"]


def test_every_family_is_in_the_registry_with_a_source() -> None:
    registered = {entry.make: entry for entry in entries("metric")}
    for family in FAMILIES.values():
        entry = registered[family.compute]
        assert entry.source.year > 1800
        assert entry.summary
        assert family.needs in entry.accepts
