from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from indexer.errors import DamagedMediaError
from indexer.types import AudioSample


def joined(samples) -> np.ndarray:
    return np.concatenate([sample.waveform for sample in samples])


def hertz(waveform: np.ndarray, rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    return float(np.fft.rfftfreq(len(waveform), 1 / rate)[spectrum.argmax()])


@pytest.mark.parametrize(
    ("name", "codec", "rate", "format"),
    [
        ("a.wav", "pcm_s16le", 22050, "wav"),
        ("a.mp3", "libmp3lame", 44100, "mp3"),
        ("a.flac", "flac", 48000, "flac"),
        ("a.opus", "libopus", 48000, "ogg"),
        ("a.ogg", "libopus", 48000, "ogg"),
        ("a.m4a", "aac", 44100, "mp4"),
        ("a.aac", "aac", 44100, "aac"),
        ("a.aiff", "pcm_s16be", 44100, "aiff"),
        ("a.wma", "wmav2", 44100, "asf"),
        ("a.mka", "flac", 44100, "matroska"),
        ("a.webm", "libopus", 48000, "webm"),
        ("a.wv", "wavpack", 44100, "wavpack"),
        ("a.caf", "pcm_s16be", 44100, "caf"),
    ],
)
@pytest.mark.parametrize("layout", ["mono", "stereo"])
def test_each_format_is_read_back(make, read, sine, name, codec, rate, format, layout):
    path = make.audio(name, sine(3, rate), rate, codec, layout)
    info, samples, problems = read(path)
    assert (info.kind, info.format, info.width, problems) == ("audio", format, None, [])
    if format != "wavpack":  # FFmpeg's own WavPack files do not say how long they are
        assert info.duration_seconds == pytest.approx(3, abs=0.15)
    sound = joined(samples)
    assert samples[0].start_seconds < 0.1  # encoders put a little silence before, and the timestamps say so
    assert len(sound) / 16000 == pytest.approx(3, abs=0.1)
    middle = sound[8000:40000]
    assert hertz(middle, 16000) == pytest.approx(440, abs=2)
    assert np.abs(middle).max() == pytest.approx(0.5, abs=0.05)


def test_blocks_are_bounded_joined_and_cut_in_the_pause(make, read, sine, settings):
    sound = sine(100)
    sound[25 * 16000 : 26 * 16000] = 0
    sound[52 * 16000 : 53 * 16000] *= 0.1
    path = make.audio("talk.wav", sound)
    _, samples, problems = read(path, replace(settings, audio_block_seconds=30))
    assert all(len(sample.waveform) <= 30 * 16000 for sample in samples)
    assert 25 < samples[0].end_seconds < 26
    assert 52 < samples[1].end_seconds < 53
    for before, after in itertools.pairwise(samples):
        assert after.start_seconds == pytest.approx(before.end_seconds)
    np.testing.assert_allclose(joined(samples), sound, atol=1e-4)
    assert problems == []


def test_nothing_is_decoded_when_nothing_listens(make, read, sine, settings):
    info, samples, problems = read(make.audio("a.wav", sine(2)), replace(settings, sample_rate=None))
    assert (info.duration_seconds, samples, problems) == (2.0, [], [])


def test_tags_and_cover_art(make, read, sine):
    tags = {"title": "Nocturne", "artist": "Chopin"}
    for name, codec, format in (("a.mp3", "libmp3lame", "mp3"), ("a.m4a", "aac", "mp4"), ("a.flac", "flac", "flac")):
        cover = format != "flac"
        path = make.audio(name, sine(2, 44100), 44100, codec, tags=tags, cover=cover, format=format)
        info, samples, _ = read(path)
        assert (info.kind, info.title, info.width) == ("audio", "Chopin - Nocturne", None), name
        assert {type(sample) for sample in samples} == {AudioSample}


def test_creation_time_is_aware(make, read, sine):
    path = make.audio("a.m4a", sine(1, 44100), 44100, "aac", tags={"creation_time": "2024-02-03T04:05:06Z"})
    info, _, _ = read(path)
    assert info.captured_at is not None
    assert info.captured_at.isoformat() == "2024-02-03T04:05:06+00:00"


def test_mp4_with_only_sound_is_audio(make, read, sine):
    info, samples, _ = read(make.audio("a.mp4", sine(2, 44100), 44100, "aac"))
    assert (info.kind, info.format) == ("audio", "mp4")
    assert samples


@pytest.mark.parametrize(("name", "codec"), [("a.flac", "flac"), ("a.mka", "aac")])
def test_broken_tail_is_decoded_up_to_it_and_reported(make, read, sine, name, codec):
    path = make.audio(name, sine(20), 16000, codec)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    _, samples, problems = read(path)
    assert 6 < samples[-1].end_seconds < 14
    assert len(problems) == 1
    assert problems[0].startswith("decoding of the sound stopped at")


def test_no_sound_at_all_is_damaged(make, read, sine):
    path = make.audio("a.wav", sine(1))
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DamagedMediaError):
        read(path)


def test_nan_never_comes_out(make, read):
    sound = np.full(16000, np.nan, np.float32)
    _, samples, _ = read(make.audio("a.wav", sound, codec="pcm_f32le"))
    assert np.isfinite(joined(samples)).all()
