"""A query as a JSON value, for programs that would rather not put a line of text together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from indexer.errors import UsageError
from mmsearch import limits
from mmsearch.names import TERM_KINDS
from mmsearch.query import Query
from mmsearch.terms import Term

# Fields that JSON has no type for: written, and read back from text. The durations may also be numbers.
_AS_TEXT: Mapping[str, tuple[Callable[[Any], str], Callable[[str], Any]]] = {
    "after": (limits.written_moment, limits.moment),
    "before": (limits.written_moment, limits.moment),
    "near": (limits.written_near, limits.near),
}


def to_json(query: Query) -> dict[str, Any]:
    """See `Query.to_json`."""
    how = {
        name: _AS_TEXT[name][0](value) if name in _AS_TEXT else list(value) if isinstance(value, tuple) else value
        for name, value in query.how.items()
    }
    return {"terms": [_term_json(term) for term in query.terms], **how}


def _term_json(term: Term) -> dict[str, Any]:
    weight = {} if term.weight == 1 else {"weight": term.weight}
    return {term.kind: term.value, **({"in_memory": True} if term.samples else {}), **weight}


def from_json(value: Any, *, base: Path | None = None) -> Query:
    """See `Query.from_json`.

    Raises:
        UsageError: it is not of the documented shape, or names a file that is not there.
    """
    if isinstance(value, str):
        return Query.parse(value, base=base)
    if isinstance(value, list):
        value = {"terms": value}
    if not isinstance(value, dict):
        raise UsageError(f"a query in JSON is an object with terms, a list of terms, or a text; got {value!r}")
    rest = dict(value)
    terms = rest.pop("terms", None)
    if not isinstance(terms, list):
        raise UsageError(f'a query in JSON has its terms in a list: {{"terms": [{{"text": "a dog"}}]}}; got {terms!r}')
    known = Query.__dataclass_fields__
    for name, given in rest.items():
        if name not in known:
            raise UsageError(f"a query has no {name!r}; it has {', '.join(known)}")
        if name in _AS_TEXT and given is not None:
            rest[name] = _AS_TEXT[name][1](given) if isinstance(given, str) else given
        elif name in ("min_seconds", "max_seconds") and isinstance(given, str):
            rest[name] = limits.seconds(given)
        elif name in ("kinds", "within") and not isinstance(given, list):
            raise UsageError(f"{name} is a list, got {given!r}")
    return Query(tuple(_term(term, base) for term in terms), **rest)


def _term(value: Any, base: Path | None) -> Term:
    if isinstance(value, str):
        return Term("text", value)
    kinds = [kind for kind in (*TERM_KINDS, "file") if isinstance(value, dict) and kind in value]
    if len(kinds) != 1 or not value.keys() <= {kinds[0], "weight", "in_memory"}:
        raise UsageError(
            'a term in JSON is {"text": "a dog"} or {"image": "dog.jpg"} (or audio, video, document, file), with a '
            f'"weight" where it is not 1; got {value!r}'
        )
    kind: Any = kinds[0]
    given, weight = value[kind], value.get("weight", 1.0)
    if value.get("in_memory"):
        raise UsageError(f"{given!r} was in the memory of another program; save it as a file, and name that")
    if not isinstance(given, str):
        raise UsageError(f"the {kind} of a term is a text or a path, got {given!r}")
    if kind == "text":
        return Term("text", given, weight)
    return Term.of_file(given, None if kind == "file" else kind, weight=weight, base=base)
