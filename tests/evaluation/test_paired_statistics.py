"""Paired tests against scipy and by simulation; comparisons of reports."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from similis.errors import UserError
from similis.evaluation import compare_all, compare_reports, evaluate_run, statistics


def differences(n: int, shift: float = 0.2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1.0, n)


@pytest.mark.parametrize("n", [2, 5, 40])
def test_the_t_test_equals_scipy(n: int) -> None:
    d = differences(n)
    assert statistics.paired_t(d) == pytest.approx(stats.ttest_rel(d, np.zeros(n)).pvalue, abs=1e-12)


@pytest.mark.parametrize("n", [3, 8, 12])
def test_the_randomisation_test_is_exact_for_few_queries(n: int) -> None:
    d = np.round(differences(n, 0.5, seed=n), 1)  # rounded, so that sums tie
    theirs = stats.permutation_test((d, np.zeros(n)), lambda a, b: np.mean(a - b), permutation_type="samples")
    assert statistics.paired_randomization(d) == pytest.approx(theirs.pvalue, abs=1e-12)


def test_the_randomisation_test_comes_close_to_the_t_test_for_many_normal_differences() -> None:
    d = differences(200, 0.12, seed=3)
    assert statistics.paired_randomization(d, seed=1) == pytest.approx(statistics.paired_t(d), abs=0.012)


def test_equal_systems_are_called_different_in_five_of_a_hundred_experiments() -> None:
    """2,000 pairs of equal systems with skewed values over 30 queries: the false-positive rate is 5% +- 1%."""
    rng = np.random.default_rng(0)
    d = 1.0 / rng.geometric(0.35, (2000, 30)) - 1.0 / rng.geometric(0.35, (2000, 30))
    for test in (statistics.paired_t, lambda row: statistics.paired_randomization(row, rounds=999)):
        positives = np.mean([test(row) < 0.05 for row in d])
        assert 0.04 <= positives <= 0.06


def test_the_interval_of_a_difference_equals_scipys_bootstrap() -> None:
    d = differences(60)
    theirs = stats.bootstrap((d,), np.mean, n_resamples=20_000, method="BCa", rng=0).confidence_interval
    assert statistics.bootstrap_difference(d, 20_000) == pytest.approx(tuple(theirs), abs=0.02)


def test_holm_equals_the_stepwise_rule() -> None:
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert len(statistics.holm([])) == 0


def test_the_detectable_difference_is_found_with_the_promised_power() -> None:
    n, deviation = 40, 0.3
    size = statistics.minimum_detectable_difference(n, deviation)
    rng = np.random.default_rng(5)
    d = rng.normal(size, deviation, (4000, n))
    found = np.mean(stats.ttest_1samp(d, 0.0, axis=1).pvalue < 0.05)
    assert found == pytest.approx(0.8, abs=0.02)
    assert statistics.queries_needed(size, deviation) == n


def test_effect_size_is_the_mean_over_the_deviation() -> None:
    d = differences(50)
    assert statistics.effect_size(d) == pytest.approx(d.mean() / d.std(ddof=1))
    assert statistics.effect_size(np.zeros(5)) == 0.0
    assert statistics.paired_t(np.zeros(5)) == 1.0
    assert statistics.paired_randomization(np.zeros(5)) == 1.0


def report(good: float, queries: range, seed: int = 0):  # type: ignore[no-untyped-def]
    """One relevant document among ten, on top in a share ``good`` of the queries."""
    rng = np.random.default_rng(seed)
    run = {f"q{q}": {f"d{i}": float(-i) for i in range(10)} for q in queries}
    qrels = {query: {"d0" if rng.random() < good else "d5": 1} for query in run}
    return evaluate_run(run, qrels, "MRR,P@1")


def test_a_clear_winner_is_found_and_equals_are_not_told_apart() -> None:
    strong, weak = report(0.9, range(80)), report(0.3, range(80), seed=1)
    result = compare_reports(strong, weak, "RR")
    assert result.better == "first"
    assert result.p < 0.001
    assert result.interval[0] > 0
    assert result.difference == pytest.approx(strong["MRR"].mean - weak["MRR"].mean)
    assert compare_reports(weak, strong, "MRR", test="t").better == "second"
    assert compare_reports(strong, strong, "MRR").better == "neither"
    assert "the first is better" in result.as_text()


def test_different_query_sets_are_compared_on_the_common_ones_and_it_is_said() -> None:
    result = compare_reports(report(0.9, range(60)), report(0.4, range(20, 80), seed=2), "MRR")
    assert (result.n, result.n_common) == (80, 40)
    assert "40 queries in common, of 80" in result.note
    with pytest.raises(UserError, match="share 0 queries"):
        compare_reports(report(0.9, range(10)), report(0.9, range(20, 30)), "MRR")


def test_all_pairs_are_corrected_for_their_number() -> None:
    reports = {"a": report(0.9, range(40)), "b": report(0.6, range(40), 1), "c": report(0.5, range(40), 2)}
    together = compare_all(reports, "MRR")
    alone = {pair: compare_reports(reports[pair[0]], reports[pair[1]], "MRR").p for pair in together}
    expected = statistics.holm(list(alone.values()))
    assert [comparison.p for comparison in together.values()] == pytest.approx(list(expected))


def test_a_wrong_test_name_is_refused_with_a_hint() -> None:
    with pytest.raises(UserError, match="did you mean 'randomization'"):
        compare_reports(report(0.9, range(5)), report(0.9, range(5)), "MRR", test="randomisation")
