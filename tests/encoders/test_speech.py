from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest

from indexer.errors import ModelError
from indexer.types import AudioSample
from mmsearch.encoders import speech
from mmsearch.encoders.speech import SAMPLE_RATE, SpeechRecognizer, is_believable, snap, split_at_pauses

# Made with espeak-ng (public domain voices); tests/data/speech/README.md says how.
CLIPS = Path(__file__).parent.parent / "data" / "speech"


@pytest.fixture(scope="module")
def recognizer() -> SpeechRecognizer:
    return SpeechRecognizer()


def read(name: str) -> np.ndarray:
    with av.open(str(CLIPS / name)) as container:
        blocks = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    return np.concatenate(blocks).astype(np.float32) / 32768


def test_lines_are_heard_and_timed(recognizer):
    lines = recognizer.transcribe(AudioSample(read("two_lines_with_pauses.flac"), SAMPLE_RATE))
    assert [line.start_seconds for line in lines] == pytest.approx([3.0, 10.44], abs=0.5)
    assert [line.end_seconds for line in lines] == pytest.approx([6.4, 13.3], abs=0.5)
    assert "over the lazy dog" in lines[0].text
    assert "buy milk" in lines[1].text


def test_times_count_from_the_start_of_the_file(recognizer):
    waveform = read("meeting.flac")
    (line,) = recognizer.transcribe(AudioSample(waveform, SAMPLE_RATE))
    (later,) = recognizer.transcribe(AudioSample(waveform, SAMPLE_RATE, start_seconds=600.0))
    assert "thursday morning" in line.text.lower()
    assert later.text == line.text == line.text.strip()
    assert later.start_seconds == pytest.approx(line.start_seconds + 600)
    assert later.end_seconds == pytest.approx(line.end_seconds + 600)
    assert later.end_seconds <= 600 + len(waveform) / SAMPLE_RATE


def test_a_refrain_is_kept(recognizer):
    waveform = np.tile(read("two_lines_with_pauses.flac"), 4)
    lines = recognizer.transcribe(AudioSample(waveform, SAMPLE_RATE))
    assert sum("lazy dog" in line.text for line in lines) == 4


TIMES = np.arange(6 * SAMPLE_RATE) / SAMPLE_RATE


@pytest.mark.parametrize(
    "waveform",
    [
        np.zeros(0),
        np.ones(100),
        np.zeros_like(TIMES),
        np.full_like(TIMES, np.nan),
        0.5 * np.sin(2 * np.pi * 440 * TIMES),
        (TIMES * 110) % 1 - 0.5,
        0.2 * sum(np.sin(2 * np.pi * f * TIMES) for f in (262, 330, 392)) * (np.sin(4 * np.pi * TIMES) > 0),
        0.2 * np.random.default_rng(0).normal(size=TIMES.size),
        0.001 * np.random.default_rng(1).normal(size=TIMES.size),
    ],
    ids=["empty", "too short", "silence", "not a number", "tone", "saw", "chords", "white noise", "faint noise"],
)
def test_nothing_is_heard_where_nobody_speaks(recognizer, waveform):
    assert recognizer.transcribe(AudioSample(waveform.astype(np.float32), SAMPLE_RATE)) == []


def test_silence_does_not_load_the_model(monkeypatch):
    monkeypatch.setattr(speech, "installed_file", lambda weights: pytest.fail("loaded the model"))
    SpeechRecognizer().transcribe(AudioSample(np.zeros(SAMPLE_RATE * 3, np.float32), SAMPLE_RATE))


def test_another_sample_rate_is_refused(recognizer):
    with pytest.raises(ModelError, match="16000 Hz, got 8000 Hz"):
        recognizer.transcribe(AudioSample(np.zeros(8000, np.float32), 8000))


@dataclass
class Word:
    start: float
    end: float


def test_words_are_divided_at_pauses():
    words = [Word(0, 0.4), Word(0.5, 1), Word(1.49, 2), Word(2.5, 3)]
    assert split_at_pauses(words) == [words[:3], words[3:]]
    assert split_at_pauses([]) == []


def test_snaps_to_a_near_beginning_of_speech():
    onsets = np.array([2.0, 10.0])
    assert [snap(s, onsets) for s in (1.2, 2.9, 3.1, 9.0, 12.0)] == [2.0, 2.0, 3.1, 10.0, 12.0]


@pytest.mark.parametrize(
    ("text", "mean_log_probability", "no_speech_probability", "believable"),
    [
        ("We meet on Thursday.", -0.3, 0.1, True),
        ("We meet on Thursday.", -0.3, 0.9, True),  # likely words outweigh a doubt whether anyone spoke
        ("We meet on Thursday.", -1.3, 0.1, True),
        ("You", -1.3, 0.9, False),
        ("Beep " * 60, -0.04, 0.5, False),
    ],
)
def test_belief(text, mean_log_probability, no_speech_probability, believable):
    assert is_believable(text, mean_log_probability, no_speech_probability) is believable
