"""TREC files: runs (``qid Q0 docid rank score tag``) and qrels (``qid 0 docid grade``, or BEIR's three columns)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from similis.data.opening import opened
from similis.errors import UserError
from similis.files import writing

Run = dict[str, dict[str, float]]
Qrels = dict[str, dict[str, int]]


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    with opened(path) as stream:
        for number, line in enumerate(stream, 1):
            try:
                text = line.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                raise UserError(f"{path}:{number}: not UTF-8 text") from None
            if text.strip():
                yield number, text


def read_run(path: str | Path) -> Run:
    """Read a run: query id → document id → score, in file order; the rank column is not used.

    Raises:
        UserError: with file and line: not six columns, a score that is no finite number, a document
            twice for one query.
    """
    file = Path(path)
    run: Run = {}
    for number, line in _lines(file):
        cells = line.split()
        if len(cells) != 6:
            raise UserError(
                f"{file}:{number}: a run has 6 columns (query Q0 document rank score tag), here are {len(cells)}"
            )
        query, document, text = cells[0], cells[2], cells[4]
        try:
            score = float(text)
        except ValueError:
            raise UserError(f"{file}:{number}: the score should be a number, not {text!r}") from None
        if not math.isfinite(score):
            raise UserError(f"{file}:{number}: the score is {text}; it should be a finite number")
        if document in run.setdefault(query, {}):
            raise UserError(f"{file}:{number}: document {document!r} stands twice for query {query!r}")
        run[query][document] = score
    return run


def read_qrels(path: str | Path) -> Qrels:
    """Read judgements: query id → document id → grade, in file order.

    Four columns separated by blanks are TREC's; three separated by tabs are BEIR's, with or without header.

    Raises:
        UserError: with file and line: another number of columns, a grade that is no whole number, a
            document judged twice for one query.
    """
    file = Path(path)
    qrels: Qrels = {}
    for number, line in _lines(file):
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) != 3:
            cells = line.split()
        if len(cells) not in (3, 4):
            raise UserError(
                f"{file}:{number}: qrels have 4 columns (query 0 document grade) or BEIR's 3 "
                f"(query-id corpus-id score), here are {len(cells)}"
            )
        query, document, text = cells[0], cells[-2], cells[-1]
        if number == 1 and text.lower() in ("score", "grade", "relevance", "rel", "label"):
            continue
        if document in qrels.setdefault(query, {}):
            raise UserError(f"{file}:{number}: document {document!r} is judged twice for query {query!r}")
        qrels[query][document] = _grade(text, file, number)
    if not qrels:
        raise UserError(f"{file} has no judgements (a header at most)")
    return qrels


def _grade(text: str, file: Path, number: int) -> int:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or not value.is_integer():
        raise UserError(f"{file}:{number}: the grade should be a whole number, not {text!r}")
    return int(value)


def write_run(run: Mapping[str, Mapping[str, float]], path: str | Path, tag: str = "similis") -> None:
    """Write a run, the best first; equal scores by document id downwards, as trec_eval orders them.

    Scores are written so that they read back exactly.

    Raises:
        UserError: an id or the tag is empty or holds blanks, or a score is not finite; nothing is written.
    """
    _writable(tag, "tag")
    with writing(Path(path)) as aside, aside.open("w", encoding="utf-8", newline="\n") as out:
        for query, scores in run.items():
            _writable(query, "query id")
            ranked = sorted(scores.items(), key=lambda item: (item[1], item[0]), reverse=True)
            for rank, (document, score) in enumerate(ranked, 1):
                _writable(document, "document id")
                if not math.isfinite(score):
                    raise UserError(f"the score of document {document!r} for query {query!r} is {score}")
                out.write(f"{query} Q0 {document} {rank} {float(score)!r} {tag}\n")


def write_qrels(qrels: Mapping[str, Mapping[str, int]], path: str | Path) -> None:
    """Write judgements in TREC's four columns.

    Raises:
        UserError: an id is empty or holds blanks; nothing is written.
    """
    with writing(Path(path)) as aside, aside.open("w", encoding="utf-8", newline="\n") as out:
        for query, judged in qrels.items():
            _writable(query, "query id")
            for document, grade in judged.items():
                _writable(document, "document id")
                out.write(f"{query} 0 {document} {int(grade)}\n")


def _writable(text: str, what: str) -> None:
    if not text or len(text.split()) != 1 or text.split()[0] != text:
        raise UserError(f"{what} {text!r} cannot be written to a TREC file: it is empty or holds blanks")
