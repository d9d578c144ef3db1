"""Whether two pictures look the same: re-encoded, resized, a little cropped or brightened, or a frame of a video.

A *look* is `LOOK_BYTES` bytes that are computed from pixels alone, whatever the model. Its first part is the
perceptual hash PDQ (Facebook, "The TMK+PDQF Video-Hashing Algorithm and the PDQ Image-Hashing Algorithm", 2019,
section 5; github.com/facebook/ThreatExchange/tree/main/pdq): the signs, against their median, of the 16 x 16 lowest
frequencies of the luma. They are the same for a picture and its copies, but also for a red pin and a green one, or for
two warning signs with different small symbols. So a look goes on with a tiny picture, 8 x 8 in luma and 4 x 4 in
colour, and two looks agree when their hashes and their tiny pictures do. docs/performance.md has what each part is
worth, benchmarks/likeness.py measures it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.types import ModelSpec

Looks = NDArray[np.uint8]
"""(n, LOOK_BYTES): one look a row."""

SIDE = 64
"""PDQ's: the picture is brought to 64 x 64 before its frequencies are taken. It should not be smaller to begin with."""

_FREQUENCIES = 16
_LUMA, _COLOUR = 8, 4  # sides of the tiny pictures

_HASH_BYTES = _FREQUENCIES**2 // 8
_LUMA_BYTES, _COLOUR_BYTES = _LUMA**2, _COLOUR**2
LOOK_BYTES = _HASH_BYTES + _LUMA_BYTES + 2 * _COLOUR_BYTES
"""128: 32 of hash, 64 of luma, 16 each of blue and red difference, as rows of blocks from the top left."""

_WORKING_SIDE = (
    256  # bars are looked for with the longer side brought to this, or up to twice as much, by whole factors
)
_GAP = 2.0  # how many times SIDE is left to the slower filter, after whole factors
_BLACK = 24  # of 255: no darker than what H.264 makes of the edge of a black bar
_MOST_BARS = 0.8  # of a side; what is nearly all black is a dark picture, not bars

_FAINTEST = 7.0
"""A hash whose frequencies have a median size below this is noise: a flat picture, or a symmetric one (half of its
frequencies are 0). Rounding to bytes and JPEG at quality 30 move a frequency by about 1 to 3 (the transform keeps the
variance of white noise)."""

_MOST_BITS = 40  # of 256. Unrelated photographs differ in 100 and more, re-encoded ones in 30 and fewer
_MOST_LUMA = 24.0  # of 255, between blocks, once contrast and brightness are made the same
_MOST_COLOUR = 16.0
_MOST_GAIN = 5 / 3  # contrast that may be made up for

_BLOCK = 1024  # looks that are compared with all later ones at a time, at most
_MANY_PAIRS = 2**20  # with more than this from one block, the next is smaller
_SUFFIX = 4096  # looks after which the index is made again, without what came before


def decoded_side(spec: ModelSpec) -> int:
    """The shorter side, in pixels, below which pictures are not scaled down: what the model sees, or the look.

    Whoever decodes for a library asks this, so that a file always has the vectors that it was indexed with.
    """
    return max(spec.image_side, SIDE)


def look_of(pixels: NDArray[np.uint8]) -> bytes | None:
    """The look of a picture, or None for one with too little in it to be told from others.

    Black bars of equal size above and below, or left and right, do not count.

    Args:
        pixels: (height, width, 3) uint8, sRGB, upright.
    """
    from PIL import Image

    image = Image.fromarray(pixels)
    factor = max(image.size) // _WORKING_SIDE
    if factor > 1:
        image = image.reduce(factor)
    # Pillow's bilinear filter is a triangle as wide as the reduction, which is what PDQ's two box filters make.
    box = _inside_bars(np.asarray(image) if factor > 1 else pixels)
    small = image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=box, reducing_gap=_GAP)
    rgb = np.asarray(small, np.float32)
    # Luma and colour differences of ITU-R BT.601, as in JPEG (JFIF 1.02).
    luma = rgb @ np.array([0.299, 0.587, 0.114], np.float32)
    blue, red = 0.564 * (rgb[..., 2] - luma), 0.713 * (rgb[..., 0] - luma)
    frequencies = _COSINES @ luma @ _COSINES.T
    above = frequencies - np.median(frequencies)
    if np.median(np.abs(above)) < _FAINTEST:
        return None
    hashed = np.packbits(above.ravel() > 0).tobytes()
    return hashed + _tiny(luma, _LUMA) + _tiny(blue + 128, _COLOUR) + _tiny(red + 128, _COLOUR)


def near_identical(a: bytes, b: bytes) -> bool:
    """Whether two looks are of one picture. It is symmetric, but not transitive: see `groups`."""
    return bool(near(a, stacked([b]))[0])


def near(look: bytes, looks: Looks) -> NDArray[np.bool_]:
    """Which of some looks are of the same picture as one look: (n,) bool."""
    found = np.zeros(len(looks), np.bool_)
    one = stacked([look])[0]
    close = np.flatnonzero(_bits(one, looks) <= _MOST_BITS)
    found[close] = _same_tiny(one, looks[close])
    return found


def groups(looks: Looks) -> list[list[int]]:
    """Put looks of one picture together.

    The first look of a group is near to each of the others, so that a slow pan does not join its beginning and its
    end: taken in order, each look that is in no group yet leads one, of all later looks near it that are in none.

    Returns:
        rows of the looks in each group of two and more, rising; groups are ordered by their first look.
    """
    import faiss

    count = len(looks)
    hashes = np.ascontiguousarray(looks[:, :_HASH_BYTES])
    free = np.ones(count, np.bool_)
    found: list[list[int]] = []
    block = 64
    for begin in range(0, count, _SUFFIX):
        index: Any = faiss.IndexBinaryFlat(8 * _HASH_BYTES)
        index.add(hashes[begin:])
        at, end = begin, min(begin + _SUFFIX, count)
        while at < end:
            leaders = np.flatnonzero(free[at : min(at + block, end)]) + at
            # FAISS takes what is nearer than the radius, not what is at it.
            limits, _, rows = index.range_search(hashes[leaders], _MOST_BITS + 1)
            for leader, low, high in zip(leaders.tolist(), limits[:-1].tolist(), limits[1:].tolist(), strict=True):
                if high - low < 2 or not free[leader]:  # only itself, or taken by a leader of this block
                    continue
                later = np.sort(rows[low:high]) + begin
                later = later[(later > leader) & free[later]]
                same = later[_same_tiny(looks[leader], looks[later])]
                if len(same):
                    free[same] = False
                    found.append([leader, *same.tolist()])
            at += block
            block = min(2 * block, _BLOCK) if limits[-1] < _MANY_PAIRS else max(block // 4, 16)
    return found


def stacked(looks: Sequence[bytes]) -> Looks:
    """Looks as they are stored, one a row.

    Raises:
        ValueError: one is not `LOOK_BYTES` long.
    """
    for look in looks:
        if len(look) != LOOK_BYTES:
            raise ValueError(f"a look has {LOOK_BYTES} bytes, got {len(look)}")
    return np.frombuffer(b"".join(looks), np.uint8).reshape(-1, LOOK_BYTES)


def _cosines() -> NDArray[np.float32]:
    """Rows 1 to 16 of the orthonormal DCT-II of 64 values: (16, 64). Row 0, the mean, tells of brightness only."""
    rows, columns = np.arange(1, _FREQUENCIES + 1)[:, None], np.arange(SIDE)[None]
    waves = np.sqrt(2 / SIDE) * np.cos(np.pi / SIDE * (columns + 0.5) * rows)
    return np.asarray(waves, np.float32)


_COSINES = _cosines()


def _inside_bars(pixels: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a picture without its black bars."""
    rows, columns = (pixels[0], pixels[-1]), (pixels[:, 0], pixels[:, -1])
    if not any(max(edges[0].max(), edges[1].max()) <= _BLACK for edges in (rows, columns)):
        return 0, 0, pixels.shape[1], pixels.shape[0]  # most pictures: told from their edges alone
    red, green, blue = np.moveaxis(pixels, 2, 0)
    lit = np.maximum(np.maximum(red, green), blue) > _BLACK  # many times faster than pixels.max(axis=2)
    height, width = lit.shape
    top, bottom = _bar(lit.any(axis=1))
    left, right = _bar(lit.any(axis=0))
    return left, top, width - right, height - bottom


def _bar(lit: NDArray[np.bool_]) -> tuple[int, int]:
    """How many rows are black at both ends; none where these differ, because then they are part of the picture."""
    if not lit.any():
        return 0, 0
    first, last = int(np.argmax(lit)), int(np.argmax(lit[::-1]))
    return (first, last) if abs(first - last) <= 2 and first + last <= _MOST_BARS * len(lit) else (0, 0)


def _tiny(plane: NDArray[np.float32], side: int) -> bytes:
    """The means of side x side blocks, one byte each."""
    step = SIDE // side
    means = plane.reshape(side, step, side, step).mean(axis=(1, 3))
    return np.asarray((means + 0.5).clip(0, 255), np.uint8).tobytes()


def _bits(one: NDArray[np.uint8], looks: Looks) -> NDArray[np.int64]:
    """In how many bits the hashes differ: (n,)."""
    ones = _ONES[looks[:, :_HASH_BYTES] ^ one[:_HASH_BYTES]]
    return np.asarray(ones.sum(axis=1), np.int64)


_ONES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1, dtype=np.uint8)


def _same_tiny(one: NDArray[np.uint8], looks: Looks) -> NDArray[np.bool_]:
    """Whether no block differs more than re-encoding explains: (n,) bool.

    Brightness may differ, and contrast by `_MOST_GAIN`: a darker copy has weaker colours, too.
    """
    tiny = looks[:, _HASH_BYTES:].astype(np.float32)
    mine = one[_HASH_BYTES:].astype(np.float32)[None]
    luma, own = tiny[:, :_LUMA_BYTES], mine[:, :_LUMA_BYTES]
    spread, own_spread = luma.std(axis=1, keepdims=True) + 1, own.std(axis=1, keepdims=True) + 1
    luma, own = luma - luma.mean(axis=1, keepdims=True), own - own.mean(axis=1, keepdims=True)
    # The stronger of the two is weakened, which way round they are given.
    gain = np.clip(spread / own_spread, 1 / _MOST_GAIN, _MOST_GAIN)
    weaken, weaken_own = np.minimum(1 / gain, 1), np.minimum(gain, 1)
    off = np.abs(luma * weaken - own * weaken_own).max(axis=1, initial=0)
    colour = np.abs((tiny[:, _LUMA_BYTES:] - 128) * weaken - (mine[:, _LUMA_BYTES:] - 128) * weaken_own)
    same: NDArray[np.bool_] = (off <= _MOST_LUMA) & (colour.max(axis=1, initial=0) <= _MOST_COLOUR)
    return same
