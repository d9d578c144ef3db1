"""TREC files: runs and judgements as other tools read and write them.

A run has six columns, `query Q0 item rank score tag`; judgements have four, `query 0 item grade`. Columns are
parted by white space, so that ids with spaces (paths) are written with %20 for each, and read back.

trec_eval reads only query, item and score of a run. It compares scores as float32, and breaks ties by id,
highest first. `Run` follows the same rule, on the ids as they are written, so that trec_eval and whatever is
built on it (pytrec_eval, ir_measures) give the same numbers for a run that was written here. The lines
are in ranked order, for tools that go by the order or by the rank.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from indexer.errors import UsageError
from mmsearch.evaluation.ids import from_token, token
from mmsearch.evaluation.judgements import Qrels
from mmsearch.evaluation.run import Run

_RUN = ("query", "Q0", "item", "rank", "score", "tag")
_QRELS = ("query", "0", "item", "grade")


def write_run(run: Run, path: str | os.PathLike[str]) -> None:
    """Write a run as a TREC file, UTF-8. A query without results has no line in it, as the format has it."""
    tag = token(run.name) or "run"
    items = [token(item) for item in run.items]
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        for number, query in enumerate(map(token, run.queries)):
            span = slice(run.offsets[number], run.offsets[number + 1])
            results = zip(run.codes[span].tolist(), run.scores[span].tolist(), strict=True)
            # 9 digits tell every float32 from its neighbours.
            file.writelines(
                f"{query} Q0 {items[code]} {rank} {score:.9g} {tag}\n" for rank, (code, score) in enumerate(results, 1)
            )


def is_run(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as a run does, or is empty."""
    return _begins(path, len(_RUN))


def is_qrels(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as judgements do, or is empty."""
    return _begins(path, len(_QRELS))


def _begins(path: str | os.PathLike[str], columns: int) -> bool:
    try:
        with open(path, encoding="utf-8") as file:
            line = file.readline(10_000)
    except (OSError, UnicodeDecodeError):
        return False
    cells = line.split()
    return not cells or (len(cells) == columns and cells[1] in ("Q0", "0"))


def read_run(path: str | os.PathLike[str], name: str | None = None) -> Run:
    """Read a run from a TREC file. The order of its lines and its ranks do not matter: scores decide.

    Args:
        path: The file, UTF-8.
        name: The run's name; without it, that of the last column of the first line.

    Raises:
        UsageError: A line is not of the format, or an item comes twice for a query.
    """
    queries, items, scores, tag = [], [], [], None
    for number, cells in _lines(path, _RUN):
        queries.append(from_token(cells[0]))
        items.append(from_token(cells[2]))
        scores.append(_number(path, number, "score", cells[4]))
        tag = tag or from_token(cells[5])
    return Run.from_rows(queries, items, scores, name=name or tag or Path(path).stem)


def write_qrels(qrels: Qrels, path: str | os.PathLike[str]) -> None:
    """Write judgements as a TREC file, UTF-8. A query that has none has no line in it."""
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        for query, judged in qrels.to_mapping().items():
            file.writelines(f"{token(query)} 0 {token(item)} {grade}\n" for item, grade in judged.items())


def read_qrels(path: str | os.PathLike[str]) -> Qrels:
    """Read judgements from a TREC file.

    Raises:
        UsageError: A line is not of the format, or an item is judged twice for a query.
    """
    queries, items, grades = [], [], []
    for number, cells in _lines(path, _QRELS):
        queries.append(from_token(cells[0]))
        items.append(from_token(cells[2]))
        grades.append(_number(path, number, "grade", cells[3]))
    return Qrels.from_rows(queries, items, grades)  # type: ignore[arg-type]  # whole or refused there


def _lines(path: str | os.PathLike[str], columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    try:
        with open(path, encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                cells = line.split()
                if not cells:
                    continue
                if len(cells) != len(columns):
                    raise UsageError(
                        f"{path}:{number}: {len(cells)} columns, and {len(columns)} are expected: {' '.join(columns)}"
                    )
                yield number, cells
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None


def _number(path: str | os.PathLike[str], line: int, what: str, cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        raise UsageError(f"{path}:{line}: the {what} is {cell!r}, and must be a number") from None
