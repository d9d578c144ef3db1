"""Judgements by path: `qrels.jsonl`, and CSV tables. These are files that people write for their own media.

A line of `qrels.jsonl` is a JSON object (blank lines are passed over):

    {"id": "q1", "text": "a red kangaroo", "relevant": ["animals/kangaroo.png"]}
    {"id": "q2", "image": "pool.jpg", "relevant": {"pool2.jpg": 2, "lake.jpg": 1}}
    {"id": "q3", "text": "the goal", "relevant": ["match.mp4"], "start": 63.5, "end": 70}
    {"id": "q4", "terms": [{"text": "a dog", "weight": 2}, {"image": "a.jpg"}], "relevant": ["b.jpg"]}

- The query is `text`, `image`, `audio`, `video` or `document` (a path, but for `text`), several of these together, or
  `terms`: a list of such objects, each with a `weight` if not 1, and of strings in the grammar of the command line.
- `relevant` is a list of paths, or a map from path to grade (0: judged, and not relevant). A path in the list may also
  be an object, {"path": ..., "grade": ..., "start": ..., "end": ...}, and be there several times with other moments.
  A grade in the map may be such an object too, without its path.
- `start` and `end`, in seconds, are the moment in the only relevant file.
- Paths are absolute, or relative to the file's folder. `id` may be left out: it is then the number of the line.

A CSV file has a header and one row for each query and relevant file: `text` (or `query`, `caption`) or one of
`query_image`, `query_audio` and `query_video`, then `path` (or `file`, `file_name`, `filename`, `relevant`, `image`,
`audio`, `video`), and if wanted `id`, `grade` (or `relevance`), `start`, `end`. Rows with one `id` are one query, as
are, without ids, rows with one query text.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from indexer.errors import UsageError
from mmsearch.evaluation.cases import (
    MAX_GRADE,
    TERM_KINDS,
    EvaluationQuery,
    EvaluationSet,
    EvaluationTerm,
    Skipped,
    Span,
    TermKind,
)
from mmsearch.evaluation.datasets.folder import canonical, kind_of
from mmsearch.evaluation.datasets.reading import Row, bad_line, read_lines, read_table, squeezed

_GRADE = "a whole number from 0 up"

_SHOWN = 5  # bad lines that one error tells of

_KNOWN = frozenset({*TERM_KINDS, "id", "terms", "weight", "relevant", "start", "end", "note"})

_QUERY_COLUMNS: Mapping[str, TermKind] = {
    **dict.fromkeys(("text", "query", "caption"), "text"),
    "query_image": "image",
    "query_audio": "audio",
    "query_video": "video",
}
_PATH_COLUMNS = ("path", "file", "file_name", "filename", "relevant", "image", "audio", "video")
_GRADE_COLUMNS = ("grade", "relevance")


class GrammarTerm(Protocol):
    """A term as the grammar of queries gives it."""

    @property
    def kind(self) -> Any:
        """One of `TERM_KINDS`."""

    @property
    def value(self) -> Any:
        """Words, or a path."""

    @property
    def weight(self) -> float:
        """How much of it; negative for less."""


Parser = Callable[[str, Path], Iterable[GrammarTerm]]
"""Reads a query in the grammar of the command line, with the folder that its paths are relative to."""


class _BadLineError(Exception):
    """What is wrong with one line: what was found, and what was expected."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(found, expected)
        self.found, self.expected = found, expected


@dataclass(slots=True)
class _Draft:
    """A query on its way: judgements by absolute path."""

    id: str
    terms: tuple[EvaluationTerm, ...]
    relevant: dict[str, int] = field(default_factory=dict)
    moments: dict[str, list[Span]] = field(default_factory=dict)

    def judge(self, path: str, grade: int, span: Span | None) -> None:
        if self.relevant.setdefault(path, grade) != grade:
            raise _BadLineError(f"two grades for {path}: {self.relevant[path]} and {grade}", "one")
        if span is not None:
            self.moments.setdefault(path, []).append(span)


def read_jsonl(path: Path, parse: Parser | None = None) -> EvaluationSet:
    """The queries and judgements of a `qrels.jsonl`.

    A relevant file that is not there is reported and left out; so is a query that is made of one. A query may be left
    with nothing relevant: whoever computes metrics reports that.

    Args:
        path: the file.
        parse: reads the strings in `terms`. Without it they are an error.

    Raises:
        UsageError: lines cannot be used (the first few are named), or not one of the files is there.
    """
    path = Path(canonical(os.path.expanduser(path)))
    drafts: list[_Draft] = []
    seen: dict[str, int] = {}
    problems: list[UsageError] = []
    for line, text in read_lines(path):
        try:
            draft = _draft(text, line, path.parent, parse)
            if draft.id in seen:
                raise _BadLineError(f"the id {draft.id!r}, which line {seen[draft.id]} has too", "an id of its own")
            seen[draft.id] = line
            drafts.append(draft)
        except _BadLineError as error:
            problems.append(bad_line(path, line, error.found, error.expected))
    return _finished(path, drafts, problems)


def read_judged_table(path: Path) -> EvaluationSet:
    """The queries and judgements of a CSV file; see the module.

    Raises:
        UsageError: a column is missing, or rows cannot be used (the first few are named).
    """
    path = Path(canonical(os.path.expanduser(path)))
    drafts: dict[str, _Draft] = {}
    problems: list[UsageError] = []
    for row in read_table(path, [tuple(_QUERY_COLUMNS), _PATH_COLUMNS]):
        try:
            _add_row(drafts, row, path.parent)
        except _BadLineError as error:
            problems.append(bad_line(path, row.line, error.found, error.expected))
    return _finished(path, list(drafts.values()), problems)


def _finished(path: Path, drafts: Sequence[_Draft], problems: Sequence[UsageError]) -> EvaluationSet:
    if problems:
        more = f"\nand {len(problems) - _SHOWN} lines more" if len(problems) > _SHOWN else ""
        raise UsageError("\n".join(str(problem) for problem in problems[:_SHOWN]) + more)
    if not drafts:
        raise UsageError(f"{path} has no queries; see docs/datasets.md for what a line looks like")
    there = _Present()
    queries, skipped = [], []
    for draft in drafts:
        missing = [term.value for term in draft.terms if term.kind != "text" and not there(term.value)]
        if missing:
            skipped.append(Skipped(f"query {draft.id}", f"it is made of a file that is missing: {', '.join(missing)}"))
            continue
        gone = [file for file in draft.relevant if not there(file)]
        skipped += [Skipped(file, f"the file is missing, so query {draft.id} cannot find it") for file in gone]
        relevant = {file: grade for file, grade in draft.relevant.items() if there(file)}
        moments = {file: tuple(spans) for file, spans in draft.moments.items() if file in relevant}
        queries.append(EvaluationQuery(draft.id, draft.terms, relevant, moments, _direction(draft.terms, relevant)))
    if there.asked and not there.found:
        raise UsageError(
            f"not one of the {there.asked} files that {path} names is there, and the first is {there.first}; paths are "
            f"absolute, or relative to {path.parent}"
        )
    directions = {query.direction for query in queries}
    return EvaluationSet(
        name=str(path),
        queries=tuple(queries),
        direction=directions.pop() if len(directions) == 1 else "",
        skipped=tuple(skipped),
        source=str(path),
    )


class _Present:
    """Whether files are there: each is looked for once."""

    def __init__(self) -> None:
        self._known: dict[str, bool] = {}
        self.first = ""

    def __call__(self, path: str) -> bool:
        self.first = self.first or path
        if path not in self._known:
            self._known[path] = os.path.isfile(path)
        return self._known[path]

    @property
    def asked(self) -> int:
        return len(self._known)

    @property
    def found(self) -> int:
        return sum(self._known.values())


def _direction(terms: Sequence[EvaluationTerm], relevant: Mapping[str, int]) -> str:
    """Such as "text->image"; "text+image->video" for several kinds, "text->any" where nothing is relevant."""
    asked = dict.fromkeys("text" if term.kind == "document" else term.kind for term in terms)
    found = sorted({kind_of(file) or "other" for file, grade in relevant.items() if grade > 0})
    return f"{'+'.join(asked)}->{'+'.join(found) or 'any'}"


# --- one line of JSON ---


def _draft(text: str, line: int, folder: Path, parse: Parser | None) -> _Draft:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also a number of thousands of digits
        said = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise _BadLineError(f"{text[:80]!r}, which is not JSON ({said})", "one JSON object on a line") from None
    if not isinstance(record, dict):
        raise _BadLineError(
            f"a JSON {type(record).__name__}", 'an object such as {"text": "a dog", "relevant": ["dog.jpg"]}'
        )
    strange = record.keys() - _KNOWN
    if strange:
        raise _BadLineError(f"the field {sorted(strange)[0]!r}", f"only {', '.join(sorted(_KNOWN))}")
    id = record.get("id", line)
    if isinstance(id, bool) or not isinstance(id, (str, int)) or not str(id).strip():
        raise _BadLineError(f"the id {id!r}", "words or a whole number")
    draft = _Draft(str(id).strip(), _terms(record, folder, parse))
    if "relevant" not in record:
        raise _BadLineError('no field "relevant"', "a list of paths, or a map from path to grade; [] when nothing is")
    for path, grade, span in _judgements(record, folder):
        draft.judge(path, grade, span)
    return draft


def _terms(record: Mapping[str, Any], folder: Path, parse: Parser | None) -> tuple[EvaluationTerm, ...]:
    written = record.get("terms", [])
    if not isinstance(written, list):
        raise _BadLineError(f'"terms" as {written!r:.80}', 'a list such as [{"text": "a dog"}, {"image": "grass.jpg"}]')
    found: list[EvaluationTerm] = []
    for kind in TERM_KINDS:
        if kind in record:
            weight = 1.0 if written else record.get("weight", 1.0)
            found.append(_term(kind, record[kind], weight, folder))
    for item in written:
        if isinstance(item, str):
            found += _parsed(item, folder, parse)
            continue
        kinds = [kind for kind in TERM_KINDS if isinstance(item, dict) and kind in item]
        if len(kinds) != 1 or item.keys() - {kinds[0], "weight"}:
            raise _BadLineError(
                f"the term {item!r:.80}", f"an object with one of {', '.join(TERM_KINDS)}, and a weight if not 1"
            )
        found.append(_term(kinds[0], item[kinds[0]], item.get("weight", 1.0), folder))
    if not found:
        raise _BadLineError("no query", f"one of {', '.join(TERM_KINDS)}, or terms")
    if all(term.weight < 0 for term in found):
        raise _BadLineError("only terms with a negative weight", "one at least with a positive weight")
    return tuple(found)


def _term(kind: TermKind, value: Any, weight: Any, folder: Path) -> EvaluationTerm:
    if not isinstance(value, str) or not value.strip():
        raise _BadLineError(f"{kind!r} as {value!r:.80}", "words" if kind == "text" else "a path")
    if not _is_finite(weight) or not weight:
        raise _BadLineError(f"the weight {weight!r}", "a number other than 0")
    if kind == "text" and value.encode("utf-8", "replace").decode() != value:
        raise _BadLineError(f"{value!r:.80}, which holds half a character", "words that can be written as UTF-8")
    return EvaluationTerm(kind, squeezed(value) if kind == "text" else _absolute(value, folder), float(weight))


def _parsed(text: str, folder: Path, parse: Parser | None) -> list[EvaluationTerm]:
    if parse is None:
        raise _BadLineError(
            f"the term {text!r}", 'an object such as {"text": ...}: no parser of the query grammar was given'
        )
    try:
        terms = list(parse(text, folder))
    except UsageError as error:
        raise _BadLineError(f"the term {text!r}", f"a query in the grammar of the command line ({error})") from None
    return [_term(term.kind, term.value, term.weight, folder) for term in terms]


def _judgements(record: Mapping[str, Any], folder: Path) -> Iterable[tuple[str, int, Span | None]]:
    relevant = record["relevant"]
    if isinstance(relevant, dict):
        items = [
            ({**what, "path": path} if isinstance(what, dict) else {"path": path, "grade": what})
            for path, what in relevant.items()
        ]
    elif isinstance(relevant, list):
        items = [item if isinstance(item, dict) else {"path": item} for item in relevant]
    else:
        raise _BadLineError(f'"relevant" as {relevant!r:.80}', "a list of paths, or a map from path to grade")
    whole = _span(record)
    if whole is not None and len(items) != 1:
        raise _BadLineError(
            f"start and end with {len(items)} relevant files",
            'one file, or each with its own: {"path": ..., "start": ..., "end": ...}',
        )
    for item in items:
        path, grade = item.get("path"), item.get("grade", 1)
        if item.keys() - {"path", "grade", "start", "end"}:
            raise _BadLineError(f"{item!r:.80} in relevant", "only path, grade, start and end")
        if not isinstance(path, str) or not path.strip():
            raise _BadLineError(f"{path!r:.80} in relevant", "a path")
        if not _is_finite(grade):
            raise _BadLineError(f"the grade {grade!r:.80} of {path}", _GRADE)
        yield _absolute(path, folder), _grade(grade), _span(item) or whole


def _span(record: Mapping[str, Any]) -> Span | None:
    if "start" not in record and "end" not in record:
        return None
    start, end = record.get("start"), record.get("end")
    for side in (start, end):
        if not _is_finite(side):
            raise _BadLineError(f"start {start!r} and end {end!r}", "both, in seconds")
    return _forward(float(start), float(end))  # type: ignore[arg-type]  # checked above


def _grade(value: float) -> int:
    """A grade; 2.0 is 2."""
    if value != int(value) or not 0 <= value <= MAX_GRADE:
        raise _BadLineError(f"the grade {value:g}", _GRADE)
    return int(value)


def _is_finite(value: Any) -> bool:
    """Whether a JSON value is a number that a float can hold."""
    try:
        return not isinstance(value, bool) and isinstance(value, (int, float)) and math.isfinite(value)
    except OverflowError:
        return False


def _forward(start: float, end: float) -> Span:
    if not 0 <= start < end:
        raise _BadLineError(f"a moment from {start:g} to {end:g} s", "one that runs forward from 0")
    return start, end


def _absolute(path: str, folder: Path) -> str:
    return canonical(os.path.join(folder, os.path.expanduser(path)))


# --- one row of CSV ---


def _add_row(drafts: dict[str, _Draft], row: Row, folder: Path) -> None:
    """Add a row's judgement to the query that it belongs to."""
    values = {name: value.strip() for name, value in row.values.items() if value.strip()}
    query = next((name for name in _QUERY_COLUMNS if name in values), None)
    if query is None:
        raise _BadLineError("no query", f"a value in one of the columns {', '.join(_QUERY_COLUMNS)}")
    place = next((name for name in _PATH_COLUMNS if name in values), None)
    if place is None:
        raise _BadLineError("no path", f"a value in one of the columns {', '.join(_PATH_COLUMNS)}")
    term = _term(_QUERY_COLUMNS[query], values[query], 1.0, folder)
    grade = _number(values, next((name for name in _GRADE_COLUMNS if name in values), ""), 1.0)
    start, end = _number(values, "start", math.nan), _number(values, "end", math.nan)
    if math.isnan(start) != math.isnan(end):
        raise _BadLineError("only one of start and end", "both, or none")
    key = values.get("id") or _same(term)
    draft = drafts.get(key)
    if draft is None:
        draft = drafts[key] = _Draft(values.get("id") or str(row.line), (term,))
    elif draft.terms != (term,):
        raise _BadLineError(f"the query {term.value!r} with the id {key!r}", f"{draft.terms[0].value!r}, as above")
    draft.judge(_absolute(values[place], folder), _grade(grade), None if math.isnan(start) else _forward(start, end))


def _same(term: EvaluationTerm) -> str:
    """What rows without an id have in common when they are one query. A NUL keeps it apart from ids."""
    return f"\0{term.kind}\0{term.value}"


def _number(values: Mapping[str, str], name: str, otherwise: float) -> float:
    if name not in values:
        return otherwise
    try:
        number = float(values[name])
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise _BadLineError(f"{name} {values[name]!r}", "a number")
    return number
