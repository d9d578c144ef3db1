from __future__ import annotations

import os
import random
import subprocess
import sys
import time

import numpy as np
import pillow_heif
import pytest
import reportlab.pdfgen.canvas
from PIL import Image

from indexer.errors import DamagedMediaError, MediaError, UnsupportedMediaError
from indexer.media import SUFFIXES, open_media, sniff


@pytest.fixture
def samples_of_each(make, tmp_path, sine):
    """One small file of each kind."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 48, 3), np.uint8))
    for suffix in ("jpg", "png", "webp", "gif", "bmp", "tiff", "avif"):
        noise.save(tmp_path / f"image.{suffix}")
    pillow_heif.from_pillow(noise).save(tmp_path / "image.heic")
    for name, codec, rate in (
        ("a.wav", "pcm_s16le", 8000),
        ("a.mp3", "libmp3lame", 16000),
        ("a.flac", "flac", 16000),
        ("a.opus", "libopus", 48000),
        ("a.m4a", "aac", 16000),
        ("a.aac", "aac", 16000),
    ):
        make.audio(name, sine(0.5, rate), rate, codec)
    make.video("v.mp4", 2, size=(64, 48), gop=5, sound=sine(0.5))
    make.video("v.mkv", 2, size=(64, 48), gop=250, bframes=2)
    make.video("v.avi", 1, size=(64, 48), codec="mpeg4")
    make.video("v.webm", 1, size=(64, 48), codec="libvpx")
    make.video("v.m2ts", 1, size=(64, 48))
    canvas = reportlab.pdfgen.canvas.Canvas(str(tmp_path / "d.pdf"))
    canvas.drawString(72, 700, "A page of words")
    canvas.save()
    (tmp_path / "t.txt").write_text("Some words.\n\nMore words.", encoding="utf-8")
    (tmp_path / "t.md").write_text("# Title\n\nMore words.", encoding="utf-8")
    (tmp_path / "t.html").write_text("<title>T</title><p>words</p>", encoding="utf-8")
    (tmp_path / "t.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nwords\n", encoding="utf-8")
    (tmp_path / "t.vtt").write_text("WEBVTT\n\n00:01.000 --> 00:02.000\nwords\n", encoding="utf-8")
    return sorted(path for path in tmp_path.iterdir() if path.is_file())


def test_content_agrees_with_the_suffix(samples_of_each):
    assert len(samples_of_each) >= 25
    for path in samples_of_each:
        assert sniff(path) == SUFFIXES[path.suffix], path.name


def test_content_decides_where_the_suffix_lies(samples_of_each, read):
    by_name = {path.name: path for path in samples_of_each}
    lies = {
        "image.jpg": (".png", "image", "jpeg"),
        "image.png": (".txt", "image", "png"),
        "a.mp3": (".jpg", "audio", "mp3"),
        "a.m4a": (".mp4", "audio", "mp4"),
        "v.mp4": (".mp3", "video", "mp4"),
        "v.mkv": (".avi", "video", "matroska"),
        "d.pdf": (".txt", "text", "pdf"),
        "t.md": (".txt", "text", "text"),
    }
    for name, (suffix, kind, format) in lies.items():
        liar = by_name[name].rename(by_name[name].with_name(f"liar-{name}").with_suffix(suffix))
        info, samples, _ = read(liar)
        assert (info.kind, info.format) == (kind, format)
        assert samples


@pytest.mark.parametrize(
    ("name", "content", "error", "words"),
    [
        ("a.jpg", b"<html>404 not found</html>", UnsupportedMediaError, "JPEG.*the content is text"),
        ("a.txt", bytes(range(256)) * 10, UnsupportedMediaError, "plain text.*binary data"),
        ("a.mp4", bytes(5000), DamagedMediaError, "MP4.*does not begin as any kind"),
        ("a.xyz", b"words", UnsupportedMediaError, "the content is text, but the suffix '.xyz'"),
        ("a.xyz", bytes(range(256)), UnsupportedMediaError, "no kind that mmsearch reads"),
        ("a.png", b"", DamagedMediaError, "the file is empty"),
        ("a.txt", b"", DamagedMediaError, "the file is empty"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path, name, content, error, words):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(error, match=words):
        sniff(path)


def test_utf16_text_is_not_taken_for_mpeg_audio(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("some words".encode("utf-16"))
    assert sniff(path) == "text"


def test_what_the_operating_system_refuses(tmp_path, settings):
    with pytest.raises(MediaError, match="no such file"), open_media(tmp_path / "none.jpg", settings):
        pass
    # Known beforehand or not, with each kind of decoder.
    for format in ("jpeg", "mp4", "text", "pdf", "srt", "html"):
        with (
            pytest.raises(MediaError, match="no such file"),
            open_media(tmp_path / "none", settings, format=format) as media,
        ):
            list(media.samples)
    (tmp_path / "folder.jpg").mkdir()
    with pytest.raises(MediaError, match=r"a folder|permission denied"):
        sniff(tmp_path / "folder.jpg")
    if os.name == "posix" and os.geteuid() != 0:
        (tmp_path / "locked.jpg").write_bytes(b"x")
        (tmp_path / "locked.jpg").chmod(0)
        with pytest.raises(MediaError, match="permission denied"):
            sniff(tmp_path / "locked.jpg")


def test_names_with_colons_and_percent_signs(make, sine, read):
    for name in ("http:a.wav", "50%03d.wav", "größe 😀.wav") if os.name == "posix" else ("50%03d.wav", "größe 😀.wav"):
        assert read(make.audio("plain.wav", sine(0.2)).rename(make.folder / name))[1]


def test_samples_end_with_the_block(make, sine, settings):
    path = make.video("v.mp4", 5, sound=sine(5))
    with open_media(path, settings) as media:
        next(media.samples)
    assert list(media.samples) == []
    path.unlink()  # on Windows this fails while something holds the file open


def test_an_error_of_the_caller_is_not_touched(make, sine, settings):
    path = make.audio("a.wav", sine(0.2))
    with pytest.raises(KeyError, match="mine"), open_media(path, settings):
        raise KeyError("mine")


def test_import_is_light():
    heavy = ("av", "PIL", "pypdf", "bs4", "pysubs2", "semantic_text_splitter", "charset_normalizer", "pillow_heif")
    code = f"import sys, indexer.media; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def survives(path, settings):
    """Read a file whole; only a MediaError may come out, and soon."""
    begin = time.monotonic()
    try:
        with open_media(path, settings) as media:
            count = sum(1 for _ in media.samples)
    except MediaError:
        count = 0
    assert time.monotonic() - begin < 60
    assert count < 10_000


@pytest.mark.filterwarnings("ignore")  # libraries warn of damaged files, each in its own way
def test_truncated_at_many_places(samples_of_each, settings):
    for path in samples_of_each:
        data = path.read_bytes()
        for part in range(12):
            path.write_bytes(data[: len(data) * part // 12 + part])
            survives(path, settings)


@pytest.mark.filterwarnings("ignore")
def test_flipped_bits(samples_of_each, settings):
    rng = random.Random(0)
    for path in samples_of_each:
        data = path.read_bytes()
        for round in range(25):
            damaged = bytearray(data)
            # Half of the rounds hit the headers, where one bit does the most.
            reach = min(len(data), 200) if round % 2 else len(data)
            for _ in range(rng.choice((1, 3, 20))):
                damaged[rng.randrange(reach)] ^= 1 << rng.randrange(8)
            path.write_bytes(damaged)
            survives(path, settings)
