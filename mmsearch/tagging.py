"""Tags of one file: of its stored vectors, or of those that it is given now."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from indexer.errors import UsageError
from indexer.found import StoredSegments, segments_of
from indexer.library import Library
from indexer.types import Channel, Encoder, Kind, Modality, Sample
from mmsearch.background import BackgroundCache
from mmsearch.calibration import Backgrounds
from mmsearch.held import content_at
from mmsearch.names import TermKind
from mmsearch.readings import samples_of
from mmsearch.sharing import Shared, Turn, encode_samples
from mmsearch.tags import Tags, tags_of
from mmsearch.terms import Term
from mmsearch.unread import legible_parts
from mmsearch.vocabulary import OnProgress, Vocabulary, everyday

_KIND_OF: Mapping[TermKind, Kind] = {"image": "image", "audio": "audio", "video": "video", "document": "text"}

_CHANNEL_OF: Mapping[TermKind, Mapping[Modality, Channel]] = {
    "image": {"image": "visual"},
    "audio": {"audio": "sound", "text": "speech"},
    "video": {"image": "visual", "audio": "sound", "text": "speech"},
    "document": {"text": "text"},
}


def vocabulary_of(given: Vocabulary | str | os.PathLike[str] | None) -> Vocabulary:
    """The vocabulary that was asked for."""
    if given is None:
        return everyday()
    return given if isinstance(given, Vocabulary) else Vocabulary.read(given)


def tags_of_file(
    library: Library,
    encoder: Encoder,
    turn: Turn,
    backgrounds: BackgroundCache,
    file: str | os.PathLike[str],
    k: int,
    vocabulary: Vocabulary | str | os.PathLike[str] | None,
    on_progress: OnProgress | None,
) -> Tags:
    """The labels that fit a file best: see `Engine.tags`."""
    if k < 1:
        raise UsageError(f"at least one tag must be wanted, got {k}")
    labels = vocabulary_of(vocabulary)
    if os.path.isdir(file):
        raise UsageError(
            f"{os.fspath(file)} is a folder, and tags are of a file", "; of a library: mmsearch status --facets"
        )
    if not os.path.exists(file):
        raise UsageError(f"there is no file at {os.fspath(file)}")
    term = Term.of_file(file)
    shared = Shared(encoder, turn)
    generation = library.store.generation()
    chance: Backgrounds = {} if generation is None else backgrounds.read(generation[0])
    content = content_at(library, term.value)
    if content is not None and generation is not None:
        segments = segments_of(library.store, generation[0], [content])
    else:
        segments = _encoded(term, shared)
    found = tags_of(segments, shared, chance, labels, k, on_progress)
    if not found:
        raise UsageError(
            f"{os.fspath(file)} cannot be tagged: the model {shared.spec.name!r} has no words for what is in it"
        )
    return Tags(term.value, _KIND_OF[term.kind], found, len(labels))


def _encoded(term: Term, encoder: Shared) -> list[StoredSegments]:
    """A file's segments, as an indexing run would make them, but no more of them than make a query."""
    segments = []
    for modality, parts in samples_of(term, encoder).items():
        channel = _CHANNEL_OF[term.kind].get(modality)
        tower = None if channel is None else encoder.spec.tower_of(channel)
        if channel is None or tower is None or tower.modality != modality:
            continue
        samples = legible_parts(term, parts, encoder, tower)
        if not samples:
            continue
        vectors, norms = encode_samples(encoder, tower, samples)
        spans = np.array([_span(sample) for sample in samples], np.float64)
        texts = tuple(getattr(sample, "text", None) for sample in samples)
        numbers = np.arange(len(samples), dtype=np.int64)
        segments.append(
            StoredSegments(
                channel,
                numbers,
                np.zeros(len(samples), np.int64),
                vectors,
                norms.astype(np.float32),
                spans,
                texts,
                (None,) * len(samples),
            )
        )
    return segments


def _span(sample: Sample) -> tuple[float, float]:
    start, end = sample.start_seconds, sample.end_seconds
    return (np.nan, np.nan) if start is None or end is None else (start, end)
