"""Tags: which labels of a vocabulary a file shows, with no training on them, each with a confidence.

A file is tagged by its vectors, those of the library where it is there. How sure a tag is comes from the same null
distribution as that of a search (`mmsearch.calibration`): n vectors asked about L labels are n times L draws, of which
the best by chance lies at location + scale * ln(n * L / size). A video's frames are much alike, so n is their effective
number: (sum of eigenvalues)^2 / (sum of their squares), of the matrix of their cosines. Each label is judged for
itself, so a file has as many tags as it shows things, or none. benchmarks/tags.py measures how many are right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from indexer.found import StoredSegments, segments_of
from indexer.library import Library
from indexer.types import Channel, Encoder, Kind, Vectors
from mmsearch.calibration import Background, Backgrounds, confidence, hubness
from mmsearch.vocabulary import OnProgress, Vocabulary, label_vectors

SURE = 0.5
"""The confidence from which a label is a tag."""


@dataclass(frozen=True, slots=True)
class Tag:
    """A label, and how well it fits.

    `confidence`: in [0, 1]; None where nothing is calibrated. `score`: the cosine similarity. `channel`,
    `start_seconds`, `end_seconds`: where in the file it fits best.
    """

    label: str
    confidence: float | None
    score: float
    channel: Channel
    start_seconds: float | None = None
    end_seconds: float | None = None

    @property
    def is_sure(self) -> bool:
        """Whether it stands out from chance."""
        return self.confidence is not None and self.confidence >= SURE


@dataclass(frozen=True, slots=True)
class Tags:
    """The labels that fit a file best, the surest first. `labels`: how many were asked about."""

    path: str
    kind: Kind
    tags: tuple[Tag, ...]
    labels: int

    @property
    def sure(self) -> tuple[Tag, ...]:
        """Those that stand out from chance."""
        return tuple(tag for tag in self.tags if tag.is_sure)

    def to_json(self) -> dict[str, Any]:
        """The documented JSON values: see docs/json.md."""
        rows = [
            {
                "label": tag.label,
                "confidence": None if tag.confidence is None else round(tag.confidence, 6),
                "score": round(tag.score, 6),
                "channel": tag.channel,
                "start": tag.start_seconds,
                "end": tag.end_seconds,
            }
            for tag in self.tags
        ]
        return {"version": 1, "path": self.path, "kind": self.kind, "labels": self.labels, "tags": rows}


def tags_of(
    segments: Sequence[StoredSegments],
    encoder: Encoder,
    backgrounds: Backgrounds,
    vocabulary: Vocabulary,
    k: int,
    on_progress: OnProgress | None = None,
) -> tuple[Tag, ...]:
    """The k labels that fit some segments of one file best.

    Args:
        segments: the file's.
        encoder: the model that made them.
        backgrounds: what chance scores.
        vocabulary: what is asked about.
        k: how many at most.
        on_progress: told how far the labels are encoded, where they are not kept from before.
    """
    best: dict[int, Tag] = {}
    for of in segments:
        if of.channel == "speech" and len(segments) > 1:
            continue  # what is said is seldom what is shown: a file of speech alone is tagged by it
        vectors = label_vectors(vocabulary, encoder, of.channel, on_progress)
        if vectors is None or not len(of):
            continue
        cosines = of.vectors @ vectors.T
        excess = excess_of(of.vectors, vectors, backgrounds.get(("text", of.channel)))
        rows = (cosines if excess is None else excess).argmax(axis=0)
        for label, row in enumerate(rows.tolist()):
            start, end = of.spans[row]
            sure = None if excess is None else float(confidence(excess[row, label]))
            times = (None, None) if np.isnan(start) else (float(start), float(end))
            tag = Tag(vocabulary.names[label], sure, float(cosines[row, label]), of.channel, *times)
            if label not in best or _order(tag) > _order(best[label]):
                best[label] = tag
    return tuple(sorted(best.values(), key=_order, reverse=True)[:k])


def excess_of(vectors: Vectors, labels: Vectors, chance: Background | None) -> Vectors | None:
    """How far labels lie above chance for the vectors of one file: (n, labels); None without calibration."""
    if chance is None or not len(chance.hubs.bank):
        return None
    scores = vectors @ labels.T - hubness(vectors, chance.hubs.bank)[:, None]
    drawn = max(1, round(effective(vectors) * len(labels)))
    return np.asarray(chance.null.among(drawn).excess(scores), np.float32)


def effective(vectors: Vectors) -> float:
    """How many different vectors there are among some, in effect: from 1, when all are the same, to their number.

    The participation ratio of the eigenvalues of their cosines, whose sum is n and whose squares sum up to the squared
    entries of the matrix.
    """
    cosines = np.asarray(vectors @ vectors.T, np.float64)
    return float(len(vectors) ** 2 / max(float((cosines**2).sum()), 1.0))


def counted(
    library: Library,
    generation_id: int,
    contents: Mapping[int, int],
    encoder: Encoder,
    backgrounds: Backgrounds,
    vocabulary: Vocabulary,
    on_progress: OnProgress | None = None,
) -> dict[str, int]:
    """How many files of a library have each tag, by its stored vectors: nothing but the labels is encoded.

    Only what is seen and heard counts: documents are found by their words.

    Args:
        library: whose files.
        generation_id: of which model.
        contents: their contents, and how many files each has.
        encoder: the model.
        backgrounds: what chance scores.
        vocabulary: what is counted.
        on_progress: told how far the labels are encoded.
    """
    found = np.zeros(len(vocabulary), np.int64)
    all_contents = list(contents)
    of_channel = {
        channel: label_vectors(vocabulary, encoder, channel, on_progress)
        for channel, _ in encoder.spec.channels
        if channel in _COUNTED
    }
    for at in range(0, len(all_contents), _CONTENTS):
        for of in segments_of(library.store, generation_id, all_contents[at : at + _CONTENTS]):
            chance = backgrounds.get(("text", of.channel))
            labels = of_channel.get(of.channel)
            if labels is None or chance is None:
                continue
            order = np.argsort(of.contents, kind="stable")
            own, starts = np.unique(of.contents[order], return_index=True)
            for content, rows in zip(own.tolist(), np.split(order, starts[1:]), strict=True):
                excess = excess_of(of.vectors[rows], labels, chance)
                if excess is not None:
                    found += (confidence(excess.max(axis=0)) >= SURE) * contents[content]
    return {vocabulary.names[at]: int(found[at]) for at in np.argsort(-found, kind="stable").tolist() if found[at]}


_CONTENTS = 256
_COUNTED: tuple[Channel, ...] = ("visual", "sound")


def _order(tag: Tag) -> tuple[float, float]:
    return (-1.0 if tag.confidence is None else tag.confidence, tag.score)
