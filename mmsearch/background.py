"""Background queries put to a library, to learn what chance scores in each of its channels: see calibration.py.

Texts come from background.txt. Pictures and sounds come from the library itself: what it holds is what its owner's
other pictures look like, and each is kept from finding its own file. Where a bridge leads from one to the other, they
are put to the other's channel across it.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import cache
from importlib import resources

import numpy as np

from indexer.ann import Ids, VectorIndex
from indexer.backgrounds import (
    BackgroundRow,
    ids_by_content,
    read_backgrounds,
    read_queries,
    sample_segments,
    write_backgrounds,
    write_least,
)
from indexer.contents import contents_of
from indexer.halves import STORED_DTYPE, unit_of
from indexer.library import Library
from indexer.names import MODALITIES, Channel, Modality
from indexer.records import Position
from indexer.store import Store
from indexer.types import Encoder, ModelSpec, TextSample, TowerSpec, Vectors
from indexer.vectors import lengths, unit, usable
from mmsearch.bridge import BridgeCache, Way
from mmsearch.calibration import Background, Floats, Hubs, Null, centred, fit, hubness, lean_of, stretch

_OWN_QUERIES = 256  # of the library's own segments
_MOST = 100_000  # vectors of a channel that are asked, about
_BLOCK = 4096
_GROUP = 16  # vectors that a query of the library's own is put to at once
_ROUNDS = 8  # of such groups, for each query
_DRIFT = 0.1  # a channel that grew or shrank by more than this share is asked again
_BATCH = 64
_OWN = "own segments, by content"

Least = tuple[float, float]
"""The least hubness of any vector, and the least of what is left of it without its linear part."""


@cache
def background_texts() -> tuple[str, ...]:
    """The texts that ask in the background: captions, descriptions of sounds, what people say and write."""
    lines = resources.files("mmsearch").joinpath("background.txt").read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if line and not line.startswith("#"))


@cache
def background_source() -> str:
    """A digest of `background_texts`, so that a library knows whether its own are of today."""
    return hashlib.sha256("\n".join(background_texts()).encode()).hexdigest()[:16]


class BackgroundCache:
    """The backgrounds of one library. Banks, and what follows from them, stay in memory while they are the same."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._hubs: dict[tuple[int, BackgroundRow], Hubs] = {}
        self._least: dict[tuple[int, BackgroundRow], tuple[int, Least]] = {}

    def read(self, generation_id: int) -> dict[tuple[str, str], Background]:
        """All that a library keeps, by (query modality, channel), for its present size."""
        return self._library.store.fact(("backgrounds", id(self), generation_id), lambda: self._read(generation_id))

    def _read(self, generation_id: int) -> dict[tuple[str, str], Background]:
        store = self._library.store
        rows = read_backgrounds(store, generation_id)
        kept: dict[tuple[int, BackgroundRow], Hubs] = {}
        found = {}
        for row in rows:
            hubs = self._hubs.get((generation_id, row))
            if hubs is None:
                bank = read_queries(store, generation_id, row.modality, row.channel)
                hubs = Hubs(bank, stretched=_is_stretched(row))
            kept[generation_id, row] = hubs
            now = store.position(generation_id, row.channel)
            least, rest = self._least_of(generation_id, row, hubs, now.last_id)
            null = Null(row.location, row.scale, row.mean, least, rest, row.size, stretched=_is_stretched(row))
            found[str(row.modality), str(row.channel)] = Background(null.among(now.vectors), hubs)
        self._hubs = kept
        self._least = {row: least for row, least in self._least.items() if row in kept}
        return found

    def _least_of(self, generation_id: int, row: BackgroundRow, hubs: Hubs, last_id: int) -> Least:
        """The least hubness of any vector, those included that came after the row was written."""
        seen, least = self._least.get((generation_id, row), _seen(row))
        if last_id > seen:
            least = _lower(least, _least_after(self._library.index(row.channel), hubs, seen))
            self._least[generation_id, row] = (last_id, least)
        return least


def calibrate(library: Library, encoder: Encoder) -> None:
    """Bring a library's null distributions up to date, and store them. Call it with the writer's lock held.

    What changed little since it was last asked is left as it is. The texts are encoded once for each tower.
    """
    generation = library.store.generation()
    if generation is None:
        return
    generation_id, spec = generation
    old = {(row.modality, row.channel): row for row in read_backgrounds(library.store, generation_id)}
    bridge = BridgeCache(library).read(generation_id, spec)
    texts = _Texts(encoder)
    rows: list[tuple[BackgroundRow, Vectors]] = []
    changed = False
    grown: list[BackgroundRow] = []
    for channel, _ in spec.channels:
        now = library.store.position(generation_id, channel)
        for modality in MODALITIES:
            tower = spec.query_tower(modality, channel)
            way = bridge.ways.get((modality, channel)) if bridge is not None else None
            if (tower is None and way is None) or not now.vectors:
                continue
            source = background_source() if modality == "text" else _OWN
            if bridge is not None and way is not None:
                source = f"{_OWN}, across {bridge.digest}"
            before = old.get((modality, channel))
            if before is not None and before.source == source:
                queries = read_queries(library.store, generation_id, modality, channel)
                if abs(now.vectors - before.vectors) <= _DRIFT * before.vectors:
                    if now.last_id > before.last_id or before.rest is None:
                        before = _grown(library, before, queries, now)
                        grown.append(before)
                    rows.append((before, queries))
                    continue
                if tower is not None and modality == "text":
                    texts.are_known(tower, queries)
            asked = _asked(library, generation_id, spec, channel, modality, way, texts)
            changed = changed or asked is not None or before is not None
            if asked is not None:
                null, queries = asked
                facts = (null.location, null.scale, null.mean, null.least, null.rest, now.last_id)
                rows.append((BackgroundRow(modality, channel, *facts, null.size, now.vectors, source), queries))
    if changed:
        write_backgrounds(library.store, generation_id, rows)
    elif grown:
        write_least(library.store, generation_id, grown)


class _Texts:
    """The background texts through each tower, encoded when first needed: (n, dim) float32 of length 1."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._known: dict[TowerSpec, Vectors] = {}

    def are_known(self, tower: TowerSpec, vectors: Vectors) -> None:
        """Take them from what the library has stored."""
        self._known.setdefault(tower, vectors)

    def through(self, tower: TowerSpec) -> Vectors:
        """Encode them, if that was not done yet."""
        if tower not in self._known:
            self._known[tower] = _encoded(self._encoder, tower)
        return self._known[tower]


def _grown(library: Library, row: BackgroundRow, queries: Vectors, now: Position) -> BackgroundRow:
    """A row with what came since it was written: only the least hubness hangs on that."""
    seen, least = (0, (np.inf, np.inf)) if row.rest is None else _seen(row)
    hubs = Hubs(queries, stretched=_is_stretched(row))
    lowest, rest = _lower(least, _least_after(library.index(row.channel), hubs, seen))
    return replace(row, least=lowest, rest=rest, last_id=now.last_id)


def _seen(row: BackgroundRow) -> tuple[int, Least]:
    """The last id that the least hubness of a row is that of, and what it is as far as that is known."""
    if row.rest is not None:
        return row.last_id, (row.least, row.rest)
    # An older mmsearch wrote it. The mean of the highest cosines is never below that of all.
    return row.last_id, (row.least, -np.inf if _is_stretched(row) else 0.0)


def _asked(
    library: Library,
    generation_id: int,
    spec: ModelSpec,
    channel: Channel,
    modality: Modality,
    way: Way | None,
    texts: _Texts,
) -> tuple[Null, Vectors] | None:
    """What chance scores in a channel when it is asked with one modality, and the queries; None with too few to say.

    Args:
        library: whose channel.
        generation_id: of which model.
        spec: that model.
        channel: what is asked.
        modality: what it is asked with.
        way: the bridge that leads there, if one must.
        texts: what is asked with where that is text.
    """
    index = library.index(channel)
    tower = spec.query_tower(modality, channel)
    if not len(index):
        return None
    if tower is not None and modality == "text":
        queries = _as_stored(texts.through(tower))
        null = _ask_texts(index, queries) if len(queries) else None
    else:
        home = way.home if way is not None else _home(spec, modality, tower)
        if home is None or not library.store.position(generation_id, home).vectors:
            return None
        own, queries = sample_segments(library.store, generation_id, home, _OWN_QUERIES, seed=0)
        if way is not None and len(queries):
            queries = way.mapped(queries)
            own, queries = own[queries.any(axis=1)], _as_stored(queries[queries.any(axis=1)])
        centre = None if way is None else way.centre
        ids = ids_by_content(library.store, generation_id, channel)
        null = _ask_own(library.store, index, ids, own, queries, centre) if len(queries) and len(ids) else None
    return None if null is None else (null, queries)


def _as_stored(queries: Vectors) -> Vectors:
    """Queries as they will be read again: bounds that are worked out with others would be a little off."""
    return unit_of(queries.astype(STORED_DTYPE))


def _is_stretched(row: BackgroundRow) -> bool:
    return row.modality != "text"


def _least_after(index: VectorIndex, hubs: Hubs, last_id: int) -> Least:
    """The least hubness of the vectors whose ids are above `last_id`; infinite when there are none."""
    ids = index.ids
    late = ids[ids > last_id]
    least = (np.inf, np.inf)
    for at in range(0, len(late), _BLOCK):
        vectors = index.vectors_of(late[at : at + _BLOCK])
        least = _lower(least, _least(vectors, hubness(vectors, hubs.bank, stretched=hubs.stretched), hubs.lean))
    return least


def _least(vectors: Vectors, of: Floats, lean: Vectors) -> Least:
    """The least hubness of some vectors, (n, dim) float32, from that of each, (n,); of none that is no number."""
    sound = np.isfinite(of)
    return float(of[sound].min(initial=np.inf)), float((of - vectors @ lean)[sound].min(initial=np.inf))


def _lower(one: Least, other: Least) -> Least:
    return min(one[0], other[0]), min(one[1], other[1])


def _encoded(encoder: Encoder, tower: TowerSpec) -> Vectors:
    """The background texts through one tower: (n, dim) float32 of length 1."""
    texts = background_texts()
    parts = []
    for at in range(0, len(texts), _BATCH):
        prepared = [encoder.prepare(tower, TextSample(text)) for text in texts[at : at + _BATCH]]
        parts.append(encoder.encode(tower, prepared))
    vectors = np.concatenate(parts)
    return unit(vectors[[usable(length) for length in lengths(vectors).tolist()]])[0]


def _home(spec: ModelSpec, modality: Modality, tower: TowerSpec | None) -> Channel | None:
    """The channel whose segments could be queries of this modality through this tower."""
    for channel, own in spec.channels:
        if tower is not None and own.modality == modality and own.space == tower.space:
            return channel
    return None


def _ask_texts(index: VectorIndex, queries: Vectors) -> Null | None:
    """What the best scores of queries in a channel are distributed like. `queries`: (q, dim) float32 of length 1."""
    # A large channel is known by a part of it: the location moves with the logarithm of the size.
    stride = -(-len(index) // _MOST)
    lean = lean_of(queries)
    best, total, size = np.full(len(queries), -np.inf), 0.0, 0
    least = (np.inf, np.inf)
    for number, start in enumerate(range(0, len(index), _BLOCK)):
        vectors = index.vectors(start, _BLOCK)
        hubs = hubness(vectors, queries)
        least = _lower(least, _least(vectors, hubs, lean))  # of all: what a search may pass over hangs on it
        if number % stride:
            continue
        scores = vectors @ queries.T - hubs[:, None]
        best = np.maximum(best, scores.max(axis=0))
        total += float(scores.mean()) * len(vectors)
        size += len(vectors)
    return fit(best, size=size, mean=total / size, least=least[0], rest=least[1])


def _ask_own(
    store: Store, index: VectorIndex, ids: Ids, own: Ids, queries: Vectors, centre: Vectors | None = None
) -> Null | None:
    """The same for queries that are segments of the library.

    Most pictures of an archive have others of the same subject, which are matches. So each query is put to groups of a
    few vectors drawn at random from other files, which seldom hold one, and the whole is judged from these.

    Args:
        store: says which content a segment belongs to.
        index: of the channel that is asked.
        ids: its segments, in an order that is the same for the same files: see `ids_by_content`.
        own: the contents that the queries come from, (q,) int64.
        queries: (q, dim) float32 of length 1.
        centre: what is taken from the index's vectors before they are compared, (dim,) float32; None for nothing.
    """
    rng = np.random.default_rng(0)
    ids = rng.permutation(ids)[:_BLOCK]
    vectors = index.vectors_of(ids)
    if centre is not None:
        vectors = centred(vectors, centre)
    hubs = hubness(vectors, queries, stretched=True)
    scores = stretch(queries @ vectors.T) - hubs
    scores[own[:, None] == contents_of(store, ids)] = np.nan
    group = min(_GROUP, len(ids) // 2)
    if group < 1:
        return None
    drawn = rng.integers(0, len(ids), (len(queries), _ROUNDS, group))
    groups = scores[np.arange(len(queries))[:, None, None], drawn]
    whole = ~np.isnan(groups).any(axis=2)
    mean = float(np.nanmean(scores)) if whole.any() else 0.0
    asked = Hubs(queries, stretched=True)
    least, rest = _least(vectors, hubs, asked.lean) if len(ids) == len(index) else _least_after(index, asked, 0)
    return fit(groups[whole].max(axis=1), size=group, mean=mean, least=least, rest=rest, stretched=True)
