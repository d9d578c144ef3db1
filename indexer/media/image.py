"""Decode pictures: upright, opaque, 8 bits per channel, sRGB, and not much larger than the model needs."""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterator
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFile, UnidentifiedImageError

from indexer.advice import RAISE_LIMIT
from indexer.errors import DamagedMediaError, MediaTooLargeError, UnsupportedMediaError
from indexer.media import exif
from indexer.media.formats import FORMATS
from indexer.types import DecodeSettings, ImageSample, MediaInfo, Sample

# The plugin classes are called directly rather than through Image.open. Image.open looks at Image.MAX_IMAGE_PIXELS, a
# global of the host application, before a JPEG could be told to decode at an eighth of its size; and a plugin has to be
# put into Pillow's global registry before Image.open finds it. This way nothing global is read or changed.
_PLUGINS: dict[str, tuple[str, str]] = {
    "jpeg": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "png": ("PIL.PngImagePlugin", "PngImageFile"),
    "webp": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "gif": ("PIL.GifImagePlugin", "GifImageFile"),
    "bmp": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "tiff": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "avif": ("PIL.AvifImagePlugin", "AvifImageFile"),
    "heif": ("pillow_heif", "HeifImageFile"),
}

# libjpeg keeps every coefficient of a progressive JPEG in memory, whatever the scale: 6 bytes per pixel at 4:4:4.
_PROGRESSIVE_COST = 0.5

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation (EXIF 2.32, tag 0x0112) -> what brings the picture upright."""


def open_file(
    path: Path, format: str, settings: DecodeSettings, problems: list[str], stack: ExitStack
) -> tuple[MediaInfo, Iterator[Sample]]:
    """Read the header; the pixels are decoded when the one sample is asked for."""
    image = _open(stack.enter_context(path.open("rb")), format)
    stack.callback(image.close)
    width, height = image.size
    if format == "jpeg":
        # The smallest DCT scale (1/8, 1/4, 1/2) whose shorter side still covers image_side. No mode is asked for: that
        # would drop the colours of a CMYK picture in libjpeg.
        image.draft(None, (settings.image_side, settings.image_side))
    _check_size(image, (width, height), settings.max_pixels)

    tags = exif.read(image)
    # Pillow turns a TIFF upright by itself while loading, and gives its size as upright.
    orientation = 1 if format == "tiff" else tags.orientation
    if orientation in (5, 6, 7, 8):
        width, height = height, width
    info = MediaInfo(
        "image",
        format,
        width=width,
        height=height,
        captured_at=tags.captured_at,
        latitude=tags.latitude,
        longitude=tags.longitude,
        title=tags.title,
    )
    return info, _samples(image, orientation, settings.image_side)


def _open(file: IO[bytes], format: str) -> ImageFile.ImageFile:
    module, name = _PLUGINS[format]
    try:
        plugin = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UnsupportedMediaError(
            f"reading {FORMATS[format].label} needs Python packages that are not there: pip install pillow pillow-heif"
        ) from error
    if getattr(importlib.import_module(module), "SUPPORTED", True) is False:
        raise UnsupportedMediaError(f"this build of Pillow cannot decode {FORMATS[format].label}: use a wheel of PyPI")
    try:
        image = plugin(file)
    except Image.DecompressionBombError as error:
        raise MediaTooLargeError(f"{error}: make a smaller copy of it") from error
    except (SyntaxError, UnidentifiedImageError) as error:
        if "unknown pixel mode" in str(error):  # a whole TIFF, but of samples that Pillow does not put together
            raise UnsupportedMediaError(
                f"the {FORMATS[format].label} file keeps its pixels in a way that cannot be read ({error}): convert it"
            ) from error
        raise DamagedMediaError(f"the header of the {FORMATS[format].label} file is damaged: {error}") from error
    return cast(ImageFile.ImageFile, image)


def _check_size(image: ImageFile.ImageFile, full: tuple[int, int], max_pixels: int) -> None:
    pixels = image.width * image.height
    cost = pixels
    if image.info.get("progressive"):
        cost = max(pixels, int(full[0] * full[1] * _PROGRESSIVE_COST))
    if not pixels:
        raise DamagedMediaError(f"the picture has no pixels ({full[0]} x {full[1]})")
    if cost > max_pixels:
        raise MediaTooLargeError(
            f"the picture is {full[0]} x {full[1]} pixels, and decoding it takes the memory of {cost / 1e6:.1f} "
            f"megapixels, more than the {max_pixels / 1e6:.1f} allowed: make a smaller copy",
            RAISE_LIMIT,
        )


def _samples(image: ImageFile.ImageFile, orientation: int, image_side: int) -> Iterator[Sample]:
    try:
        image.load()
    except Image.DecompressionBombError as error:
        raise MediaTooLargeError(f"{error}: make a smaller copy of it") from error
    except (OSError, EOFError, SyntaxError, ValueError) as error:
        raise DamagedMediaError(f"the picture is cut short or damaged: {error}") from error
    profile = image.info.get("icc_profile")
    picture = _eight_bit(image)
    # Twice the side that is needed leaves the last step to the model's own resampling, and everything below (and the
    # queues after us) handles a fraction of the pixels.
    factor = min(picture.size) // (2 * image_side)
    if factor > 1:
        picture = picture.reduce(factor)
    picture = _srgb(_on_white(picture), profile)
    if orientation in _UPRIGHT:
        picture = picture.transpose(_UPRIGHT[orientation])
    yield ImageSample(np.asarray(picture, dtype=np.uint8))


def _eight_bit(image: Image.Image) -> Image.Image:
    """Bring any of Pillow's modes to L, RGB, RGBA or CMYK, with the whole range of the values kept."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image, dtype=np.uint16) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        return Image.fromarray(_stretch(np.asarray(image)))
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        return _to_rgba(image)
    if image.mode in ("L", "RGB", "CMYK"):
        return image
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB") or image
    return image.convert("L" if image.mode == "1" else "RGB")


def _to_rgba(image: Image.Image) -> Image.Image:
    if image.mode == "La":
        image = image.convert("LA")
    return image if image.mode == "RGBA" else image.convert("RGBA")


def _stretch(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Scale numbers without a fixed range to bytes.

    What fits in 8 bits, in 16 bits or in [0, 1] is taken to have that range; anything else is stretched from its
    least to its greatest finite value.
    """
    numbers = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(numbers.min()), float(numbers.max())
    if low >= 0 and np.issubdtype(values.dtype, np.floating) and high <= 1:
        low, high = 0.0, 1.0
    elif low >= 0 and high <= 255:
        low, high = 0.0, 255.0
    elif low >= 0 and high <= 65535:
        low, high = 0.0, 65535.0
    return ((numbers - low) * (255.0 / max(high - low, 1e-12)) + 0.5).clip(0, 255).astype(np.uint8)


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return image
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image).convert("RGB")


def _srgb(image: Image.Image, profile: object) -> Image.Image:
    """Convert to sRGB by the embedded profile: telephones save Display P3, and print shops CMYK."""
    if isinstance(profile, bytes) and image.mode in ("RGB", "CMYK"):
        try:
            transform = _to_srgb(profile, image.mode)
            image = (transform and ImageCms.applyTransform(image, transform)) or image
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # a damaged or mismatched profile must not cost the picture; its colours are close enough without
    return image if image.mode == "RGB" else image.convert("RGB")


@lru_cache(maxsize=32)
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """What brings pictures with an embedded profile to sRGB; None for a profile of sRGB itself.

    Making one takes as long as applying it to a picture of 500 x 375 pixels, and all photos of a telephone share one.
    Without Little CMS's cache of one pixel (NOCACHE), a transform can be used by several threads.
    """
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if "sRGB" in ImageCms.getProfileDescription(source):
        return None
    target = ImageCms.createProfile("sRGB")
    return ImageCms.buildTransform(source, target, mode, "RGB", flags=ImageCms.Flags.NOCACHE)
