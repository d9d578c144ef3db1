"""Make examples/media/ again, from packages that carry its sources. Not run by users: its output is in the repository.

Needs the Debian packages espeak-ng and openclipart-png, and the `dev` extra (for the photographs in scikit-image):

    apt-get install espeak-ng openclipart-png
    .venv/bin/python examples/make_media.py

Who made what, and under which terms, is in examples/ATTRIBUTION.md; change the two together.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import tempfile
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray
from PIL import Image

MEDIA = Path(__file__).parent / "media"
CLIPART = Path("/usr/share/openclipart/png")

# name here, file in scikit-image's data folder, who made it and how it was given away
PHOTOGRAPHS = [
    ("photos/astronaut.jpg", "astronaut.png", "NASA", "public domain"),
    ("photos/bricks.jpg", "brick.png", "CC0Textures", "CC0"),
    ("photos/cameraman.jpg", "camera.png", "Lav Varshney", "CC0"),
    ("photos/cat.jpg", "chelsea.png", "Stefan van der Walt", "CC0"),
    ("photos/coffee.jpg", "coffee.png", "Rachel Michetti", "CC0"),
    ("photos/galaxies.jpg", "hubble_deep_field.jpg", "NASA", "public domain"),
    ("photos/rocket.jpg", "rocket.jpg", "SpaceX", "public domain"),
]
LONGER_SIDE = 640
JPEG_QUALITY = 85

DRAWINGS = [
    ("drawings/butterfly.png", "animals/bugs/butterfly_jonathan_dietr_01.png"),
    ("drawings/guitar.png", "recreation/music/guitar_jarno_vasamaa1.png"),
    ("drawings/ladybird.png", "animals/bugs/ladybug_01.png"),
    ("drawings/lighthouse.png", "buildings/lighthouse_matthew_gates_.png"),
    ("drawings/penguin.png", "animals/birds/emperor_penguin_ralf_ste_01.png"),
    ("drawings/pineapple.png", "food/fruit/pineapple.png"),
    ("drawings/pizza.png", "food/pizza_pepperoni.png"),
    ("drawings/sailing.png", "recreation/holiday/sailing_sunset.png"),
]
DRAWING_SIDE = 400

VOICE = ["-v", "en-us", "-s", "140"]
PAUSE_SECONDS = 0.9

# name, codec, samples per second, bits per second (None: lossless), title, sentences
RECORDINGS = [
    (
        "audio/weather.opus",
        "libopus",
        24_000,
        32_000,
        "Evening weather report",
        [
            "Good evening, and here is the weather forecast.",
            "Tonight, heavy rain will move in from the west, with strong winds along the coast.",
            "The sky will clear before sunrise.",
            "Tomorrow will be dry and sunny, with temperatures of twenty degrees in the afternoon.",
        ],
    ),
    (
        "audio/recipe.mp3",
        "libmp3lame",
        22_050,
        48_000,
        "Pancakes",
        [
            "This is how my grandmother makes pancakes.",
            "Mix three eggs, a glass of milk, and some flour in a large bowl.",
            "Let the mixture rest for half an hour.",
            "Melt some butter in a hot pan, and fry each pancake until it is golden brown on both sides.",
        ],
    ),
    (
        "audio/station.flac",
        "flac",
        16_000,
        None,
        "Railway station",
        [
            "Attention, passengers.",
            "The express train to the airport is delayed by twenty five minutes.",
            "It will now leave from platform nine.",
            "We are sorry for the delay.",
        ],
    ),
]

VIDEO = "video/slideshow.mp4"
VIDEO_TITLE = "From the kitchen to the stars"
VIDEO_SIZE = (640, 360)
FRAMES_PER_SECOND = 25
VIDEO_AUDIO_RATE = 24_000
# photograph, what is said over it; a scene lasts as long as its sentence and the pause after it
SCENES = [
    ("coffee.png", "Every morning begins in the kitchen, with something hot to drink."),
    ("chelsea.png", "The youngest member of the family has just woken up, and she is hungry."),
    ("rocket.jpg", "Far away, in Florida, a satellite is launched into orbit around the sun."),
    ("astronaut.png", "This woman was the first to command a space shuttle."),
    ("hubble_deep_field.jpg", "And the light of these galaxies has travelled for billions of years."),
]

TEXTS = {
    "documents/balcony-garden.md": """\
# Notes on the balcony garden

## Tomatoes

Sow the seeds on a warm window sill in March. The young plants move outside after the last frost, which here is in the
middle of May. They want a deep pot, full sun, and water every evening in July and August. Pinch out the side shoots.

## Bees

Lavender, thyme and borage bring bumblebees even to the fourth floor. A shallow dish of water with a few pebbles in it
keeps them from drowning.

## Winter

Wrap the pots of the olive and the rosemary in fleece before the first night below zero. The geraniums go to the cellar.
""",
    "documents/letter.txt": """\
Dear Anna,

thank you for the keys to the cabin. We arrived late on Friday, in deep snow, and had to dig out the door before we
could light the stove. On Saturday we skied to the frozen lake and back, about eighteen kilometres, and met nobody but
a fox.

The pump in the kitchen leaks a little. I have tightened the joint, but somebody should look at the pipe before spring.

The spare key hangs where you said, behind the woodpile.

With love from all of us,
Martin
""",
    "documents/lecture.srt": """\
1
00:00:01,000 --> 00:00:05,500
Welcome to the third lecture, on how volcanoes erupt.

2
00:00:06,000 --> 00:00:12,000
Magma rises because it is lighter
than the rock around it.

3
00:00:12,500 --> 00:00:19,000
Gas that was dissolved under pressure forms bubbles,
like in a bottle of lemonade that is opened.

4
00:00:20,000 --> 00:00:26,000
Runny lava makes flat, wide mountains;
sticky lava makes steep ones, and they explode.

5
00:00:27,000 --> 00:00:32,000
Next week we will turn to earthquakes.
""",
}


def skimage_data() -> Path:
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise SystemExit("scikit-image is not installed: pip install -e '.[dev]'")
    return Path(spec.origin).parent / "data"


def make_photographs() -> None:
    for name, source, maker, terms in PHOTOGRAPHS:
        picture = Image.open(skimage_data() / source).convert("RGB")
        picture.thumbnail((LONGER_SIDE, LONGER_SIDE), Image.Resampling.LANCZOS)
        exif = Image.Exif()
        exif[0x013B] = maker  # Artist
        exif[0x8298] = terms  # Copyright
        picture.save(MEDIA / name, quality=JPEG_QUALITY, optimize=True, exif=exif)


def make_drawings() -> None:
    for name, source in DRAWINGS:
        drawing = Image.open(CLIPART / source).convert("RGBA")
        drawing = drawing.crop(drawing.getchannel("A").getbbox())
        drawing.thumbnail((DRAWING_SIDE, DRAWING_SIDE), Image.Resampling.LANCZOS)
        drawing.save(MEDIA / name, optimize=True)


def speak(sentence: str) -> tuple[NDArray[np.int16], int]:
    """The sentence as espeak-ng says it, (samples,) int16, and its samples per second."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        subprocess.run(["espeak-ng", *VOICE, "-w", str(path), sentence], check=True)
        with wave.open(str(path)) as file:
            return np.frombuffer(file.readframes(file.getnframes()), np.int16), file.getframerate()


def speak_with_pauses(sentences: list[str]) -> tuple[NDArray[np.int16], int, list[float]]:
    """All sentences, each followed by a pause: the samples, their rate, and the seconds that each takes."""
    parts, seconds, rate = [], [], 0
    for sentence in sentences:
        samples, rate = speak(sentence)
        part = np.concatenate([samples, np.zeros(round(PAUSE_SECONDS * rate), np.int16)])
        parts.append(part)
        seconds.append(len(part) / rate)
    return np.concatenate(parts), rate, seconds


def encode_audio(
    container: av.container.OutputContainer, stream: av.AudioStream, samples: NDArray[np.int16], rate: int
) -> None:
    frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="s16", layout="mono")
    frame.sample_rate = rate
    frame.time_base = Fraction(1, rate)
    frame.pts = 0
    resampler = AudioResampler(stream.format.name, "mono", stream.rate, frame_size=stream.codec_context.frame_size)
    for part in [*resampler.resample(frame), *resampler.resample(None)]:
        container.mux(stream.encode(part))
    container.mux(stream.encode(None))


def make_recordings() -> None:
    for name, codec, rate, bit_rate, title, sentences in RECORDINGS:
        samples, spoken_rate, _ = speak_with_pauses(sentences)
        with av.open(str(MEDIA / name), "w", options={"fflags": "+bitexact"}) as container:
            container.metadata["title"] = title
            stream = container.add_stream(codec, rate=rate, layout="mono")
            if bit_rate is not None:
                stream.bit_rate = bit_rate
            stream.codec_context.open()
            encode_audio(container, stream, samples, spoken_rate)


def pan(picture: Image.Image, position: float) -> Image.Image:
    """The window on a picture at `position` from 0 to 1 of a slow move across it, at the size of the video."""
    width, height = VIDEO_SIZE
    window_width = min(picture.width, picture.height * width / height) * (1 - 0.15 * position)
    window_height = window_width * height / width
    left = (picture.width - window_width) * position
    top = (picture.height - window_height) * 0.3 * position
    return picture.resize(
        VIDEO_SIZE, Image.Resampling.BICUBIC, box=(left, top, left + window_width, top + window_height)
    )


def make_video() -> None:
    samples, spoken_rate, seconds = speak_with_pauses([sentence for _, sentence in SCENES])
    with av.open(str(MEDIA / VIDEO), "w", options={"movflags": "+faststart", "fflags": "+bitexact"}) as container:
        container.metadata["title"] = VIDEO_TITLE
        video = container.add_stream("libx264", rate=FRAMES_PER_SECOND, options={"crf": "27", "preset": "slow"})
        video.width, video.height = VIDEO_SIZE
        video.pix_fmt = "yuv420p"
        video.codec_context.thread_count = 1  # the same bytes at every run
        audio = container.add_stream("aac", rate=VIDEO_AUDIO_RATE, layout="mono")
        audio.bit_rate = 48_000
        audio.codec_context.open()
        shown = 0
        for (source, _), end in zip(SCENES, np.cumsum(seconds), strict=True):
            picture = Image.open(skimage_data() / source).convert("RGB")
            frames = round(end * FRAMES_PER_SECOND) - shown
            for index in range(frames):
                frame = av.VideoFrame.from_image(pan(picture, index / frames))
                container.mux(video.encode(frame))
            shown += frames
        container.mux(video.encode(None))
        encode_audio(container, audio, samples, spoken_rate)


def make_texts() -> None:
    for name, text in TEXTS.items():
        (MEDIA / name).write_text(text, encoding="utf-8", newline="\n")


def main() -> None:
    shutil.rmtree(MEDIA, ignore_errors=True)
    names = [row[0] for rows in (PHOTOGRAPHS, DRAWINGS, RECORDINGS) for row in rows]
    for name in [*names, *TEXTS, VIDEO]:
        (MEDIA / name).parent.mkdir(parents=True, exist_ok=True)
    make_photographs()
    make_drawings()
    make_recordings()
    make_video()
    make_texts()
    total = sum(path.stat().st_size for path in MEDIA.rglob("*") if path.is_file())
    print(f"{MEDIA}: {total / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
