"""The speech recogniser: Whisper, which turns speech into timed lines. The installed one, tiny.en, hears English only.

Model: Radford et al., Robust Speech Recognition via Large-Scale Weak Supervision, ICML 2023 (MIT), run by
faster-whisper on CTranslate2. Only what a voice activity detector (Silero VAD, which faster-whisper
carries) takes for speech is listened to.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from indexer.cores import available_cores
from indexer.errors import ModelError, WeightsError
from indexer.types import AudioSample, TextSample
from mmsearch.encoders.speech_source import EMBEDDED_SPEECH, fingerprint_of, folder_of
from mmsearch.encoders.weights import WHISPER_TOKENIZER, WHISPER_WEIGHTS, installed_file

if TYPE_CHECKING:
    from faster_whisper import WhisperModel
    from faster_whisper.transcribe import Segment

SAMPLE_RATE = 16_000

# Counted up by hand whenever the code makes other lines of the same weights, beside mini.PREPROCESSING_VERSION.
VERSION = 1

# Whisper's own choice. With one beam it is 1.6 times as fast and hears "round-fark" for "brown fox".
BEAM_SIZE = 5

# As right as float32 on the tests' sentences, and 1.2 to 1.7 times as fast.
COMPUTE_TYPE = "int8"

# A word takes longer than this; Whisper makes up a line when given next to nothing.
SHORTEST_SECONDS = 0.2

# A pause this long ends a line.
PAUSE_SECONDS = 0.5

# How far from a beginning of speech a line is still taken to begin with it.
SNAP_SECONDS = 1.0

# The thresholds of Radford et al., section 4.5: a line is not believed when the model finds it unlikely
# and that nothing was said, or when it repeats itself so much that gzip takes it to under 1/2.4.
NO_SPEECH_PROBABILITY = 0.6
MEAN_LOG_PROBABILITY = -1.0
COMPRESSION_RATIO = 2.4


class SpeechRecognizer:
    """Timed lines of speech. The weights load on first use.

    Args:
        source: which Whisper; see speech_source.py.
    """

    sample_rate = SAMPLE_RATE

    def __init__(self, source: str = EMBEDDED_SPEECH) -> None:
        self._source = source

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits over the weights, the tokenizer and the code's version."""
        if self._source == EMBEDDED_SPEECH:
            parts = f"whisper {VERSION} {WHISPER_WEIGHTS.sha256} {WHISPER_TOKENIZER.sha256}"
        else:
            parts = f"whisper {VERSION} {fingerprint_of(self._source)}"
        return hashlib.sha256(parts.encode()).hexdigest()[:16]

    def transcribe(self, audio: AudioSample) -> list[TextSample]:
        """The lines spoken in a stretch of sound, timed from the start of the file; [] without speech."""
        if audio.sample_rate != SAMPLE_RATE:
            raise ModelError(
                f"the speech recogniser hears {SAMPLE_RATE} Hz, got {audio.sample_rate} Hz;"
                " decode the sound at the sample rate that the model's spec gives"
            )
        waveform = np.nan_to_num(audio.waveform, posinf=0.0, neginf=0.0)
        if len(waveform) < SHORTEST_SECONDS * SAMPLE_RATE or not waveform.any():
            return []
        onsets = _find_onsets(waveform)
        if not len(onsets):
            return []
        lines = []
        for segment in self._segments(waveform):
            for words in split_at_pauses(segment.words or []):
                text = "".join(word.word for word in words).strip()
                if text and is_believable(text, segment.avg_logprob, segment.no_speech_prob):
                    start = snap(float(words[0].start), onsets) + audio.start_seconds
                    # What is heard comes in windows of 30 s, which may end behind the sound.
                    start = min(max(start, audio.start_seconds), audio.end_seconds)
                    end = min(max(float(words[-1].end) + audio.start_seconds, start), audio.end_seconds)
                    lines.append(TextSample(text, start, end))
        return lines

    def _segments(self, waveform: NDArray[np.float32]) -> list[Segment]:
        segments, _ = self._model.transcribe(
            waveform,
            # None: it is told from what is said first, anew for each stretch of sound. An English model knows one.
            language="en" if self._source == EMBEDDED_SPEECH else None,
            beam_size=BEAM_SIZE,
            # One temperature, because the retries at higher ones draw at random: the same sound must give
            # the same lines. What a retry was meant to mend is dropped by `is_believable`.
            temperature=0.0,
            # A line that was made up must not make up the next ones.
            condition_on_previous_text=False,
            vad_filter=True,
            # Without the times of words a line after a pause begins where the one before it ended: up to
            # 40 s too early on the sentences of benchmarks/mini_speed.py.
            word_timestamps=True,
        )
        return list(segments)

    @cached_property
    def _model(self) -> WhisperModel:
        from faster_whisper import WhisperModel

        if self._source == EMBEDDED_SPEECH:
            installed_file(WHISPER_TOKENIZER)
            folder, advice = installed_file(WHISPER_WEIGHTS).parent, WHISPER_WEIGHTS.advice
        else:
            folder = folder_of(self._source)
            advice = "expected a Whisper converted for CTranslate2, all files of it from one conversion"
        try:
            return WhisperModel(
                str(folder),
                device="cpu",
                compute_type=COMPUTE_TYPE,
                cpu_threads=available_cores(),
                local_files_only=True,
            )
        except Exception as error:  # CTranslate2 and tokenizers raise whatever the files make them stumble over
            raise WeightsError(f"{folder} cannot be loaded: {error}; {advice}") from error


def split_at_pauses(words: Sequence[Any]) -> list[list[Any]]:
    """Words (with `start` and `end` in seconds) in groups, divided where nothing is said for a while."""
    groups: list[list[Any]] = []
    for word in words:
        if groups and word.start - groups[-1][-1].end < PAUSE_SECONDS:
            groups[-1].append(word)
        else:
            groups.append([word])
    return groups


def snap(seconds: float, onsets: NDArray[np.float64]) -> float:
    """The nearest beginning of speech, or `seconds` itself when none is near.

    The recogniser places the first word after a pause up to a second off; the voice activity detector
    is right within a quarter of one.
    """
    nearest = float(onsets[np.abs(onsets - seconds).argmin()])
    return nearest if abs(nearest - seconds) <= SNAP_SECONDS else seconds


def _find_onsets(waveform: NDArray[np.float32]) -> NDArray[np.float64]:
    """Where speech begins after a pause, in seconds; empty when nobody speaks."""
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    options = VadOptions(min_silence_duration_ms=round(PAUSE_SECONDS * 1000), speech_pad_ms=0)
    spans = get_speech_timestamps(waveform, options, sampling_rate=SAMPLE_RATE)
    return np.array([span["start"] for span in spans], dtype=np.float64) / SAMPLE_RATE


def is_believable(text: str, mean_log_probability: float, no_speech_probability: float) -> bool:
    """Whether a line was said, and not made up from noise or music."""
    encoded = text.encode()
    # Of the line alone: faster-whisper's own ratio is of 30 s together, where a refrain is no mistake.
    if len(encoded) / len(zlib.compress(encoded)) > COMPRESSION_RATIO:
        return False
    return mean_log_probability > MEAN_LOG_PROBABILITY or no_speech_probability < NO_SPEECH_PROBABILITY
