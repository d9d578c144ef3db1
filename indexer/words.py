"""Words as words: full-text search in transcripts, documents, subtitles, titles, and the names of files and folders.

The tables are SQLite's FTS5, made in `indexer/migrations.py`: their texts are views of our own tables, so no text is
stored twice, and triggers keep them in step in the very transactions that write or delete rows. `indexer/tokens.py`
says what a word is. Rows are ranked by BM25 (Robertson and Zaragoza 2009, as FTS5 computes it: k1 1.2, b 0.75).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate
from typing import Any, Literal

from sqlalchemy import (
    Connection,
    Integer,
    Select,
    Subquery,
    bindparam,
    column,
    exists,
    func,
    literal_column,
    null,
    select,
    table,
    text,
)
from sqlalchemy.orm import aliased

from indexer import tokens
from indexer.admitted import admitted_texts
from indexer.errors import LibraryDamagedError
from indexer.filters import Filter, shown_contents
from indexer.highlight import Span, find_terms, merged
from indexer.schema import Content, Encoding, File, Segment
from indexer.store import Store
from indexer.word_query import Term, WordQuery, parse_words

Where = Literal["text", "title", "name"]
"""Where a word stands: in a segment's text, in the title that a file gives itself, or in its name and folders."""

TABLES = ("segment_words", "title_words", "file_words", "file_parts")
"""The full-text tables of a library."""

_COMMON_SHARE, _COMMON_AT_LEAST = 20, 50  # a word in more rows than both a twentieth of all and 50 is common
_RANKED_SHARE, _RANKED_AT_LEAST = 20, 5_000  # rows that rare words may have before commoner ones are left for later
_COMMON_ROWS = 10_000  # rows that are ranked for a query of common words only


@dataclass(frozen=True, slots=True)
class WordHit:
    """A text that holds words of a query.

    Attributes:
        content_id: what it is a text of.
        segment_id: the segment that has the text; None for a title or a name.
        where: what text it is.
        score: BM25, above 0, higher is better. To be compared where `where` and `partial` are the same.
        text: the text as it is written; of a name, the path in the root.
        asked: what it was looked for with.
        complete: it holds all terms that count, see `find_words`.
        phrases: there are terms in quotation marks, and it holds them all.
        exact: the query is a file's name, with its suffix or without.
        partial: the terms are parts of words of a name.
    """

    content_id: int
    segment_id: int | None
    where: Where
    score: float
    text: str
    asked: WordQuery
    complete: bool
    phrases: bool
    exact: bool = False
    partial: bool = False

    @property
    def terms(self) -> tuple[str, ...]:
        """The terms that it holds, as they were asked for. Looked for each time: of most hits, nobody asks."""
        return tuple(self._found())

    @property
    def spans(self) -> tuple[Span, ...]:
        """The characters of `text` that these are."""
        return merged([span for spans in self._found().values() for span in spans])

    def _found(self) -> dict[str, list[Span]]:
        terms = [term.text for term in self.asked.terms]
        return find_terms(self.text, terms, name=self.where == "name", parts=self.partial)


_Asks = Literal["exact", "all", "phrases", "any"]


@dataclass(frozen=True, slots=True)
class _Stage:
    """One question to a full-text table. `matches`: rows that match; None when they are too many to be counted."""

    asks: _Asks
    expression: str
    matches: int | None
    is_common: bool = False


class _Source:
    """One full-text table: how it is asked, and how its rows lead to what a person may see.

    Args:
        table: its name.
        where: what its texts are.
        expression: FTS5's for a term, None when the table cannot be asked for it.
        rows: from a subquery with `rowid` and `rank` to the columns content_id, segment_id, text, directory and rank;
            only what is shown.
        exact: FTS5's expression for the name of a file.
        partial: its words are parts of words.
    """

    def __init__(
        self,
        table: str,
        where: Where,
        expression: Callable[[str], str | None],
        rows: Callable[[Subquery], Select[Any]],
        *,
        exact: Callable[[str], str | None] | None = None,
        partial: bool = False,
    ) -> None:
        self.table, self.where, self.expression, self.exact, self.partial = table, where, expression, exact, partial
        self._rows = rows
        self._queries: dict[bool, Select[Any]] = {}

    def query(self, *, is_known: bool) -> Select[Any]:
        """The best `limit` shown rows of the `depth` best among the first `scan` that match `words`; -1 means all.

        Where it is known which rows are shown, `shown` has a byte for each, and no others are ranked, which is what
        takes long. Made once, for that costs SQLAlchemy more than SQLite takes to answer. The inner limits, even of -1,
        also keep SQLite from asking the full-text table anew for each file.
        """
        if is_known not in self._queries:
            index = table(self.table, column("rowid"), column("rank"))
            matching = select(index.c.rowid, index.c.rank).limit(bindparam("scan", type_=Integer))
            matching = matching.where(literal_column(self.table).op("MATCH")(bindparam("words")))
            if is_known:
                matching = matching.where(func.substr(bindparam("shown"), index.c.rowid + 1, 1) == b"\1")
            scanned = matching.subquery("scanned")
            found = select(scanned.c.rowid, scanned.c.rank).order_by(scanned.c.rank)
            rows = self._rows(found.limit(bindparam("depth", type_=Integer)).subquery("found"))
            self._queries[is_known] = rows.order_by("rank").limit(bindparam("limit", type_=Integer))
        return self._queries[is_known]


def find_words(
    store: Store, generation_id: int, query: str | WordQuery, wanted: Filter, limit: int = 100
) -> list[WordHit]:
    """The texts that hold words of a query, at most `limit` of each `where`, best first.

    Texts come in this order: names that are the query, what holds all its quoted phrases, what holds all its terms,
    and within each by BM25; names that hold the terms as parts of words come last. A term that a twentieth of all
    texts hold (and 50) does not count, as if it had not been asked, unless no other was asked. In a long query, texts
    that hold only the commonest of its terms come after those that hold a rarer one, and only up to the limit. The
    filter is part of the SQL, so that a limit never hides a text which fits. Names of the same content are one hit.

    Args:
        store: where to look.
        generation_id: whose segments; a title or a name is found when it has an encoding of this generation.
        query: anything that a person wrote; see `parse_words`.
        wanted: which files may be found.
        limit: how many hits of each `where` at most.
    """
    asked = parse_words(query) if isinstance(query, str) else query
    hits: list[WordHit] = []
    if not asked.terms or limit < 1:
        return hits
    admits = admitted_texts(store, generation_id, wanted)
    with store.reading() as connection:
        for source in _sources(generation_id, wanted, wanted.clocks()):
            known = [hit.content_id for hit in hits if hit.where == "name"] if source.partial else ()
            shown = admits if source.where == "text" else None
            hits += _search(connection, source, asked, limit, known, shown)
    hits.sort(key=lambda hit: (not hit.exact, hit.partial, not hit.phrases, not hit.complete, -hit.score))
    return hits


@lru_cache(maxsize=64)  # queries come in series with the same filter
def _sources(generation_id: int, wanted: Filter, _clocks: Hashable) -> tuple[_Source, ...]:
    """Every full-text table, and how it leads to what is shown. The table of parts comes after that of words."""
    encoded = exists().where(Encoding.content_id == File.content_id, Encoding.generation_id == generation_id)
    titled = aliased(Content)

    def segments(found: Subquery) -> Select[Any]:
        return (
            select(Encoding.content_id, Segment.id.label("segment_id"), Segment.text, null().label("directory"))
            .add_columns(found.c.rank)
            .join_from(found, Segment, Segment.id == found.c.rowid)
            .join(Encoding, Encoding.id == Segment.encoding_id)
            .where(Encoding.generation_id == generation_id)
            .where(shown_contents(wanted).where(File.content_id == Encoding.content_id).correlate(Encoding).exists())
        )

    def titles(found: Subquery) -> Select[Any]:
        shown = shown_contents(wanted).where(File.content_id == titled.id, encoded).correlate(titled)
        return (
            select(titled.id.label("content_id"), null().label("segment_id"), titled.title.label("text"))
            .add_columns(null().label("directory"), found.c.rank)
            .join_from(found, titled, titled.id == found.c.rowid)
            .where(shown.exists())
        )

    def names(found: Subquery) -> Select[Any]:
        # With min(), SQLite takes the other columns from the row that has the minimum.
        named: Select[Any] = (
            shown_contents(wanted)
            .join(found, found.c.rowid == File.id)
            .where(encoded)
            .with_only_columns(File.content_id, null().label("segment_id"), File.name.label("text"), File.directory)
            .add_columns(func.min(found.c.rank).label("rank"))
            .group_by(File.content_id)
        )
        return named

    def in_names(words: str) -> str | None:
        expression = tokens.name_phrase(words)
        return expression and f"{{name folder}} : {expression}"

    return (
        _Source("segment_words", "text", tokens.phrase, segments),
        _Source("title_words", "title", tokens.phrase, titles),
        _Source("file_words", "name", in_names, names, exact=tokens.exact_name),
        _Source("file_parts", "name", tokens.part, names, partial=True),
    )


def _search(
    connection: Connection, source: _Source, asked: WordQuery, limit: int, known: Iterable[int], shown: bytes | None
) -> list[WordHit]:
    """The best hits of one table, without the contents in `known` when its hits are contents.

    `shown`: which of its rows are, if that is known.
    """
    seen = set(known)
    room = limit - len(seen)
    hits: list[WordHit] = []
    for stage in _stages(connection, source, asked, limit):
        if room <= 0:
            break
        for row in _best(connection, source, stage, limit + len(seen), shown):
            key = row[0] if row[1] is None else row[1]
            if key not in seen and room > 0:
                seen.add(key)
                room -= 1
                hits.append(_hit(row, source, asked, stage.asks))
    return hits


def _stages(connection: Connection, source: _Source, asked: WordQuery, limit: int) -> Iterator[_Stage]:
    """What to ask one table, from the strictest on; nothing that is known to have no rows."""
    if (
        source.exact is not None
        and (exact := source.exact(asked.name))
        and any(_rows_of(connection, source, [exact], 1))
    ):
        yield _Stage("exact", exact, None)
    asking = {term: words for term in asked.terms if (words := source.expression(term.text)) is not None}
    texts = connection.exec_driver_sql(f"SELECT max(id) FROM {source.table}_docsize").scalar() or 0  # or somewhat fewer
    bar = max(_COMMON_AT_LEAST, texts // _COMMON_SHARE)
    rows = dict(zip(asking, _rows_of(connection, source, list(asking.values()), bar + 1), strict=True))
    counting = [term for term in sorted(rows, key=rows.__getitem__) if rows[term] <= bar]  # the rarest first
    is_common = not counting
    counting = counting or list(asking)
    matching = [term for term in counting if rows[term]]
    if not matching:
        return
    most = 2 * limit

    def joined(word: str, terms: Iterable[Term], asks: _Asks) -> Iterator[_Stage]:
        expression = f" {word} ".join(asking[term] for term in terms)
        (counted,) = _rows_of(connection, source, [expression], most + 1)
        if counted:
            yield _Stage(asks, expression, counted if counted <= most else None, is_common)

    if len(matching) == len(counting):
        partly = source.partial and len(asking) < len(asked.terms)
        yield from joined("AND", counting, "any" if partly else "all")
    quoted = [term for term in matching if term.quoted]
    if 0 < len(quoted) < len(counting) and len(quoted) == sum(term.quoted for term in counting):
        yield from joined("AND", quoted, "phrases")
    if len(counting) > 1:
        ranked = list(accumulate(rows[term] for term in matching))
        rarest = max(1, sum(number <= max(_RANKED_AT_LEAST, texts // _RANKED_SHARE) for number in ranked))
        if rarest < len(matching):
            yield from joined("OR", matching[:rarest], "any")
        yield from joined("OR", matching, "any")


def _rows_of(connection: Connection, source: _Source, expressions: Sequence[str], most: int) -> Sequence[int]:
    """How many rows match each expression, counted up to `most`. As plain SQL: it is asked for every term and table."""
    if not expressions:
        return ()
    count = f"(SELECT count(*) FROM (SELECT 1 FROM {source.table} WHERE {source.table} MATCH ? LIMIT {most}))"
    return connection.exec_driver_sql(f"SELECT {', '.join([count] * len(expressions))}", tuple(expressions)).one()


def _best(connection: Connection, source: _Source, stage: _Stage, limit: int, shown: bytes | None) -> Sequence[Any]:
    """The best shown rows of a stage, by falling score.

    The first try looks at fewer rows than match, which mostly are enough; the last looks at all of them. One try is
    enough where it is known which are shown.
    """
    tries = [(-1, 2 * limit), (-1, -1)]
    if stage.is_common:
        tries = [(_COMMON_ROWS, 2 * limit), (_COMMON_ROWS, -1), (-1, -1)]
    values: dict[str, Any] = {"words": stage.expression, "limit": limit}
    if shown is not None:
        values["shown"], tries = shown, tries[:1]
    query = source.query(is_known=shown is not None)
    rows: Sequence[Any] = ()
    for scan, depth in tries:
        rows = connection.execute(query, {**values, "scan": scan, "depth": depth}).all()
        if len(rows) == limit or (stage.matches is not None and stage.matches <= min(depth, _COMMON_ROWS)):
            break
    return rows


def _hit(row: Any, source: _Source, asked: WordQuery, asks: _Asks) -> WordHit:
    content, segment, text, directory, rank = row
    hit = WordHit(
        content_id=content,
        segment_id=segment,
        where=source.where,
        score=-rank,
        text=f"{directory}/{text}" if directory else text,
        asked=asked,
        complete=asks in ("exact", "all"),
        phrases=False,
        exact=asks == "exact",
        partial=source.partial,
    )
    if not asked.phrases:
        return hit
    return replace(hit, phrases=set(asked.phrases).issubset(hit.terms))


def mend_words(store: Store) -> list[str]:
    """Hold the full-text tables against the texts that they are made of, and build again those that differ.

    Returns:
        The names of the tables that were built again.

    Raises:
        LibraryDamagedError: one is missing.
    """
    mended = []
    for name in TABLES:
        try:
            with store.writing() as connection:  # rank 1: against the texts too, not only within itself
                connection.execute(text(f"INSERT INTO {name}({name}, rank) VALUES ('integrity-check', 1)"))
        except LibraryDamagedError:
            with store.writing() as connection:
                connection.execute(text(f"INSERT INTO {name}({name}) VALUES ('rebuild')"))
            mended.append(name)
    return mended
