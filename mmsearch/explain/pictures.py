"""Where in pictures and frames a term's score comes from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from indexer.media import open_media, sniff
from indexer.types import DecodeSettings, Encoder, ImageSample, Kind, TowerSpec, Vectors
from indexer.vectors import unit
from mmsearch.calibration import NEIGHBOURS, SHARE, Background
from mmsearch.encoders.heat import ExplainsTowers, HeatMaps
from mmsearch.explain.occlusion import occlusion
from mmsearch.explain.values import PictureMap
from mmsearch.readings import Approach
from mmsearch.sharing import Turn

METHODS = ("auto", "occlusion")
"""How maps are made: "auto" takes what the tower itself offers, and else "occlusion"."""


def read_picture(path: str, kind: Kind, start_seconds: float | None, side: int) -> ImageSample:
    """A picture, or a video's frame at a moment, as an indexing run decodes it.

    Raises:
        MediaError: it cannot be decoded.
        OSError: it cannot be read.
    """
    place = Path(path)
    if kind == "video":
        from indexer.media.video import frame_at

        return ImageSample(frame_at(place, sniff(place), start_seconds or 0.0, side))
    settings = DecodeSettings(image_side=side, sample_rate=None, count_tokens=len, max_tokens=1)
    with open_media(place, settings) as media:
        for sample in media.samples:
            if isinstance(sample, ImageSample):
                return sample
    raise FileNotFoundError(2, "there is no picture any more", path)


def target_of(approach: Approach, chance: Background | None, vector: Vectors) -> Vectors:
    """The direction that a picture's vector scores along: (dim,) float32.

    Ranked is not the cosine with the term alone, but that less hubness (`mmsearch.calibration`), which near a vector is
    its inner product with a mean of background queries. What makes a picture near to everything is so no part of the
    map. For stretched scores, and without calibration, it is the term.

    Args:
        approach: the term.
        chance: what chance scores for it.
        vector: (dim,) the picture's.
    """
    if chance is None or chance.null.stretched or not len(chance.hubs.bank):
        return approach.vector
    nearest = max(1, min(NEIGHBOURS, len(chance.hubs.bank) // 2))
    order = np.argpartition(-(chance.hubs.bank @ vector), nearest - 1)[:nearest]
    return np.asarray(approach.vector - SHARE * chance.hubs.bank[order].mean(axis=0), np.float32)


def picture_maps(
    encoder: Encoder,
    turn: Turn,
    tower: TowerSpec,
    sample: ImageSample,
    terms: Sequence[tuple[str, Approach, Background | None]],
    *,
    start_seconds: float | None = None,
    method: str = "auto",
) -> list[PictureMap]:
    """Maps of one picture, one for each term.

    Args:
        encoder: whose tower it is.
        turn: what calls of the encoder take turns by.
        tower: the picture's.
        sample: the picture.
        terms: each with what it is called, how it reaches the channel, and what chance scores.
        start_seconds: when the frame is shown.
        method: one of `METHODS`.
    """

    def encode(samples: Sequence[ImageSample]) -> Vectors:
        prepared = [encoder.prepare(tower, one) for one in samples]
        with turn:
            return encoder.encode(tower, prepared)

    vector = unit(encode([sample]))[0]
    compared = [approach.compared(vector)[0] for _, approach, _ in terms]
    targets = np.stack(
        [target_of(approach, chance, own) for (_, approach, chance), own in zip(terms, compared, strict=True)]
    )
    found: HeatMaps | None = None
    if method == "auto" and isinstance(encoder, ExplainsTowers):
        with turn:
            found = encoder.heat_maps(tower, sample, targets)
    if found is None:
        found = occlusion(sample, targets, encode)
    return [
        PictureMap(name, scaled(heat), found.box, found.method, start_seconds, float(own @ approach.vector))
        for (name, approach, _), heat, own in zip(terms, found.values, compared, strict=True)
    ]


def scaled(heat: Vectors) -> Vectors:
    """A map brought to [0, 1]: what speaks against the term is 0, and what speaks most for it is 1."""
    positive = np.maximum(heat, 0.0)
    highest = float(positive.max())
    return np.asarray(positive / highest if highest > 0 else positive, np.float32)
