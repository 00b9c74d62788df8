"""``data check``: everything that is to be known of a data set before it is trained on, and every bad row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from similis.data import trec
from similis.data.columns import classes_said, look_like_classes
from similis.data.ids import Ids
from similis.data.locate import Located, data_file, locate
from similis.data.records import Record
from similis.data.rejects import MAX_BAD
from similis.data.table import open_table
from similis.data.tally import Tally
from similis.errors import UserError

_SHOWN = 20


@dataclass(frozen=True)
class BadRow:
    """One row that would be set aside: file, 1-based line, and why."""

    file: str
    line: int
    reason: str


@dataclass
class Report:
    """What :func:`check` found.

    Attributes:
        path: what was checked.
        supervision, why: as :class:`similis.data.Dataset` has them.
        rows: validated rows; ``bad`` lists the others.
        columns: the file's columns in order.
        duplicates: counts after folding case and white space: ``rows_repeated``, ``anchors_repeated``,
            ``same_text_on_both_sides``.
        empties: bad rows whose reason is an empty, missing or null field.
        lengths: text column → ``characters`` and ``words`` → min, median, p95, max.
        labels, scores: the distribution of either, where there are any.
        problems: sentences on the whole; a run would stop or mislead.
        splits: the same for each split of a folder (then the fields above are sums or those of the first).
        overlap: ``a/b`` → ``rows`` of b that stand in a too, and different ``texts`` of b found in a.
    """

    path: str
    supervision: str
    why: str
    rows: int = 0
    columns: list[str] = field(default_factory=list)
    duplicates: dict[str, int] = field(default_factory=dict)
    empties: int = 0
    lengths: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    bad: list[BadRow] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    splits: dict[str, Report] = field(default_factory=dict)
    overlap: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether nothing would stop a run: no problem here or in a split."""
        return not self.problems and all(report.ok for report in self.splits.values())

    def as_dict(self) -> dict[str, Any]:
        """The whole report as values that JSON can carry."""
        return asdict(self) | {"ok": self.ok, "splits": {k: v.as_dict() for k, v in self.splits.items()}}

    def as_text(self) -> str:
        """The report for a person; of the bad rows the first twenty."""
        lines = [f"{self.path}: {self.rows:,} rows, {self.supervision}", f"  {self.why}"]
        if not self.splits:
            lines += _body(self)
        for name, report in self.splits.items():
            lines += [f"  {name}: {report.rows:,} rows ({report.why})", *("  " + line for line in _body(report))]
        for pair, counts in self.overlap.items():
            lines.append(f"  overlap {pair}: {counts['rows']:,} rows, {counts['texts']:,} texts")
        lines += [f"  problem: {problem}" for problem in self.problems]
        return "\n".join(lines)


def _body(report: Report) -> list[str]:
    lines = [f"  columns: {', '.join(report.columns)}"]
    if report.duplicates:
        said = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in report.duplicates.items())
        lines.append(f"  duplicates: {said}")
    lines.append(f"  empty fields: {report.empties:,}")
    for column, measures in report.lengths.items():
        for unit, values in measures.items():
            said = ", ".join(f"{name} {value:,g}" for name, value in values.items())
            lines.append(f"  {column}, {unit}: {said}")
    if report.labels:
        shown = ", ".join(f"{name} {count:,}" for name, count in list(report.labels.items())[:10])
        lines.append(f"  labels ({len(report.labels)}): {shown}{', …' if len(report.labels) > 10 else ''}")
    if report.scores:
        said = ", ".join(f"{name} {value:g}" for name, value in report.scores.items() if name != "histogram")
        lines.append(f"  scores: {said}; tenths {report.scores['histogram']}")
    lines.append(f"  bad rows: {len(report.bad):,}")
    lines += [f"    {bad.file}:{bad.line}: {bad.reason}" for bad in report.bad[:_SHOWN]]
    if len(report.bad) > _SHOWN:
        lines.append(f"    and {len(report.bad) - _SHOWN:,} more")
    return lines + [f"  problem: {problem}" for problem in report.problems]


def check(path: str | Path, *, columns: Mapping[str, str] | None = None, max_bad: float = MAX_BAD) -> Report:
    """Examine a file, or every split of a folder, without writing anything and in bounded memory.

    Args:
        path: anything :func:`similis.data.read` reads.
        columns: as for :func:`similis.data.read`.
        max_bad: share of bad rows, 0..1, above which the report calls them a problem.

    Raises:
        UserError: nothing can be said of the file as a whole: it is missing, empty, binary, or its columns
            are not recognised.
    """
    located = locate(Path(path))
    if located.beir:
        return _check_beir(located, max_bad)
    checked = {split: _check_split(located, split, columns, max_bad) for split in located.splits}
    if len(checked) == 1:
        return next(iter(checked.values()))[0]
    first = next(iter(checked.values()))[0]
    report = Report(str(located.path), first.supervision, f"splits {', '.join(checked)}", columns=first.columns)
    for split, (part, _) in checked.items():
        report.splits[split] = part
        report.rows += part.rows
        if part.supervision != first.supervision:
            report.problems.append(f"{split} is read as {part.supervision}, {first.path} as {first.supervision}")
    report.overlap = _overlaps({split: tally for split, (_, tally) in checked.items()})
    return report


def _check_split(
    located: Located, split: str, columns: Mapping[str, str] | None, max_bad: float
) -> tuple[Report, Tally]:
    table = open_table(located, split, columns)
    files = located.splits[split]
    where = files[0] if len(files) == 1 else located.path
    report = Report(str(where), table.schema.supervision, table.schema.why, columns=list(table.names))
    tally, ids = Tally(), Ids()

    def bad(record: Record, reason: str) -> None:
        report.bad.append(BadRow(str(record.file), record.line, reason))

    for record, rows in table.rows(bad):
        for row in rows:
            tally.add(row)
            if "id" in row:
                problem = ids.contradiction(row["id"], row["text"], record.file, record.line)
                if problem:
                    report.problems.append(problem)
    _fill(report, tally)
    if report.supervision == "pairs" and report.rows:
        longest = int(report.lengths["positive"]["characters"]["max"])
        if look_like_classes(len(tally.positives), report.rows, longest):
            column = f"column {table.schema.columns['positive']!r}"
            report.why += f"; {classes_said(column, len(tally.positives), report.rows)}"
    _judge(report, tally, max_bad)
    return report, tally


def _fill(report: Report, tally: Tally) -> None:
    report.rows = tally.rows
    report.duplicates = tally.duplicates()
    report.empties = sum(_is_empty(bad.reason) for bad in report.bad)
    report.lengths = {name: lengths.summary() for name, lengths in tally.lengths.items()}
    report.labels = tally.label_counts()
    report.scores = tally.score_summary()


def _is_empty(reason: str) -> bool:
    return reason.endswith((" is empty", " is missing", "has no score", "has no label", "has no id"))


def _judge(report: Report, tally: Tally, max_bad: float) -> None:
    """Add what would stop a run."""
    total = report.rows + len(report.bad)
    if len(report.bad) > max_bad * total:
        first = report.bad[0]
        report.problems.append(
            f"{len(report.bad):,} of {total:,} rows are bad, more than the {max_bad:.2%} allowed; "
            f"the first is {first.file}:{first.line}: {first.reason}"
        )
    if report.rows < 2:
        report.problems.append(f"only {report.rows} usable row; nothing can be learned from it")
        return
    if len(tally.labels) == 1:
        report.problems.append(f"label is {next(iter(tally.labels))!r} in every row; one class says nothing")
    if tally.scores and min(tally.scores) == max(tally.scores):
        report.problems.append(f"score is {tally.scores[0]!r} in every row; one score says nothing")


def _overlaps(tallies: Mapping[str, Tally]) -> dict[str, dict[str, int]]:
    """What later splits share with earlier ones; rows are equal where all their texts are."""
    names = list(tallies)
    found = {}
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            rows = sum(count for key, count in tallies[other].keys.items() if key in tallies[one].keys)
            found[f"{one}/{other}"] = {"rows": rows, "texts": len(tallies[other].texts & tallies[one].texts)}
    return found


def _check_beir(located: Located, max_bad: float) -> Report:
    """A BEIR folder: its corpus and queries as texts, its judgements by split."""
    report = Report(
        str(located.path), "retrieval", f"retrieval: corpus, queries and qrels ({', '.join(located.splits)})"
    )
    known: dict[str, set[str]] = {}
    for part in ("corpus", "queries"):
        file = data_file(located.path, part)
        if file is None:
            raise UserError(f"{located.path / part}.jsonl does not exist; a BEIR folder needs corpus and queries")
        known[part] = _identifiers(file)
        report.splits[part] = _check_split(Located(file, {"": (file,)}), "", None, max_bad)[0]
    report.rows, report.columns = report.splits["corpus"].rows, report.splits["corpus"].columns
    queries = {}
    for split, files in located.splits.items():
        qrels = trec.read_qrels(files[0])
        queries[split] = set(qrels)
        report.splits[f"qrels/{split}"] = _judgements(qrels, files[0], known, max_bad)
    names = list(queries)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            shared = len(queries[one] & queries[other])
            report.overlap[f"{one}/{other}"] = {"rows": shared, "texts": shared}
    return report


def _identifiers(file: Path) -> set[str]:
    table = open_table(Located(file, {"": (file,)}), "", None)
    column = table.schema.columns.get("id")
    return {str(record.values.get(column)) for record in table.records if column and not record.reason}


def _judgements(qrels: trec.Qrels, file: Path, known: Mapping[str, set[str]], max_bad: float) -> Report:
    grades = [grade for judged in qrels.values() for grade in judged.values()]
    report = Report(
        str(file), "qrels", f"{len(qrels):,} queries", rows=len(grades), columns=["query", "document", "grade"]
    )
    report.labels = {str(grade): grades.count(grade) for grade in sorted(set(grades), reverse=True)}
    nowhere = [
        (query, document)
        for query, judged in qrels.items()
        for document in judged
        if query not in known["queries"] or document not in known["corpus"]
    ]
    if nowhere:
        said = f"{len(nowhere):,} of {len(grades):,} judgements point nowhere; the first is query {nowhere[0][0]!r}"
        said += f" with document {nowhere[0][1]!r}"
        if len(nowhere) > max_bad * len(grades):
            report.problems.append(said)
        else:
            report.why += f"; {said}"
    return report
