"""Judging: measures with intervals, comparisons with tests.

``evaluate_run``, ``evaluate_arrays`` and ``evaluate_retrieval`` return a :class:`Report`. Imports ``metrics`` and the
base; ``diagnostics``, ``cli`` and ``report`` may import it.
"""

from similis.evaluation.comparison import Comparison, compare_all, compare_reports
from similis.evaluation.report import Report, Score
from similis.evaluation.runs import evaluate_arrays, evaluate_ranked, evaluate_run

__all__ = [
    "Comparison",
    "Report",
    "Score",
    "compare_all",
    "compare_reports",
    "evaluate_arrays",
    "evaluate_ranked",
    "evaluate_run",
]
