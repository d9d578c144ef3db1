"""`mmsearch query --qrels`: a query that somebody judged, asked and held against the judgements."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.errors import UsageError
from mmsearch.commands.terminal import complain, print_lines

if TYPE_CHECKING:
    from mmsearch.engine import Engine
    from mmsearch.evaluation.cases import EvaluationQuery
    from mmsearch.evaluation.single import Quality
    from mmsearch.query import Query
    from mmsearch.rank import Answer


def find_judged(file: Path, arguments: Sequence[str], asked: Query) -> tuple[EvaluationQuery, Query]:
    """The judged query that was meant, and what to ask: the same, or what the query of that id asks.

    Args:
        file: judgements.
        arguments: the terms as they were typed; a single one may be an id.
        asked: what they ask.

    Raises:
        UsageError: no query in the file asks this or has this id.
    """
    from mmsearch.evaluation.by_engine import query_of
    from mmsearch.evaluation.single import ids_of, judged_query
    from mmsearch.output.text import clean, first_few

    judged = judged_query(file, asked.terms)
    if judged is None and len(arguments) == 1 and len(asked.terms) == 1:
        judged = judged_query(file, arguments[0])
        if judged is not None:
            asked = replace(asked, terms=query_of(judged).terms)
    if judged is None:
        ids = first_few([clean(id) for id in ids_of(file)], 8)
        raise UsageError(f"no query in {file} asks {asked.asked}, or has this id; the ids are {ids}")
    return judged, asked


def ask_judged(engine: Engine, judged: EvaluationQuery, asked: Query) -> tuple[Answer, Quality]:
    """Ask as an evaluation does: nothing is folded away, and a file does not find itself."""
    from mmsearch.evaluation.single import quality_of

    found = engine.query(replace(asked, k=asked.k + len(judged.ignored)), fold=False)
    hits = tuple(hit for hit in found if hit.path not in judged.ignored)[: asked.k]
    return replace(found, hits=hits), quality_of(judged, hits, asked.k)


def tell_quality(quality: Quality, format: str) -> None:
    """Show it below a table; beside other formats on standard error, but for JSON, which has it."""
    if format == "table":
        print_lines(("", *quality.lines()))
        sys.stdout.flush()
    elif format != "json":
        for line in quality.lines():
            complain(line)
