"""The same search for assistants: tools of the Model Context Protocol, over one engine.

The tools read and never write. They name files by the ids and paths of what is in the library; no other file is read.
Needs the extra `mcp`: pip install "mmsearch[mcp]".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Any

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import BaseModel, Field

from indexer.errors import MmsearchError
from indexer.items import item_of, items_at
from indexer.names import Channel, Kind
from mmsearch import __version__
from mmsearch.encoders.names import short_name
from mmsearch.engine import Engine
from mmsearch.grammar import parse_words
from mmsearch.limits import moment
from mmsearch.output.text import span
from mmsearch.rank import Answer, Hit, Moment

_INSTRUCTIONS = (
    "Searches a library of files on this computer (pictures, sounds, videos, texts) by meaning. `query` finds files "
    "and moments in them; `similar` finds what is like one of them; `status` says what the library holds. A result "
    "with a confidence under 0.5 is only the nearest there is: say so rather than presenting it as a match."
)
_READS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)


class FoundMoment(BaseModel):
    """One stretch of a file that answers."""

    channel: Channel = Field(description="What matched: visual, sound, speech or text.")
    score: float = Field(description="Cosine similarity, -1 to 1.")
    confidence: float | None = Field(description="0 to 1; null where it is not known.")
    start_seconds: float | None
    end_seconds: float | None
    when: str | None = Field(description='The same for a person: "0:03-0:10".')
    text: str | None = Field(description="What is said or written there.")


class FoundFile(BaseModel):
    """One result: a file, and its best moment."""

    channel: Channel | None = Field(description="What matched; null for a file that was found by its name alone.")
    score: float | None = Field(description="Cosine similarity, -1 to 1.")
    confidence: float | None = Field(description="0 to 1; null where it is not known.")
    start_seconds: float | None
    end_seconds: float | None
    when: str | None = Field(description='The same for a person: "0:03-0:10".')
    text: str | None = Field(description="What is said or written there.")
    item: str = Field(description="The file's id, for `similar`.")
    path: str
    kind: Kind
    title: str | None
    moments: list[FoundMoment] = Field(description="Further moments of this file, best first.")


class Found(BaseModel):
    """What was found, best first."""

    matches_well: bool | None = Field(
        description="False: nothing in the library matches well, and the results are only the nearest. Null: not known."
    )
    remarks: list[str] = Field(
        description="Words of the query that the model cannot read; the results hold them literally, if at all."
    )
    results: list[FoundFile]


class Holdings(BaseModel):
    """What a library holds."""

    library: str
    model: str | None
    files: dict[str, int] = Field(description="Files by kind.")
    folders: list[str]
    hours: float = Field(description="Of sound and video.")
    failed: int = Field(description="Files that could not be read.")


class TermShare(BaseModel):
    """What one term adds to the score."""

    asked: str
    part: float
    channel: Channel | None
    start_seconds: float | None


class Reason(BaseModel):
    """A stretch of the file that speaks for the query."""

    channel: Channel
    start_seconds: float | None
    end_seconds: float | None
    text: str | None
    cosine: float
    confidence: float | None


class Why(BaseModel):
    """Why a file answers a query."""

    path: str
    confidence: float | None
    formula: str = Field(description="How the score comes about, in words.")
    fits_filters: bool
    matched: list[str] = Field(description='What was found literally; "name" in the name of the file.')
    terms: list[TermShare]
    best: list[Reason] = Field(description="The stretches that speak for it most, best first.")
    remarks: list[str]


Count = Annotated[int, Field(ge=1, le=100, description="How many results at most.")]
Kinds = Annotated[list[Kind] | None, Field(description="Only these kinds: image, audio, video, text.")]
Folders = Annotated[list[str] | None, Field(description="Only what lies in these folders of the library.")]


def make_server(engine: Engine) -> MCPServer:
    """A server of the Model Context Protocol over a library; it stays the caller's to close."""
    server = MCPServer("mmsearch", instructions=_INSTRUCTIONS, version=__version__)
    for tool in _tools(engine):
        server.add_tool(tool, annotations=_READS)
    return server


def _tools(engine: Engine) -> Sequence[Callable[..., BaseModel]]:
    def query(
        query: Annotated[
            str,
            Field(
                description='What to look for, in words. "exact words" in double quotes are found literally; '
                "terms are joined by + and - between spaces (a dog - puppy), and 2:dog weighs twice."
            ),
        ],
        k: Count = 10,
        kinds: Kinds = None,
        within: Folders = None,
        after: Annotated[str | None, Field(description="Taken at this date or later: 2024, 2024-06-01.")] = None,
        before: Annotated[str | None, Field(description="Taken before this date.")] = None,
        confident: Annotated[bool, Field(description="Only what stands out from chance.")] = False,
        moments: Annotated[bool, Field(description="List moments of files as results of their own.")] = False,
    ) -> Found:
        """Find the files and moments nearest in meaning to words."""
        with _told():
            asked = replace(
                parse_words(query),
                k=k,
                kinds=tuple(kinds or ()),
                within=tuple(within or ()),
                after=moment(after) if after else None,
                before=moment(before) if before else None,
                confident=confident,
                moments=moments,
            )
            return _found(engine, engine.query(asked))

    def similar(
        file: Annotated[str, Field(description="The id or the path of a file in the library, as results give them.")],
        k: Count = 10,
        kinds: Kinds = None,
        within: Folders = None,
    ) -> Found:
        """Find what is most like a file of the library, which is left out itself."""
        with _told():
            path = _path_of(engine, file)
            return _found(engine, engine.similar(path, k, kinds=tuple(kinds or ()), within=tuple(within or ())))

    def status() -> Holdings:
        """Say what the library holds, and where it comes from."""
        with _told():
            found = engine.status()
            return Holdings(
                library=_shown(str(found.path)),
                model=None if found.spec is None else short_name(found.spec.name),
                files=found.counts.kinds,
                folders=[_shown(root.path) for root in found.counts.roots],
                hours=round(found.counts.hours, 2),
                failed=found.counts.failed,
            )

    def explain(
        query: Annotated[str, Field(description="What was asked, as for `query`.")],
        file: Annotated[str, Field(description="The id or the path of a file in the library, as results give them.")],
    ) -> Why:
        """Say why a file of the library answers a query: which term, which moment, which words."""
        with _told():
            told: Any = engine
            return _why(told.explain(parse_words(query), _path_of(engine, file)).to_json())

    return (query, similar, status, *((explain,) if hasattr(engine, "explain") else ()))


@contextmanager
def _told() -> Iterator[None]:
    """Errors that say what to do are for the assistant to read; others are ours."""
    try:
        yield
    except MmsearchError as error:
        raise ToolError(_shown("; ".join(filter(None, (error.message, error.hint))))) from error


def _why(told: dict[str, Any]) -> Why:
    """An explanation without what only a picture can show."""
    stretches = sorted(told["segments"], key=lambda stretch: -float(stretch["score"]))[:_REASONS]
    return Why(
        path=_shown(told["path"]),
        confidence=told["confidence"],
        formula=told["formula"],
        fits_filters=told["fits_filters"],
        matched=told["matched"],
        terms=[
            TermShare(
                asked=_shown(term["asked"]), part=term["part"], channel=term["channel"], start_seconds=term["start"]
            )
            for term in told["terms"]
        ],
        best=[
            Reason(
                channel=stretch["channel"],
                start_seconds=stretch["start"],
                end_seconds=stretch["end"],
                text=stretch["text"],
                cosine=stretch["cosine"],
                confidence=stretch["confidence"],
            )
            for stretch in stretches
        ],
        remarks=[_shown(remark) for remark in told["remarks"]],
    )


def _path_of(engine: Engine, file: str) -> str:
    """The path of a file of the library, by its id or its path."""
    store = engine.library.store
    item = item_of(store, file)
    if item is not None:
        return item.files[0].path
    if file in items_at(store, [file]):
        return file
    raise ToolError(f"the library has no file {file}; take an id or a path from the results of a query")


def _found(engine: Engine, answer: Answer) -> Found:
    items = items_at(engine.library.store, [hit.path for hit in answer])
    return Found(
        matches_well=answer.matches_well,
        remarks=[_shown(remark) for remark in answer.remarks],
        results=[_file(hit, items[hit.path].key) for hit in answer if hit.path in items],
    )


def _file(hit: Hit, item: str) -> FoundFile:
    return FoundFile(
        **_stretch(hit),
        item=item,
        path=_shown(hit.path),
        kind=hit.kind,
        title=hit.title,
        moments=[
            FoundMoment(**_stretch(one))
            for one in hit.moments
            if one.confidence is None or one.confidence >= _WORTH_TELLING
        ],
    )


_REASONS = 5

_WORTH_TELLING = 0.1
"""Moments below this confidence would only fill an assistant's context."""


def _stretch(found: Hit | Moment) -> dict[str, Any]:
    return {
        "channel": found.channel,
        "score": None if found.score is None else round(found.score, 4),
        "confidence": None if found.confidence is None else round(found.confidence, 4),
        "start_seconds": found.start_seconds,
        "end_seconds": found.end_seconds,
        "when": span(found) or None,
        "text": found.text,
    }


def _shown(text: str) -> str:
    r"""A text as JSON takes it: bytes of a path that are not UTF-8 become "\xff"."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
