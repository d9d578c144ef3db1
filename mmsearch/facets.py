"""A library at a glance: how many files of which kind, from which year, in which folder, and what they show."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

from indexer.facets import count_files
from indexer.library import Library
from indexer.types import Encoder
from mmsearch.background import BackgroundCache
from mmsearch.sharing import Shared, Turn
from mmsearch.tagging import vocabulary_of
from mmsearch.tags import counted
from mmsearch.vocabulary import OnProgress, Vocabulary


@dataclass(frozen=True, slots=True)
class Facets:
    """Numbers of files, each table with its largest number first; `years` from the latest on.

    `tags`: labels that stand out from chance in what is seen and heard; a file may count for several, or for none.
    """

    kinds: dict[str, int]
    years: dict[str, int]
    folders: dict[str, int]
    tags: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """The documented JSON values: see docs/json.md."""
        return asdict(self)


def facets_of(
    library: Library,
    encoder: Encoder,
    turn: Turn,
    backgrounds: BackgroundCache,
    vocabulary: Vocabulary | str | os.PathLike[str] | None,
    on_progress: OnProgress | None,
) -> Facets:
    """Count: see `Engine.facets`. What was counted is kept while the library stays as it is."""
    generation = library.store.generation()
    if generation is None:
        return Facets({}, {}, {}, {})
    labels = vocabulary_of(vocabulary)
    generation_id = generation[0]

    def count() -> Facets:
        files = count_files(library.store, generation_id)
        chance = backgrounds.read(generation_id)
        shared = Shared(encoder, turn)
        tags = counted(library, generation_id, files.contents, shared, chance, labels, on_progress)
        years = dict(sorted(files.years.items(), reverse=True))
        return Facets(_largest_first(files.kinds), years, _largest_first(files.folders), tags)

    return library.store.fact(("facets", generation_id, labels), count)


def _largest_first(table: dict[str, int]) -> dict[str, int]:
    return dict(sorted(table.items(), key=lambda row: (-row[1], row[0])))
