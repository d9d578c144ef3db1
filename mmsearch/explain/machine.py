"""Explanations for other programs: docs/json.md describes them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mmsearch.explain.values import JSON_VERSION, Explanation


def as_json(why: Explanation) -> dict[str, Any]:
    """The documented JSON of an explanation."""
    return {
        "version": JSON_VERSION,
        "query": why.query,
        "path": why.path,
        "kind": why.kind,
        "score": _number(why.score),
        "confidence": _number(why.confidence),
        "cosine": _number(why.cosine),
        "formula": why.formula,
        "fits_filters": why.fits_filters,
        "matched": list(why.matched),
        "terms": [_row(term) for term in why.terms],
        "segments": [_row(stretch) for stretch in why.stretches],
        "lines": [_row(line) | {"words": [_row(word) for word in line.words]} for line in why.lines],
        "maps": [
            {
                "asked": one.asked,
                "method": one.method,
                "start": _number(one.start_seconds),
                "cosine": _number(one.cosine),
                "box": [_number(side) for side in one.box],
                "values": [[round(float(value), 4) for value in row] for row in one.values],
            }
            for one in why.maps
        ],
        "remarks": list(why.remarks),
    }


_NAMES = {"start_seconds": "start", "end_seconds": "end"}


def _row(value: Any) -> dict[str, Any]:
    """A value's fields, under the names that all of mmsearch's JSON has for them."""
    return {_NAMES.get(name, name): _number(field) for name, field in asdict(value).items()}


def _number(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value
