"""The moments that stand for a whole video: chosen so that every part of it is like one of them.

Facility location: of n frames with durations d_i and similarities s_ij, the set S of at most k frames is sought that
makes the largest

    f(S) = sum over i of d_i * max over j in S of s_ij.

f is submodular and rises with every frame, so that taking the frame that adds most, again and again, comes within
1 - 1/e of the best (Nemhauser, Wolsey and Fisher, "An analysis of approximations for maximizing submodular set
functions", Mathematical Programming 1978; for summaries: Lin and Bilmes, "A class of submodular functions for document
summarization", ACL 2011). Similarities are cosines of stored vectors, centred by the video's mean so that what all of
it shares does not count, and not below 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from indexer.errors import UsageError
from indexer.filters import Filter
from indexer.found import files_of, segments_of
from indexer.items import Line, lines_of
from indexer.library import Library
from indexer.types import Vectors
from mmsearch.presence import there_first

if TYPE_CHECKING:
    from PIL import Image

MOST_MOMENTS = 12
"""How many are taken at most where nobody says."""

ENOUGH = 0.9
"""Where nobody says how many, they are enough when this much of what all frames together would cover is covered."""

SHEET_MARK = "mmsearch summary"

_MOST_FRAMES = 4000  # of a longer video every second, third, ... frame may be chosen: the matrix has 16 million entries


@dataclass(frozen=True, slots=True)
class KeyMoment:
    """A moment that stands for a part of a video.

    `start_seconds`, `end_seconds`: of its frame. `gain`: what it adds to what is covered, as a share. `stands_for`: the
    seconds that it is the nearest key moment of. `text`: what is said meanwhile.
    """

    start_seconds: float
    end_seconds: float
    gain: float
    stands_for: float
    text: str | None


@dataclass(frozen=True, slots=True)
class Summary:
    """Key moments of a video, in order of time.

    `coverage`: how much of the video they cover, in [0, 1]. `covered`: the same frame by frame, in order of time: its
    start and end in seconds, and how like the nearest key moment it is, in [0, 1].
    """

    path: str
    duration_seconds: float
    frames: int
    coverage: float
    moments: tuple[KeyMoment, ...]
    covered: tuple[tuple[float, float, float], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The documented JSON values: see docs/json.md."""
        rows = [
            {
                "start": moment.start_seconds,
                "end": moment.end_seconds,
                "gain": round(moment.gain, 6),
                "stands_for": round(moment.stands_for, 3),
                "text": moment.text,
            }
            for moment in self.moments
        ]
        return {
            "version": 1,
            "path": self.path,
            "duration": self.duration_seconds,
            "frames": self.frames,
            "coverage": round(self.coverage, 6),
            "moments": rows,
        }

    def picture(self) -> Image.Image:
        """The moments as a contact sheet."""
        from mmsearch.output.moments_sheet import draw

        return draw(self)

    def save(self, path: str | Path) -> None:
        """Write `picture` as a PNG file, whole or not at all.

        Raises:
            OSError: it cannot be written there.
        """
        from mmsearch.output.files import save_png

        save_png(self.picture(), Path(path), SHEET_MARK)


def summary_of(library: Library, content: int, path: str, moments: int | None = None) -> Summary:
    """The key moments of one video of a library: see `Engine.summary`."""
    if moments is not None and moments < 1:
        raise UsageError(f"a summary has at least one moment, got {moments}")
    generation = library.store.generation()
    found = [] if generation is None else segments_of(library.store, generation[0], [content])
    visual = next((some for some in found if some.channel == "visual" and not np.isnan(some.spans).any()), None)
    file = files_of(library.store, [content], Filter()).get(content)
    if visual is None:
        what = "nothing of it could be seen" if file is None or file.kind == "video" else f"its kind is {file.kind}"
        raise UsageError(f"a summary is made of the frames of a video, and {path} has none: {what}")
    order = np.argsort(visual.spans[:, 0], kind="stable")
    vectors, spans = visual.vectors[order], visual.spans[order]
    durations = np.maximum(spans[:, 1] - spans[:, 0], 1e-3)
    chosen, gains = key_frames(vectors, durations, moments)
    likeness = _similarities(vectors, vectors[chosen])
    nearest = np.argmax(likeness, axis=1)
    whole = sum(gains) or 1.0
    speech = [] if generation is None else lines_of(library.store, generation[0], content, ["speech"])
    made = [
        KeyMoment(
            float(spans[frame, 0]),
            float(spans[frame, 1]),
            float(gain / whole),
            float(durations[nearest == number].sum()),
            _said(speech, *spans[frame].tolist()),
        )
        for number, (frame, gain) in enumerate(zip(chosen, gains, strict=True))
    ]
    made.sort(key=lambda moment: moment.start_seconds)
    return Summary(
        path if file is None else there_first(library.store, file.paths)[0],
        float(spans[-1, 1]),
        len(spans),
        min(1.0, sum(gains) / _most(vectors, durations)),
        tuple(made),
        tuple((*span, share) for span, share in zip(spans.tolist(), likeness.max(axis=1).tolist(), strict=True)),
    )


def key_frames(vectors: Vectors, durations: NDArray[np.float64], k: int | None) -> tuple[list[int], list[float]]:
    """Frames that cover all of them best, and what each adds, in the order in which they were chosen.

    Args:
        vectors: (n, dim) float32 of length 1, in order of time.
        durations: (n,) seconds that each stands for.
        k: how many; None for as many as cover `ENOUGH`, at most `MOST_MOMENTS`.
    """
    stride = -(-len(vectors) // _MOST_FRAMES)
    candidates = np.arange(0, len(vectors), stride)
    likeness = _similarities(vectors, vectors[candidates]) * durations[:, None]
    covered = np.zeros(len(vectors))
    most = likeness.max(axis=1).sum()
    chosen: list[int] = []
    gains: list[float] = []
    for _ in range(min(MOST_MOMENTS if k is None else k, len(candidates))):
        added = np.maximum(likeness - covered[:, None], 0.0).sum(axis=0)
        added[np.isin(candidates, chosen)] = -1.0
        best = int(np.argmax(added))
        gain = float(added[best])
        if k is None and chosen and covered.sum() >= ENOUGH * most:
            break
        chosen.append(int(candidates[best]))
        gains.append(gain)
        covered = np.maximum(covered, likeness[:, best])
    return chosen, gains


def _similarities(frames: Vectors, others: Vectors) -> NDArray[np.float64]:
    """How alike frames are to others: (n, m) in [0, 1], cosines less what the whole video shares."""
    mean = frames.mean(axis=0)
    mine, theirs = _centred(frames, mean), _centred(others, mean)
    return np.asarray(np.clip(mine @ theirs.T, 0.0, 1.0), np.float64)


def _centred(vectors: Vectors, mean: Vectors) -> Vectors:
    """Vectors less their mean, of length 1; what lies at the mean itself (a video of one picture) stays as it is."""
    moved = vectors - mean
    lengths = np.linalg.norm(moved, axis=1, keepdims=True)
    return np.asarray(np.where(lengths > 1e-3, moved / np.maximum(lengths, 1e-3), vectors), np.float32)


def _most(vectors: Vectors, durations: NDArray[np.float64]) -> float:
    """What all frames together cover: every frame is wholly like itself."""
    return float(durations.sum()) or 1.0


def _said(speech: Sequence[Line], start: float, end: float) -> str | None:
    """The lines that are spoken during a frame: half of the line, or of the frame; else the one with most of it."""
    starts, ends = np.array([(line.start_seconds, line.end_seconds) for line in speech], np.float64).reshape(-1, 2).T
    common = np.minimum(ends, end) - np.maximum(starts, start)
    during = (common > 0) & (common >= np.minimum(ends - starts, end - start) / 2)
    if not during.any():
        during = (common > 0) & (common == common.max(initial=0.0))
    return " ".join(text for row in np.flatnonzero(during).tolist() if (text := speech[row].text)) or None


def lines(summary: Summary) -> Iterator[str]:
    """A summary as plain lines, one for each moment."""
    from mmsearch.output.text import clock, lasting, many, path, snippet

    moments = many(len(summary.moments), "moment")
    yield f"{path(summary.path)}: {moments} cover {100 * summary.coverage:.0f} % of {clock(summary.duration_seconds)}"
    for moment in summary.moments:
        text = f"  {snippet(moment.text, 80)[0]}" if moment.text else ""
        yield f"  {clock(moment.start_seconds):>7}  stands for {lasting(moment.stands_for):>5}{text}"
