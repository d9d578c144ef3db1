from __future__ import annotations

import struct
import threading
import zlib
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import ExifTags, Image, ImageCms

from indexer.errors import DamagedMediaError, MediaTooLargeError
from indexer.media import open_media


def quarters(size: tuple[int, int] = (96, 64)) -> Image.Image:
    """Red, green / blue, white: each turn and flip gives another picture."""
    width, height = size
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = 220, 20, 20
    pixels[: height // 2, width // 2 :] = 20, 220, 20
    pixels[height // 2 :, : width // 2] = 20, 20, 220
    pixels[height // 2 :, width // 2 :] = 255, 255, 255
    return Image.fromarray(pixels)


def close(found: np.ndarray, wanted: np.ndarray, tolerance: float = 4) -> bool:
    return found.shape == wanted.shape and float(np.abs(found.astype(int) - wanted.astype(int)).mean()) < tolerance


@pytest.mark.parametrize(
    ("format", "suffix", "kind"),
    [
        ("JPEG", ".jpg", "jpeg"),
        ("PNG", ".png", "png"),
        ("WEBP", ".webp", "webp"),
        ("GIF", ".gif", "gif"),
        ("BMP", ".bmp", "bmp"),
        ("TIFF", ".tiff", "tiff"),
        ("AVIF", ".avif", "avif"),
    ],
)
def test_each_format_is_read_back(tmp_path, read, format, suffix, kind):
    path = tmp_path / f"picture{suffix}"
    quarters().save(path, format)
    info, (sample,), problems = read(path)
    assert (info.kind, info.format, info.width, info.height, problems) == ("image", kind, 96, 64, [])
    assert close(sample.pixels, np.asarray(quarters()))
    assert sample.start_seconds is None


def test_heif_is_read_back(tmp_path, read):
    path = tmp_path / "picture.heic"
    pillow_heif.from_pillow(quarters()).save(path, quality=90)
    info, (sample,), _ = read(path)
    assert (info.format, info.width, info.height) == ("heif", 96, 64)
    assert close(sample.pixels, np.asarray(quarters()))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff", ".avif"])
def test_exif_orientation_is_applied(tmp_path, read, orientation, suffix):
    upright = quarters()
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = orientation
    path = tmp_path / f"turned{suffix}"
    stored.save(path, exif=tags)
    info, (sample,), _ = read(path)
    assert (info.width, info.height) == (96, 64)
    assert close(sample.pixels, np.asarray(upright))


def test_transparency_is_put_on_white(tmp_path, read):
    colour = Image.new("RGBA", (80, 80), (255, 0, 0, 0))
    colour.paste((0, 0, 255, 255), (0, 0, 40, 80))
    gray = Image.new("LA", (80, 80), (0, 0))
    palette = colour.convert("RGB").quantize(4)
    see_through = palette.getpixel((79, 0))
    cases = {
        "rgba.png": (colour, {}),
        "rgba.webp": (colour, {"lossless": True}),
        "la.png": (gray, {}),
        "palette.png": (palette, {"transparency": see_through}),
        "palette.gif": (palette, {"transparency": see_through}),
        "key.png": (colour.convert("RGB"), {"transparency": (255, 0, 0)}),
        "rgba.tiff": (colour, {}),
    }
    for name, (image, options) in cases.items():
        image.save(tmp_path / name, **options)
        _, (sample,), _ = read(tmp_path / name)
        assert (sample.pixels[10, 70] == 255).all(), name
        if not name.startswith("la"):
            assert np.abs(sample.pixels[10, 10].astype(int) - (0, 0, 255)).max() < 3, name


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_16_bit_is_scaled_not_clipped(tmp_path, read, suffix):
    ramp = np.linspace(0, 65535, 80 * 80).reshape(80, 80).astype(np.uint16)
    path = tmp_path / f"deep{suffix}"
    Image.fromarray(ramp).save(path)
    _, (sample,), _ = read(path)
    assert np.abs(sample.pixels[..., 0].astype(int) - ramp // 256).max() <= 1


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (np.linspace(0, 1, 6400, dtype=np.float32), np.linspace(0, 255, 6400)),
        (np.linspace(-50, 1e6, 6400, dtype=np.float32), np.linspace(0, 255, 6400)),
        (np.linspace(0, 255, 6400).astype(np.int32), np.linspace(0, 255, 6400)),
        (np.linspace(0, 65535, 6400).astype(np.int32), np.linspace(0, 255, 6400)),
    ],
)
def test_float_and_32_bit_have_their_range_found(tmp_path, read, values, wanted):
    path = tmp_path / "measured.tiff"
    Image.fromarray(values.reshape(80, 80)).save(path)
    _, (sample,), _ = read(path)
    assert np.abs(sample.pixels[..., 1].astype(int).reshape(-1) - wanted).max() <= 1.5


def test_gray_bilevel_and_cmyk(tmp_path, read):
    Image.new("L", (80, 80), 77).save(tmp_path / "gray.jpg", quality=95)
    Image.new("1", (80, 80), 1).save(tmp_path / "fax.png")
    Image.new("CMYK", (80, 80), (0, 255, 255, 0)).save(tmp_path / "print.jpg", quality=95)
    for name, wanted in (("gray.jpg", (77, 77, 77)), ("fax.png", (255, 255, 255)), ("print.jpg", (255, 0, 0))):
        _, (sample,), _ = read(tmp_path / name)
        assert np.abs(sample.pixels[40, 40].astype(int) - wanted).max() < 6, name


def test_an_embedded_profile_is_converted_to_srgb(tmp_path, read):
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    quarters().save(tmp_path / "plain.png", icc_profile=lab)
    quarters().save(tmp_path / "broken.png", icc_profile=b"not a profile" * 20)
    for name in ("plain.png", "broken.png"):
        _, (sample,), _ = read(tmp_path / name)
        assert close(sample.pixels, np.asarray(quarters()), 1), name


def test_large_jpeg_is_decoded_at_a_fraction(tmp_path, read, settings):
    path = tmp_path / "large.jpg"
    quarters((4000, 3000)).save(path, quality=60)
    info, (sample,), _ = read(path, replace(settings, max_pixels=200_000))
    assert (info.width, info.height) == (4000, 3000)
    assert min(sample.pixels.shape[:2]) >= settings.image_side
    assert sample.pixels.shape[0] <= 4 * settings.image_side
    assert np.abs(sample.pixels[5, 5].astype(int) - (220, 20, 20)).max() < 8


@pytest.mark.parametrize("size", [(63, 900), (128, 129), (1000, 64), (3, 2)])
def test_shorter_side_is_never_cut_below_what_is_needed(tmp_path, read, settings, size):
    for suffix in (".png", ".jpg"):
        path = tmp_path / f"thin{suffix}"
        quarters(size).save(path)
        _, (sample,), _ = read(path)
        assert min(sample.pixels.shape[:2]) >= min(*size, settings.image_side)


def bomb(width: int, height: int) -> bytes:
    """A PNG that promises far more pixels than its few bytes could hold."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(("width", "height"), [(10_000, 10_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1)])
def test_pixel_bomb_is_refused_before_anything_is_allocated(tmp_path, read, width, height):
    path = tmp_path / "bomb.png"
    path.write_bytes(bomb(width, height))
    with pytest.raises(MediaTooLargeError, match=rf"{width} x {height}.*make a smaller copy"):
        read(path)


def test_host_settings_of_pillow_are_neither_read_nor_changed(tmp_path, read, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    path = tmp_path / "picture.png"
    quarters().save(path)
    assert len(read(path)[1]) == 1
    assert Image.MAX_IMAGE_PIXELS == 10
    assert "HEIF" not in Image.OPEN


def test_truncated_pictures_are_damaged(tmp_path, read):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 80, 3), np.uint8))
    for suffix in (".jpg", ".png", ".webp", ".gif", ".bmp", ".tiff"):
        whole = tmp_path / f"whole{suffix}"
        noise.save(whole)
        cut = tmp_path / f"cut{suffix}"
        cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        with pytest.raises(DamagedMediaError):
            read(cut)


def test_exif_time_place_and_title(tmp_path, read):
    tags = Image.Exif()
    tags[ExifTags.Base.ImageDescription] = "Breakfast  in Lisbon"
    tags.get_ifd(ExifTags.IFD.Exif).update({36867: "2023:06:01 08:30:00", 36881: "+01:00"})
    tags.get_ifd(ExifTags.IFD.GPSInfo).update({1: "N", 2: (38.0, 42.0, 36.0), 3: "W", 4: (9.0, 8.0, 24.0)})
    path = tmp_path / "tagged.jpg"
    quarters().save(path, exif=tags)
    info, _, _ = read(path)
    assert info.captured_at == datetime(2023, 6, 1, 8, 30, tzinfo=timezone(timedelta(hours=1)))
    assert (info.latitude, info.longitude) == (pytest.approx(38.71), pytest.approx(-9.14))
    assert info.title == "Breakfast in Lisbon"


def test_time_without_zone_is_naive_and_camera_defaults_are_no_title(tmp_path, read):
    tags = Image.Exif()
    tags[ExifTags.Base.ImageDescription] = "OLYMPUS DIGITAL CAMERA         "
    tags.get_ifd(ExifTags.IFD.Exif).update({36867: "2023:06:01 08:30:00"})
    path = tmp_path / "tagged.jpg"
    quarters().save(path, exif=tags)
    info, _, _ = read(path)
    assert info.captured_at == datetime(2023, 6, 1, 8, 30)
    assert info.title is None


def test_animation_gives_its_first_frame(tmp_path, read):
    first, second = Image.new("RGB", (80, 80), (200, 0, 0)), Image.new("RGB", (80, 80), (0, 0, 200))
    for suffix in (".gif", ".webp", ".png"):
        path = tmp_path / f"moving{suffix}"
        first.save(path, save_all=True, append_images=[second])
        _, samples, _ = read(path)
        assert len(samples) == 1, suffix
        assert samples[0].pixels[0, 0, 0] > 190, suffix


def test_threads_decode_alike(tmp_path, settings):
    paths = []
    for number, suffix in enumerate((".jpg", ".png", ".webp", ".tiff", ".avif") * 3):
        path = tmp_path / f"{number}{suffix}"
        quarters((200 + number, 150)).save(path)
        paths.append(path)
    results: dict[tuple[int, Path], np.ndarray] = {}

    def work(worker: int) -> None:
        for path in paths[worker:] + paths[:worker]:
            with open_media(path, settings) as media:
                results[worker, path] = next(media.samples).pixels

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 6 * len(paths)
    for worker in range(1, 6):
        for path in paths:
            np.testing.assert_array_equal(results[worker, path], results[0, path])
