"""How a library stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.adapters import adapter_report, read_adapter
from indexer.ann import IndexFacts
from indexer.bridges import bridge_report
from indexer.faiss_build import FaissBuild, faiss_build
from indexer.library import Library
from indexer.lookup import Counts, Trouble, count, troubles
from indexer.types import Channel, Encoder, ModelSpec
from mmsearch.bridge import gap_of
from mmsearch.encoders.composite import CompositeEncoder
from mmsearch.encoders.mini import advice_on
from mmsearch.places import bytes_of
from mmsearch.training.report import TrainingReport

if TYPE_CHECKING:
    from mmsearch.bridge.trial import BridgeReport


@dataclass(frozen=True, slots=True)
class Status:
    """How a library stands. Sizes are in bytes; `spec` is None in a library that has no model yet.

    `indexes`: how each channel is searched, as the index files say. `bridge`: what is known of the bridge between
    pictures and sounds; None for none. `can_have_bridge`: whether the model is one for which there can be one.
    `text_troubles`: why the model's text towers, by space, cannot answer without torch; empty when all can, None where
    that is not known or nothing needs it. `adapter`: what was said of the library's adapter when it was made.
    `advice`: that a better version of the library's model exists, and how to come by it. `emptied`: that the database
    was emptied or replaced, as the index files beside it show. All three are None where there is none.
    """

    path: Path
    spec: ModelSpec | None
    counts: Counts
    database_bytes: int
    index_bytes: int
    troubles: tuple[Trouble, ...]
    faiss: FaissBuild
    indexes: Mapping[Channel, IndexFacts] = field(default_factory=dict)
    bridge: BridgeReport | None = None
    can_have_bridge: bool = False
    text_troubles: Mapping[str, str] | None = None
    adapter: TrainingReport | None = None
    advice: str | None = None
    emptied: str | None = None


def status_of(library: Library, encoder: Encoder | None = None) -> Status:
    """Count everything that there is to say of a library, whose model is known if it is on this machine."""
    generation = library.store.generation()
    generation_id = None if generation is None else generation[0]
    bridge = None if generation_id is None else bridge_report(library.store, generation_id)
    return Status(
        path=library.path,
        spec=None if generation is None else generation[1],
        counts=count(library.store, generation_id),
        database_bytes=bytes_of(library.path.glob("library.sqlite*")),
        index_bytes=bytes_of(library.path.glob("index/*")),
        troubles=tuple(troubles(library.store, generation_id)),
        faiss=faiss_build(),
        indexes=library.index_facts(),
        bridge=None if bridge is None else _report(bridge),
        can_have_bridge=generation is not None and gap_of(generation[1]) is not None,
        text_troubles=encoder.text_troubles() if isinstance(encoder, CompositeEncoder) else None,
        adapter=_adapter(library),
        advice=advice_of(library),
        emptied=library.emptied(),
    )


def _report(stored: str) -> BridgeReport:
    from mmsearch.bridge.trial import BridgeReport

    return BridgeReport.from_json(stored)


def advice_of(library: Library) -> str | None:
    """That a better version of a library's model exists, and how to come by it; None where none does."""
    generation = library.store.generation()
    if generation is None or library.store.is_empty(generation[0]):
        return None
    spec = generation[1]
    if adapter_report(library.store, generation[0]) is not None:
        generation_id: int | None = generation[0]
        while generation_id is not None and (adapter := read_adapter(library.store, generation_id)) is not None:
            generation_id, spec = adapter.base_id, adapter.base
    return advice_on(spec)


def _adapter(library: Library) -> TrainingReport | None:
    generation = library.store.generation()
    report = None if generation is None else adapter_report(library.store, generation[0])
    return None if report is None else TrainingReport.from_json(report)
