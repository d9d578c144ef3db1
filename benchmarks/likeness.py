"""Perceptual hashes: which of them find a picture again after it was changed, and which take two pictures for one.

usage: python benchmarks/likeness.py [--drawings 1346] [--json FILE]

Pictures: the photographs of scikit-image, quarters of them, and drawings of openclipart. Each is changed in the ways
that files are in practice; a change is found when its hash is near the original's. All pairs of different originals
must stay apart. Each family is shown at thresholds of its own (bits that may differ), so the rows of one family are
points of its ROC curve; --json has all thresholds. `look` is what mmsearch stores: PDQ's hash and a tiny picture.

Pairs "taken for one" are counted as they come: among drawings about ten are the same drawing under two names.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from _openclipart import find_pictures, read_pixels
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from indexer import likeness

Bits = NDArray[np.bool_]
PHOTOGRAPHS = (
    *("astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png", "clock_motion.png", "coffee.png"),
    *("coins.png", "grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png", "microaneurysms.png", "moon.png"),
    *("motorcycle_left.png", "page.png", "retina.jpg", "rocket.jpg", "text.png"),
)
VIDEO_SIZE = (640, 360)
_random = np.random.default_rng(7)


def originals(drawings: int) -> tuple[list[Image.Image], int]:
    """The pictures, photographs and their quarters first; and how many of those there are."""
    spec = importlib.util.find_spec("skimage")
    folder = Path(spec.origin).parent / "data"
    photographs = [Image.open(folder / name).convert("RGB") for name in PHOTOGRAPHS if (folder / name).is_file()]
    quarters = []
    for image in photographs:
        w, h = image.width // 2, image.height // 2
        if min(w, h) >= 200:
            quarters += [image.crop((x, y, x + w, y + h)) for x in (0, w) for y in (0, h)]
    photos = photographs + quarters
    drawn = [Image.fromarray(read_pixels(picture.path, 320)) for picture in find_pictures()[:drawings]]
    return photos + drawn, len(photos)


def saved(image: Image.Image, format: str, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, format, quality=quality)
    return Image.open(file).convert("RGB")


def scaled(image: Image.Image, factor: float) -> Image.Image:
    size = max(2, round(image.width * factor)), max(2, round(image.height * factor))
    return image.resize(size, Image.Resampling.LANCZOS)


def cropped(image: Image.Image, share: float) -> Image.Image:
    width, height = round(image.width * (1 - share)), round(image.height * (1 - share))
    x, y = _random.integers(image.width - width + 1), _random.integers(image.height - height + 1)
    return image.crop((x, y, x + width, y + height))


def between_bars(image: Image.Image) -> Image.Image:
    factor = min(VIDEO_SIZE[0] / image.width, VIDEO_SIZE[1] / image.height)
    inner = image.resize((max(1, round(image.width * factor)), max(1, round(image.height * factor))))
    frame = Image.new("RGB", VIDEO_SIZE)
    frame.paste(inner, ((frame.width - inner.width) // 2, (frame.height - inner.height) // 2))
    return frame


def filmed(images: list[Image.Image]) -> list[Image.Image]:
    """Each picture as H.264 (CRF 28) gives it back, in a video that shows each for three frames."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "28", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = *VIDEO_SIZE, "yuv420p"
        for number in range(3 * len(images)):
            frame = av.VideoFrame.from_ndarray(np.asarray(images[number // 3]), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as container:
        return [frame.to_image() for number, frame in enumerate(container.decode(video=0)) if number % 3 == 1]


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "jpeg 30": lambda image: saved(image, "JPEG", 30),
    "jpeg 95": lambda image: saved(image, "JPEG", 95),
    "webp 50": lambda image: saved(image, "WEBP", 50),
    "x 0.25": lambda image: scaled(image, 0.25),
    "x 1.7": lambda image: scaled(image, 1.7),
    "crop 2%": lambda image: cropped(image, 0.02),
    "crop 5%": lambda image: cropped(image, 0.05),
    "x 1.25 bright": lambda image: ImageEnhance.Brightness(image).enhance(1.25),
    "x 0.75 bright": lambda image: ImageEnhance.Brightness(image).enhance(0.75),
    "video": lambda image: image.resize(VIDEO_SIZE),
    "video, bars": between_bars,
}


def cosines(side: int, rows: int) -> NDArray[np.float64]:
    return np.cos(np.pi / side * np.outer(np.arange(rows), np.arange(side) + 0.5))


def grey(image: Image.Image, width: int, height: int) -> NDArray[np.float64]:
    return np.asarray(image.convert("L").resize((width, height), Image.Resampling.BILINEAR), float)


def above_median(values: NDArray[np.float64]) -> Bits:
    return (values > np.median(values)).ravel()


def p_hash(image: Image.Image) -> Bits:
    """64 bits: the 8 x 8 lowest frequencies of 32 x 32 (Zauner, 2010; Krawetz, "Looks Like It", 2011)."""
    return above_median(cosines(32, 8) @ grey(image, 32, 32) @ cosines(32, 8).T)


def pdq(image: Image.Image) -> Bits:
    return above_median(cosines(64, 17)[1:] @ grey(image, 64, 64) @ cosines(64, 17)[1:].T)


def d_hash(image: Image.Image) -> Bits:
    """64 bits: whether each of 8 x 8 is darker than its right neighbour (Krawetz, "Kind of Like That", 2013)."""
    return (np.diff(grey(image, 9, 8), axis=1) > 0).ravel()


def block_mean(image: Image.Image) -> Bits:
    """256 bits: whether each of 16 x 16 blocks is above the median (Yang, Gu and Niu, 2006)."""
    return above_median(grey(image, 16, 16))


FAMILIES: dict[str, tuple[Callable[[Image.Image], Bits], tuple[int, ...]]] = {
    "dHash, 64 bits": (d_hash, (2, 5, 8)),
    "pHash, 64 bits": (p_hash, (2, 6, 10)),
    "block mean, 256 bits": (block_mean, (10, 25, 40)),
    "PDQ, 256 bits": (pdq, (16, 31, 40, 64)),
}


def show(name: str, false: tuple[int, int], found: dict[str, tuple[float, float]]) -> None:
    cells = "  ".join(f"{photo:>3.0%}/{drawn:<4.0%}".rjust(9) for photo, drawn in found.values())
    print(f"{name:<28}{false[0]:>5}/{false[1]:<7}{cells}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--drawings", type=int, default=10_000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    images, photos = originals(arguments.drawings)
    count = len(images)
    hashes: dict[str, dict[str, Bits]] = {name: {} for name in FAMILIES}
    looks: dict[str, list[bytes | None]] = {}
    for change in ["original", *CHANGES]:
        changed = images if change == "original" else [CHANGES[change](image) for image in images]
        if change.startswith("video"):
            changed = [frame for at in range(0, count, 100) for frame in filmed(changed[at : at + 100])]
        for name, (hashed, _) in FAMILIES.items():
            hashes[name][change] = np.array([hashed(image) for image in changed])
        looks[change] = [likeness.look_of(np.asarray(image)) for image in changed]

    drawn = np.arange(count) >= photos
    print(
        f"{photos} photographs and parts of photographs, {count - photos} drawings; each cell is photographs/drawings"
    )
    print(f"{'':<28}{'taken for one':<13}{'  '.join(change[:9].rjust(9) for change in CHANGES)}")
    report: dict[str, list[dict[str, object]]] = {}
    first, second = np.triu_indices(count, 1)
    both = ~drawn[first] & ~drawn[second]
    for name, (_, shown) in FAMILIES.items():
        bits = {change: found.astype(np.float32) for change, found in hashes[name].items()}
        ones = bits["original"].sum(axis=1)
        apart = (ones[:, None] + ones[None] - 2 * bits["original"] @ bits["original"].T)[first, second]
        moved = {change: np.abs(bits[change] - bits["original"]).sum(axis=1) for change in CHANGES}
        report[name] = []
        for most in range(bits["original"].shape[1] // 3):
            false = int((apart[both] <= most).sum()), int((apart[~both] <= most).sum())
            found = {c: (float((d[~drawn] <= most).mean()), float((d[drawn] <= most).mean())) for c, d in moved.items()}
            report[name].append({"bits": most, "false": false, "found": found})
            if most in shown:
                show(f"{name}, {most} differ", false, found)

    with_look = np.array([look is not None for look in looks["original"]])
    rows = np.flatnonzero(with_look)
    stack = likeness.stacked([look for look in looks["original"] if look is not None])
    false = [0, 0]
    for at, row in enumerate(rows):
        same = rows[at + 1 :][likeness.near(stack[at].tobytes(), stack[at + 1 :])]
        for other in same:
            false[int(drawn[row] or drawn[other])] += 1
    same_as = {
        change: np.array([a is not None and b is not None and likeness.near_identical(a, b) for a, b in pairs])
        for change, pairs in ((c, list(zip(looks["original"], looks[c], strict=True))) for c in CHANGES)
    }
    found = {c: (float(same[~drawn].mean()), float(same[drawn].mean())) for c, same in same_as.items()}
    show("look", (false[0], false[1]), found)
    without = int((~with_look & ~drawn).sum()), int((~with_look & drawn).sum())
    print(f"no look, and so never found: {without[0]} photographs, {without[1]} drawings")
    if arguments.json:
        look = {"false": false, "found": found, "without": without}
        arguments.json.write_text(json.dumps({"families": report, "look": look}, indent=1) + "\n")


if __name__ == "__main__":
    main()
