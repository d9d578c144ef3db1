"""Background queries put to a library, to learn what chance scores in each of its channels: see calibration.py.

Texts come from background.txt. Pictures and sounds come from the library itself: what it holds is what its owner's
other pictures look like, and each is kept from finding its own file.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources

import numpy as np

from indexer.backgrounds import (
    BackgroundRow,
    contents_of,
    read_backgrounds,
    sample_segments,
    write_backgrounds,
)
from indexer.library import Library
from indexer.names import MODALITIES, Channel, Modality
from indexer.types import Encoder, ModelSpec, TextSample, TowerSpec, Vectors
from mmsearch.calibration import Null, Nulls, fit

_OWN_QUERIES = 256  # of the library's own segments
_NEIGHBOURS = 16  # fetched for each of them, so that one of another file is among them
_SAMPLE = 1000  # vectors for the mean score
_DRIFT = 0.1  # a channel that grew or shrank by more than this share is asked again
_BATCH = 64
_OWN = "own segments"


@cache
def background_texts() -> tuple[str, ...]:
    """The texts that ask in the background: captions, descriptions of sounds, what people say and write."""
    lines = resources.files("mmsearch").joinpath("background.txt").read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if line and not line.startswith("#"))


@cache
def background_source() -> str:
    """A digest of `background_texts`, so that a library knows whether its own are of today."""
    return hashlib.sha256("\n".join(background_texts()).encode()).hexdigest()[:16]


def read_nulls(library: Library, generation_id: int) -> dict[tuple[str, str], Null]:
    """The null distributions that a library keeps, by (query modality, channel), for its present size."""
    nulls: dict[tuple[str, str], Null] = {}
    for row in read_backgrounds(library.store, generation_id):
        null = Null(row.location, row.scale, row.mean, row.size)
        nulls[row.modality, row.channel] = null.among(library.store.position(generation_id, row.channel).vectors)
    return nulls


def calibrate(library: Library, encoder: Encoder) -> Nulls:
    """Bring a library's null distributions up to date, and store them. Call it with the writer's lock held.

    What changed little since it was last asked is left as it is. The texts are encoded once for each tower.
    """
    generation = library.store.generation()
    if generation is None:
        return {}
    generation_id, spec = generation
    old = {(row.modality, row.channel): row for row in read_backgrounds(library.store, generation_id, queries=True)}
    texts: dict[TowerSpec, Vectors] = {}
    rows: list[BackgroundRow] = []
    changed = False
    for channel, _ in spec.channels:
        size = library.store.position(generation_id, channel).vectors
        for modality in MODALITIES:
            tower = spec.query_tower(modality, channel)
            if tower is None or not size:
                continue
            before = old.get((modality, channel))
            source = background_source() if modality == "text" else _OWN
            if before is not None and before.source == source and abs(size - before.size) <= _DRIFT * before.size:
                rows.append(before)
                continue
            changed = True
            queries = contents = None
            if modality == "text":
                if before is not None and before.source == source and before.queries is not None:
                    texts.setdefault(tower, before.queries)
                if tower not in texts:
                    texts[tower] = _encoded(encoder, tower)
                queries = texts[tower]
            else:
                home = _home(spec, modality, tower)
                if home is None:
                    continue
                contents, queries = sample_segments(library.store, generation_id, home, _OWN_QUERIES, seed=0)
            null = _ask(library, generation_id, channel, queries, contents)
            if null is not None:
                kept = queries if modality == "text" else None
                row = BackgroundRow(modality, channel, null.location, null.scale, null.mean, size, source, kept)
                rows.append(row)
    if changed:
        write_backgrounds(library.store, generation_id, rows)
    return {(str(row.modality), str(row.channel)): Null(row.location, row.scale, row.mean, row.size) for row in rows}


def _encoded(encoder: Encoder, tower: TowerSpec) -> Vectors:
    """The background texts through one tower: (n, dim) float32 of length 1."""
    texts = background_texts()
    parts = []
    for at in range(0, len(texts), _BATCH):
        prepared = [encoder.prepare(tower, TextSample(text)) for text in texts[at : at + _BATCH]]
        parts.append(encoder.encode(tower, prepared))
    return np.concatenate(parts)


def _home(spec: ModelSpec, modality: Modality, tower: TowerSpec) -> Channel | None:
    """The channel whose segments could be queries of this modality through this tower."""
    for channel, own in spec.channels:
        if own.modality == modality and own.space == tower.space:
            return channel
    return None


def _ask(
    library: Library, generation_id: int, channel: Channel, queries: Vectors, own_contents: np.ndarray | None
) -> Null | None:
    """What background queries score in a channel. `own_contents`: the files that they come from, not to be found."""
    if not len(queries):
        return None
    size = library.store.position(generation_id, channel).vectors
    scores, ids = library.search(channel, queries, 1 if own_contents is None else _NEIGHBOURS)
    if not ids.shape[1]:
        return None
    if own_contents is not None:
        own = contents_of(library.store, ids) == own_contents[:, None]
        scores = np.where(own, -np.inf, scores)
    _, sample = sample_segments(library.store, generation_id, channel, _SAMPLE, seed=0)
    mean = float(queries.mean(axis=0) @ sample.mean(axis=0))
    return fit(scores.max(axis=1), size=size, mean=mean)
