"""From what a client asks to a query, and from an answer to what a client gets.

A client never names a file of this computer: it asks with words, with items of the library, and with what it sent.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from indexer.errors import UsageError
from indexer.items import items_at
from indexer.types import AudioSample, ImageSample, TextSample
from mmsearch.engine import Engine
from mmsearch.grammar import format_query, parse_options, parse_words
from mmsearch.output.machine import hit_as_json
from mmsearch.query import Query
from mmsearch.query_json import from_json, to_json
from mmsearch.rank import Answer, Hit
from mmsearch.server.errors import ApiError, said_of, shown
from mmsearch.server.models import (
    AnswerModel,
    EchoModel,
    FileTerm,
    HitModel,
    ItemTerm,
    MomentModel,
    QueryRequest,
    SimilarRequest,
    TermModel,
    TextTerm,
    UploadTerm,
)
from mmsearch.server.opening import find, opened
from mmsearch.server.uploads import Upload, Uploads
from mmsearch.server.work import check_left, leaving
from mmsearch.terms import Term

_STAND_IN = re.compile(r"(?:item:([0-9a-f]{40}-[a-z0-9]{1,20})|upload:([0-9a-f]{32}))")
_FILES_AND_MORE = {"text": "document"}  # the kind of an item -> the kind of the term that asks with it

DEFAULT_K = QueryRequest.model_fields["k"].default


def read_line(line: str, k: int | None) -> QueryRequest:
    """A line of docs/query.md, with item:ID and upload:ID in the place of files.

    Raises:
        UsageError: it cannot be read.
        ApiError: it asks for more than it may.
    """
    query = parse_words(line)
    value = to_json(query)
    terms: list[dict[str, Any]] = []
    for term in query.terms:
        found = _STAND_IN.fullmatch(term.value)
        name = "text" if found is None else "item" if found.group(1) else "upload"
        terms.append({name: term.value if found is None else found.group(1) or found.group(2), "weight": term.weight})
    value["terms"] = terms
    value["k"] = k if k is not None else query.k if "k" in parse_options(line)[1] else DEFAULT_K
    return checked(value)


def checked(value: Any) -> QueryRequest:
    """JSON values as a request.

    Raises:
        ApiError: they are not as documented.
    """
    try:
        return QueryRequest.model_validate(value)
    except ValidationError as error:
        raise ApiError(422, "invalid", said_of(error.errors()), "see /api/v1/openapi.json") from None


def with_uploads(request: QueryRequest, files: Mapping[str, Upload]) -> QueryRequest:
    """A request whose files have become uploads.

    Args:
        request: as it came.
        files: what came with it, by the names of the parts and of the files.

    Raises:
        ApiError: it names a part that did not come.
    """
    terms: list[TermModel] = []
    for term in request.terms:
        if isinstance(term, FileTerm):
            upload = files.get(term.file)
            if upload is None:
                raise ApiError(
                    422,
                    "invalid",
                    f"no part of the request is named {term.file!r}",
                    "send files as parts of multipart/form-data, and name them in the terms",
                )
            terms.append(UploadTerm(upload=upload.id, weight=term.weight))
        else:
            terms.append(term)
    return request.model_copy(update={"terms": terms})


def query_of(engine: Engine, uploads: Uploads, request: QueryRequest) -> Query:
    """The query that a request asks. Uploads are decoded here, within their bounds.

    Raises:
        UsageError: it makes no sense.
        MediaError: an upload cannot be decoded.
        ApiError: an item or an upload is not there.
    """
    return replace(_without_terms(request), terms=tuple(_term(engine, uploads, term) for term in request.terms))


def _without_terms(request: QueryRequest) -> Query:
    value = request.model_dump(exclude={"terms"}, exclude_defaults=True)
    return from_json({"k": request.k, **value, "terms": ["terms"]})


def _term(engine: Engine, uploads: Uploads, term: TermModel) -> Term:
    if isinstance(term, TextTerm):
        return Term("text", term.text, term.weight)
    if isinstance(term, ItemTerm):
        kind, path = _place_of(engine, term.item)
        return Term(_FILES_AND_MORE.get(kind, kind), str(path), term.weight)  # type: ignore[arg-type]
    if isinstance(term, UploadTerm):
        upload = uploads.get(term.upload)
        samples = uploads.samples(upload, engine.encoder)
        wanted = TextSample if upload.info.kind == "text" else (ImageSample, AudioSample)
        samples = [sample for sample in samples if isinstance(sample, wanted)]
        if not samples:
            raise UsageError(f"there is nothing in {upload.name} that the model sees or hears")
        return Term.of_sample(*samples, label=upload.name, weight=term.weight)
    raise ApiError(
        422, "invalid", "a term with a file goes with a request that has the file", "send multipart/form-data"
    )


def _place_of(engine: Engine, key: str) -> tuple[str, Path]:
    """Kind and path of an item that is on disk as it was indexed, so that it is asked with by the vectors it has."""
    store = engine.library.store
    item = find(store, key)
    with opened(store, item) as found:
        return item.kind, Path(found.file.path)


def _normal(request: QueryRequest) -> QueryRequest:
    """A request with its dates and places written as lines write them."""
    value = to_json(_without_terms(request))
    return request.model_copy(update={name: value[name] for name in ("after", "before", "near") if name in value})


def line_of(request: QueryRequest) -> str:
    """A request as a line, without its number of results: what `read_line` reads back."""
    stand_ins = []
    for term in request.terms:
        value = (
            term.text
            if isinstance(term, TextTerm)
            else f"item:{term.item}"
            if isinstance(term, ItemTerm)
            else f"upload:{term.upload}"
            if isinstance(term, UploadTerm)
            else f"file:{term.file}"
        )
        stand_ins.append(Term("text", value, term.weight))
    return shown(format_query(replace(_without_terms(request), terms=tuple(stand_ins), k=10)))


def answer(engine: Engine, uploads: Uploads, request: QueryRequest) -> AnswerModel:
    """Ask the library, and say what it found."""
    started = time.perf_counter()
    query = query_of(engine, uploads, request)
    check_left()
    found = engine.query(query, cancel=leaving())
    check_left()
    return answer_of(engine, request, found, time.perf_counter() - started, engine.missing_bridge(query))


def similar(engine: Engine, request: SimilarRequest) -> AnswerModel:
    """What is most like an item, without itself."""
    started = time.perf_counter()
    _, path = _place_of(engine, request.item)
    value = request.model_dump(exclude={"item"}, exclude_defaults=True)
    asked = checked({**value, "terms": [{"item": request.item}], "k": request.k})
    how = {name: given for name, given in _without_terms(asked).how.items() if name != "k"}
    found = engine.similar(path, request.k, cancel=leaving(), **how)
    return answer_of(engine, asked, found, time.perf_counter() - started, None)


def query_to_keep(engine: Engine, uploads: Uploads, request: QueryRequest) -> dict[str, Any]:
    """The terms of a query as JSON to keep, in the form of docs/query.md: items by path, uploads by name."""
    terms: list[dict[str, Any]] = []
    for term in request.terms:
        weight = {} if term.weight == 1 else {"weight": term.weight}
        if isinstance(term, TextTerm):
            terms.append({"text": term.text, **weight})
        elif isinstance(term, ItemTerm):
            item = find(engine.library.store, term.item)
            terms.append({_FILES_AND_MORE.get(item.kind, item.kind): item.files[0].path, **weight})
        elif isinstance(term, UploadTerm):
            upload = uploads.get(term.upload)
            kind = _FILES_AND_MORE.get(upload.info.kind, upload.info.kind)
            terms.append({kind: upload.name, "in_memory": True, **weight})
    return {"terms": terms}


def moments_of(engine: Engine, uploads: Uploads, key: str, request: QueryRequest) -> list[MomentModel]:
    """Where in one file the answers to a query are, best first."""
    kind, path = _place_of(engine, key)
    query = query_of(engine, uploads, request)
    if kind not in query.kinds:  # what it is asked of now is not what the list was asked of
        query = replace(query, kinds=())
    found = engine.moments(query, path, cancel=leaving())
    return [MomentModel(**_moment(hit_as_json(hit))) for hit in found if hit.channel is not None]


def answer_of(engine: Engine, request: QueryRequest, found: Answer, seconds: float, advice: str | None) -> AnswerModel:
    """An answer as it leaves. A file that was forgotten since it was found is left out."""
    request = _normal(request)
    items = items_at(engine.library.store, [hit.path for hit in found])
    hits = [_hit(hit, items[hit.path]) for hit in found if hit.path in items]
    return AnswerModel(
        query=EchoModel(line=line_of(request), request=request),
        matches_well=found.matches_well,
        seconds=round(seconds, 4),
        advice="; ".join([*found.remarks, *filter(None, [advice])]) or None,
        hits=hits,
    )


_MOMENT = tuple(MomentModel.model_fields)


def _moment(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value[name] for name in _MOMENT}


def _hit(hit: Hit, item: Any) -> HitModel:
    value = hit_as_json(hit)
    return HitModel(
        **_moment(value),
        item=item.key,
        path=shown(hit.path),
        name=shown(os.path.basename(hit.path)),
        gone=hit.is_gone,
        kind=hit.kind,
        format=item.format,
        width=item.width,
        height=item.height,
        duration=item.duration_seconds,
        captured_at=item.captured_at,
        title=hit.title,
        stands_out=hit.matches_well,
        matched=list(hit.matched),
        moments=[MomentModel(**_moment(moment)) for moment in value["moments"]],
        copies=_all_shown(hit.copies_there),
        duplicates=_all_shown(hit.duplicates_there),
    )


def _all_shown(paths: Sequence[str]) -> list[str]:
    return [shown(path) for path in paths]
