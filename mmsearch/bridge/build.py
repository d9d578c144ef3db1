"""Making a library's bridge: captions through both text towers, a map, the means of its media, and a trial."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np

from indexer.ann import Ids
from indexer.backgrounds import sample_segments
from indexer.bridges import BridgeSide, Mark, StoredBridge, bridge_state, read_bridge, write_bridge, write_mean
from indexer.errors import LibraryDamagedError, UsageError
from indexer.library import Library
from indexer.names import Channel
from indexer.store import Store
from indexer.types import Encoder, TextSample, TowerSpec, Vectors
from mmsearch.bridge import gap_of, why_no_gap
from mmsearch.bridge.captions import FOLDS, caption_source, captions
from mmsearch.bridge.fit import METHODS, Fit, fit, procrustes, ridge
from mmsearch.bridge.trial import BridgeReport, Maps, pairs_of, run_trial
from mmsearch.calibration import centred

_BATCH = 64
_SAMPLED = 8192  # vectors of a channel that its mean is made of
_SHUFFLES = 3

OnProgress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and of how much."""


@dataclass(frozen=True, slots=True, eq=False)
class _Media:
    """Vectors of one channel, drawn at random: their contents (n,) and vectors (n, dim), and when that was."""

    contents: Ids
    vectors: Vectors
    mark: Mark

    @classmethod
    def of(cls, store: Store, generation_id: int, channel: Channel) -> _Media:
        mark = Mark.of(store.position(generation_id, channel))
        return cls(*sample_segments(store, generation_id, channel, _SAMPLED, seed=0), mark)

    @property
    def files(self) -> int:
        return len(np.unique(self.contents))

    def mean(self, without: Ids | None = None) -> Vectors:
        """The mean of the channel: see `media_mean`."""
        kept = np.ones(len(self.contents), np.bool_) if without is None else ~np.isin(self.contents, without)
        return media_mean(self.contents[kept], self.vectors[kept])


def media_mean(contents: Ids, vectors: Vectors) -> Vectors:
    """Where the vectors of a channel lie on average: (dim,) float32.

    Each content counts the same, so that one long film is not the mean of all pictures. A content of zeros is counted
    in, so that the mean of few is drawn towards none, and something is left of the only one.

    Args:
        contents: (n,) which content each vector is of.
        vectors: (n, dim) float32 of length 1.
    """
    unique, inverse = np.unique(contents, return_inverse=True)
    sums = np.zeros((len(unique), vectors.shape[1]), np.float64)
    np.add.at(sums, inverse, vectors)
    each = sums / np.maximum(np.bincount(inverse, minlength=len(unique)), 1)[:, None]
    return np.asarray(each.sum(axis=0) / (len(unique) + 1), np.float32)


def build_bridge(
    library: Library,
    encoder: Encoder,
    *,
    method: Literal["auto", "ridge", "procrustes"] = "auto",
    on_progress: OnProgress | None = None,
) -> BridgeReport:
    """Make a library's bridge, try it on the library's videos, and store it. Call it with the writer's lock held.

    Nothing is stored before all is done: an interruption leaves the bridge that was there. What chance scores across it
    is then not known yet: see `mmsearch.background.calibrate`, and `all_or_nothing` for the two together.

    Args:
        library: whose media give the means, and the trial.
        encoder: its model.
        method: how the map is learned; "auto" takes what does better on held-out captions.
        on_progress: called from this thread.

    Raises:
        UsageError: the model needs no bridge or can have none, or the library has no pictures or no sounds.
    """
    started = time.monotonic()
    generation = library.store.generation()
    if generation is None:
        raise UsageError("nothing was indexed yet, so there is nothing to bridge; begin with: mmsearch index FOLDER")
    generation_id, spec = generation
    gap = gap_of(spec)
    if gap is None:
        raise UsageError(why_no_gap(spec))
    visual = _Media.of(library.store, generation_id, "visual")
    sound = _Media.of(library.store, generation_id, "sound")
    for media, what in ((visual, "pictures or videos"), (sound, "sounds")):
        if not len(media.contents):
            raise UsageError(
                f"the library holds no {what} yet, and a bridge leads from pictures to sounds; index some first, with:"
                " mmsearch index FOLDER"
            )
    say = on_progress or (lambda *_: None)
    texts = captions()
    total = 2 * len(texts)
    heard = _encoded(encoder, gap.sound_text, lambda done: say("Reading captions", done, total))
    seen = _encoded(encoder, gap.visual_text, lambda done: say("Reading captions", len(texts) + done, total))
    steps = iter(range(1, FOLDS + 1))
    found = fit(
        heard,
        seen,
        [caption.fold for caption in texts],
        methods=METHODS if method == "auto" else (method,),
        on_step=lambda: say("Choosing a map", next(steps), FOLDS),
    )
    trial = run_trial(
        pairs_of(library.store, generation_id),
        (found.there, found.back),
        _maps(found, heard, seen),
        [_shuffled(found, heard, seen, seed) for seed in range(_SHUFFLES)],
        lambda without: (visual.mean(without), sound.mean(without)),
    )
    report = BridgeReport(
        method=found.method,
        strength=found.strength,
        back="transpose" if found.back_is_transpose else "own fit",
        captions=len(texts),
        held_out=found.held_out,
        visual_files=visual.files,
        sound_files=sound.files,
        seconds=round(time.monotonic() - started, 1),
        trial=trial,
    )
    sides = (
        BridgeSide("sound", sound.mean(), found.there, sound.mark),
        BridgeSide("visual", visual.mean(), found.back, visual.mark),
    )
    write_bridge(library.store, generation_id, StoredBridge(_digest(found), sides, report.to_json()))
    return report


@contextmanager
def all_or_nothing(library: Library) -> Iterator[None]:
    """Give a library back the bridge that it had when what is done inside fails or is interrupted."""
    store, generation = library.store, library.store.generation()
    if generation is None:
        yield
        return
    state = bridge_state(store, generation[0])
    try:
        before = read_bridge(store, generation[0])
    except LibraryDamagedError:  # another is made because of that
        before = None
    try:
        yield
    except BaseException:
        if bridge_state(store, generation[0]) != state:
            write_bridge(store, generation[0], before)
        raise


def refresh_means(library: Library) -> None:
    """Take the means of a bridge anew where a channel has changed since. Call it with the writer's lock held."""
    generation = library.store.generation()
    if generation is None or not bridge_state(library.store, generation[0]):
        return
    stored = read_bridge(library.store, generation[0])
    for side in stored.sides if stored is not None else ():
        if side.mark == Mark.of(library.store.position(generation[0], side.channel)):
            continue
        media = _Media.of(library.store, generation[0], side.channel)
        if len(media.contents):  # the mean of what is gone is still a better one than none
            write_mean(library.store, generation[0], side.channel, media.mean(), media.mark)


def _encoded(encoder: Encoder, tower: TowerSpec, on_done: Callable[[int], None]) -> Vectors:
    """All captions through one tower: (n, dim) float32 of length 1."""
    texts = captions()
    parts: list[Vectors] = []
    on_done(0)
    for at in range(0, len(texts), _BATCH):
        some = texts[at : at + _BATCH]
        parts.append(encoder.encode(tower, [encoder.prepare(tower, TextSample(each.text)) for each in some]))
        on_done(at + len(some))
    vectors = np.concatenate(parts)
    return centred(vectors, np.zeros(vectors.shape[1], np.float32))


def _maps(found: Fit, rows: Vectors, targets: Vectors) -> Maps:
    """Maps there and back by the method that was chosen, from rows as they are given."""
    if found.strength is None:
        there = procrustes(rows, targets)
        return there, np.ascontiguousarray(there.T)
    there = ridge(rows, targets, found.strength)
    own = found.back_strength
    return there, np.ascontiguousarray(there.T) if own is None else ridge(targets, rows, own)


def _shuffled(found: Fit, rows: Vectors, targets: Vectors, seed: int) -> Maps:
    """The same method, from captions that do not belong together."""
    order = np.random.default_rng(seed).permutation(len(rows))
    return _maps(found, centred(rows, rows.mean(axis=0)), centred(targets[order], targets.mean(axis=0)))


def _digest(found: Fit) -> str:
    """16 hexadecimal digits over the maps and what they were made from."""
    digest = hashlib.sha256(caption_source().encode())
    digest.update(np.ascontiguousarray(found.there).tobytes())
    digest.update(np.ascontiguousarray(found.back).tobytes())
    return digest.hexdigest()[:16]
