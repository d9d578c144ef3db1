"""mmsearch: find text, pictures, sounds and video moments by meaning, on your own machine.

    from mmsearch import Engine

    with Engine.open("my.library", model="mini") as engine:
        engine.index("media")
        for hit in engine.query("a cup of coffee", k=5):
            print(hit.score, hit.path, hit.kind, hit.start_seconds)

These names are the public API. They are loaded when they are first used, so that importing this
package costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmsearch.lazy import loaded_late

if TYPE_CHECKING:
    from indexer.errors import (
        CancelledError,
        DamagedMediaError,
        EmptyLibraryError,
        LibraryDamagedError,
        LibraryError,
        LibraryLockedError,
        LibraryNotFoundError,
        LibraryVersionError,
        MediaError,
        MediaTooLargeError,
        MmsearchError,
        ModelError,
        ModelMismatchError,
        UnknownModelError,
        UnsupportedMediaError,
        UsageError,
        WeightsError,
    )
    from indexer.near import Near
    from indexer.report import Failure, IndexOptions, IndexReport, Progress
    from indexer.types import Encoder, ModelSpec, TowerSpec
    from mmsearch.duplicates import DuplicateFile, DuplicateGroup
    from mmsearch.encoders.events import Fetching, ModelNotice
    from mmsearch.engine import Engine
    from mmsearch.evaluation.evaluator import evaluate
    from mmsearch.evaluation.options import EvaluationOptions, EvaluationProgress
    from mmsearch.explain.values import Explanation
    from mmsearch.facets import Facets
    from mmsearch.places import default_library
    from mmsearch.query import Query
    from mmsearch.rank import Answer, Hit, Moment
    from mmsearch.session import Session
    from mmsearch.status import Status
    from mmsearch.summary import Summary
    from mmsearch.tags import Tags
    from mmsearch.terms import Term
    from mmsearch.vocabulary import Vocabulary

__version__ = "0.1.0"

_HOMES = {
    "indexer.errors": (
        *(
            "CancelledError",
            "DamagedMediaError",
            "EmptyLibraryError",
            "LibraryDamagedError",
            "LibraryError",
            "LibraryLockedError",
        ),
        *("LibraryNotFoundError", "LibraryVersionError", "MediaError", "MediaTooLargeError", "MmsearchError"),
        *("ModelError", "ModelMismatchError", "UnknownModelError", "UnsupportedMediaError", "UsageError"),
        "WeightsError",
    ),
    "indexer.near": ("Near",),
    "indexer.report": ("Failure", "IndexOptions", "IndexReport", "Progress"),
    "indexer.types": ("Encoder", "ModelSpec", "TowerSpec"),
    "mmsearch.duplicates": ("DuplicateFile", "DuplicateGroup"),
    "mmsearch.encoders.events": ("Fetching", "ModelNotice"),
    "mmsearch.engine": ("Engine",),
    "mmsearch.evaluation.evaluator": ("evaluate",),
    "mmsearch.evaluation.options": ("EvaluationOptions", "EvaluationProgress"),
    "mmsearch.explain.values": ("Explanation",),
    "mmsearch.facets": ("Facets",),
    "mmsearch.places": ("default_library",),
    "mmsearch.query": ("Query",),
    "mmsearch.rank": ("Answer", "Hit", "Moment"),
    "mmsearch.session": ("Session",),
    "mmsearch.status": ("Status",),
    "mmsearch.summary": ("Summary",),
    "mmsearch.tags": ("Tags",),
    "mmsearch.terms": ("Term",),
    "mmsearch.vocabulary": ("Vocabulary",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Answer",
    "CancelledError",
    "DamagedMediaError",
    "DuplicateFile",
    "DuplicateGroup",
    "EmptyLibraryError",
    "Encoder",
    "Engine",
    "EvaluationOptions",
    "EvaluationProgress",
    "Explanation",
    "Facets",
    "Failure",
    "Fetching",
    "Hit",
    "IndexOptions",
    "IndexReport",
    "LibraryDamagedError",
    "LibraryError",
    "LibraryLockedError",
    "LibraryNotFoundError",
    "LibraryVersionError",
    "MediaError",
    "MediaTooLargeError",
    "MmsearchError",
    "ModelError",
    "ModelMismatchError",
    "ModelNotice",
    "ModelSpec",
    "Moment",
    "Near",
    "Progress",
    "Query",
    "Session",
    "Status",
    "Summary",
    "Tags",
    "Term",
    "TowerSpec",
    "UnknownModelError",
    "UnsupportedMediaError",
    "UsageError",
    "Vocabulary",
    "WeightsError",
    "__version__",
    "default_library",
    "evaluate",
]

__getattr__, __dir__ = loaded_late(__name__, _HOME_OF)
