"""How well a bridge does on a library's own videos, whose frames and sound belong together.

A *pair* is a stretch of sound (a window) and the frames that are shown meanwhile. Each pair's sound is looked for
with its frames among the sounds of all pairs, and the other way round, with the very vectors that a query would have;
only the pair's own counterpart is right, so that another stretch of the same video counts as wrong. Nothing that is
learned or averaged for a pair comes from its own video: maps are made from captions, and means from the other videos.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from indexer.ann import Ids
from indexer.bridges import contents_of_both
from indexer.found import StoredSegments, segments_of
from indexer.store import Store
from indexer.types import Vectors
from mmsearch.bridge import carried
from mmsearch.bridge.fit import ranks
from mmsearch.calibration import centred

FEWEST_VIDEOS = 10
"""Videos under which nothing is said of a bridge: chance alone does anything with so few."""

_SIGNIFICANT = 0.05
_PER_VIDEO = 8  # pairs, so that one long film is not the whole trial
_MOST_VIDEOS = 500
_AT_ONCE = 20  # videos whose segments are in memory
_FOLDS = 5

Verdict = Literal["better", "unclear", "too few"]


@dataclass(frozen=True, slots=True)
class Retrieval:
    """How often the right one of `n` is among the first 1, 5 and 10, in [0, 1], and its median rank, from 1."""

    recall_at_1: float
    recall_at_5: float
    recall_at_10: float
    median_rank: float


@dataclass(frozen=True, slots=True)
class Direction:
    """One way over the bridge: the bridge itself, and what it is held against.

    `uncentred`: the same method on texts and media as they are. `shuffled`: the same with captions shuffled, so that
    nothing true is learned. `chance`: drawing blindly. `p_value`: how likely ranks as good as the bridge's are by
    chance.
    """

    bridge: Retrieval
    uncentred: Retrieval
    shuffled: Retrieval
    chance: Retrieval
    p_value: float


@dataclass(frozen=True, slots=True)
class Trial:
    """What the pairs of a library say of its bridge. The directions are None without a second pair."""

    pairs: int
    videos: int
    sound_to_visual: Direction | None = None
    visual_to_sound: Direction | None = None

    def verdict(self, direction: Direction | None) -> Verdict:
        """Whether one way does better than chance, as far as these pairs can tell."""
        if direction is None or self.videos < FEWEST_VIDEOS:
            return "too few"
        return "better" if direction.p_value < _SIGNIFICANT else "unclear"


@dataclass(frozen=True, slots=True)
class BridgeReport:
    """What a bridge was made of, and how well it does.

    `method`: ridge or procrustes; `strength`: of the ridge towards pictures; `back`: "transpose" or "own fit".
    `captions`: how many. `held_out`: by method, the mean reciprocal rank of held-out captions, both ways.
    `visual_files`, `sound_files`: how many the means are of. `seconds`: how long it took.
    """

    method: str
    strength: float | None
    back: str
    captions: int
    held_out: Mapping[str, float]
    visual_files: int
    sound_files: int
    seconds: float
    trial: Trial

    def to_json(self) -> str:
        """One line of JSON, which `from_json` reads back."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, line: str) -> BridgeReport:
        """Read back what `to_json` wrote."""
        row = json.loads(line)
        return cls(**{**row, "trial": _trial_of(row["trial"])})


def _trial_of(row: Mapping[str, Any]) -> Trial:
    def direction(of: Mapping[str, Any] | None) -> Direction | None:
        if of is None:
            return None
        rows = {key: Retrieval(**value) for key, value in of.items() if key != "p_value"}
        return Direction(**rows, p_value=of["p_value"])

    return Trial(row["pairs"], row["videos"], direction(row["sound_to_visual"]), direction(row["visual_to_sound"]))


# --- pairs ---


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Sounds and what is seen meanwhile. `videos`: (n,) int64, contents; `visual`, `sound`: (n, dim), of length 1."""

    videos: Ids
    visual: Vectors
    sound: Vectors


def pairs_of(store: Store, generation_id: int) -> Pairs:
    """The pairs that a library's videos give: at most 8 of each, of 500 videos drawn at random."""
    contents = contents_of_both(store, generation_id, ("visual", "sound"))
    if len(contents) > _MOST_VIDEOS:
        contents = np.sort(np.random.default_rng(0).choice(contents, _MOST_VIDEOS, replace=False))
    videos: list[int] = []
    visual: list[Vectors] = []
    sound: list[Vectors] = []
    for at in range(0, len(contents), _AT_ONCE):
        some = {part.channel: part for part in segments_of(store, generation_id, contents[at : at + _AT_ONCE].tolist())}
        for content in contents[at : at + _AT_ONCE].tolist():
            for seen, heard in _pairs_in(some.get("visual"), some.get("sound"), content):
                videos.append(content)
                visual.append(seen)
                sound.append(heard)
    if not videos:
        return Pairs(np.empty(0, np.int64), np.empty((0, 0), np.float32), np.empty((0, 0), np.float32))
    return Pairs(np.array(videos, np.int64), np.stack(visual), np.stack(sound))


def _pairs_in(
    visual: StoredSegments | None, sound: StoredSegments | None, content: int
) -> list[tuple[Vectors, Vectors]]:
    """Windows of one video that do not overlap each other, evenly spread, each with the mean of its frames."""
    if visual is None or sound is None:
        return []
    frames = np.flatnonzero((visual.contents == content) & ~np.isnan(visual.spans).any(axis=1))
    windows = np.flatnonzero((sound.contents == content) & ~np.isnan(sound.spans).any(axis=1))
    windows = windows[np.argsort(sound.spans[windows, 0], kind="stable")]
    apart: list[int] = []
    for window in windows.tolist():
        if not apart or sound.spans[window, 0] >= sound.spans[apart[-1], 1]:
            apart.append(window)
    found: list[tuple[Vectors, Vectors]] = []
    for window in apart:
        start, end = sound.spans[window]
        shared = np.minimum(visual.spans[frames, 1], end) - np.maximum(visual.spans[frames, 0], start)
        shared = np.maximum(shared, 0)
        mean = np.asarray(shared @ visual.vectors[frames], np.float32)
        length = float(np.linalg.norm(mean))
        if length > 0:
            found.append((mean / length, sound.vectors[window]))
    if len(found) > _PER_VIDEO:
        found = [found[at] for at in np.linspace(0, len(found) - 1, _PER_VIDEO).round().astype(int)]
    return found


# --- the trial ---

Maps = tuple[Vectors, Vectors]
"""From sound to visual, (d, e), and back, (e, d)."""

Means = Callable[[Ids], tuple[Vectors, Vectors]]
"""The means of the visual and of the sound channel, without some contents."""


def run_trial(pairs: Pairs, bridge: Maps, uncentred: Maps, shuffled: Sequence[Maps], means: Means) -> Trial:
    """Look for each pair's sound with its frames, and the other way round.

    Args:
        pairs: the library's.
        bridge: the maps.
        uncentred: maps learned from texts as they are.
        shuffled: maps learned from shuffled captions, several, whose results are averaged.
        means: gives the means of the library's media without those of some videos.
    """
    videos = np.unique(pairs.videos)
    if len(pairs.videos) < 2 or len(videos) < 2:
        return Trial(len(pairs.videos), len(videos))
    folds = np.searchsorted(videos, pairs.videos) % _FOLDS
    without = [means(videos[fold::_FOLDS]) for fold in range(min(_FOLDS, len(videos)))]

    def direction(asked: Vectors, answers: Vectors, way: int) -> Direction:
        """One way: `way` is 0 from sound to visual, and 1 back; the means of the side it leaves are at 1 - way."""

        def ranks_by(maps: Maps) -> NDArray[np.float64]:
            scores = np.zeros((len(asked), len(answers)), np.float32)
            for fold, both in enumerate(without):
                inside = folds == fold
                scores[inside] = carried(asked[inside], maps[way], both[1 - way]) @ centred(answers, both[way]).T
            return ranks(scores)

        own = ranks_by(bridge)
        shuffles = np.mean([list(asdict(_retrieval(ranks_by(maps))).values()) for maps in shuffled], axis=0)
        return Direction(
            bridge=_retrieval(own),
            uncentred=_retrieval(ranks((asked @ uncentred[way]) @ answers.T)),
            shuffled=Retrieval(*shuffles.tolist()),
            chance=_chance(len(asked)),
            p_value=_p_value(own, pairs.videos),
        )

    there, back = direction(pairs.sound, pairs.visual, 0), direction(pairs.visual, pairs.sound, 1)
    return Trial(len(pairs.videos), len(videos), there, back)


def _retrieval(found: NDArray[np.float64]) -> Retrieval:
    first, fifth, tenth = (float((found <= k).mean()) for k in (1, 5, 10))
    return Retrieval(first, fifth, tenth, float(np.median(found)))


def _chance(n: int) -> Retrieval:
    """What drawing blindly from n does on average."""
    first, fifth, tenth = (min(k / n, 1.0) for k in (1, 5, 10))
    return Retrieval(first, fifth, tenth, (n + 1) / 2)


def _p_value(found: NDArray[np.float64], videos: Ids) -> float:
    """How likely a mean rank as low as this is by chance: a one-sided t-test on videos, by its normal approximation.

    By chance, a rank lies at (n + 1) / 2 on average. Pairs of one video are not independent, and count as one.
    """
    place = (found - (len(found) + 1) / 2) / len(found)
    each = np.array([place[videos == video].mean() for video in np.unique(videos)])
    # The deviation is no less than what blind drawing has, lest a few equal ranks look certain.
    deviation = max(float(each.std(ddof=1)), math.sqrt(1 / 12 / (len(found) / len(each))))
    return 0.5 * math.erfc(-float(each.mean()) * math.sqrt(len(each)) / deviation / math.sqrt(2))
