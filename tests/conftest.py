"""What every test gets: a library and a data folder of its own, and no way to a model hub."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from fake_hub import FakeHub

if TYPE_CHECKING:
    from mmsearch import Engine

# How long an example takes, or making it, says more about what else the machine does.
hypothesis.settings.register_profile("mmsearch", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("mmsearch")

# A shell's job in the background ignores Ctrl-C, and so would the processes that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Read when transformers and huggingface_hub are imported, so it is set before any test module is.
os.environ["HF_HUB_OFFLINE"] = "1"
# What the user has fetched is not for the tests, which would else take another model than where nothing was fetched.
os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="mmsearch-tests-hub-")
os.environ.pop("HF_HUB_CACHE", None)


def pytest_unconfigure() -> None:
    shutil.rmtree(os.environ["HF_HOME"], ignore_errors=True)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub on this machine, which this process and those that it starts take for the hub; with an empty cache."""
    from huggingface_hub import constants

    from mmsearch.encoders import hub as asked

    with FakeHub() as fake:
        for name, value in {
            "HF_ENDPOINT": fake.url,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1",
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("HF_HUB_OFFLINE")
        monkeypatch.setattr(constants, "ENDPOINT", fake.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", fake.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(asked, "_probed", {})
        yield fake


@pytest.fixture(autouse=True)
def _own_library(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tests out of the user's libraries.

    The cache of unpacked weights is left where it is: unpacking them once is enough. Tiny text towers do not go there.
    """
    monkeypatch.setenv("MMSEARCH_KEEP_TEXT", "off")
    folder = tmp_path_factory.mktemp("user")
    monkeypatch.setenv("MMSEARCH_LIBRARY", str(folder / "library"))
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))


@pytest.fixture
def exit_code(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run `mmsearch ...` in this process, with the arguments that are given; gives how it exits."""
    from mmsearch import cli

    def exit_code(*args: object) -> int:
        monkeypatch.setattr(sys, "argv", ["mmsearch", *map(str, args)])
        try:
            cli.main()
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    return exit_code


@pytest.fixture
def fake_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library takes the fake model, whatever it asks for."""
    from indexer.testing import FakeEncoder

    monkeypatch.setattr("mmsearch.engine.load_encoder", FakeEncoder)
    monkeypatch.setattr("mmsearch.engine.DEFAULT_MODEL", "fake")


@pytest.fixture
def run(
    fake_by_default: None, exit_code: Callable[..., int], capsysbinary: pytest.CaptureFixture[bytes]
) -> Callable[..., tuple[int, str, str]]:
    """Run `mmsearch ...` in this process with the fake model; gives (exit code, standard output, standard error)."""

    def run(*args: object) -> tuple[int, str, str]:
        code = exit_code(*args)
        out, err = capsysbinary.readouterr()
        return code, out.decode("utf-8", "surrogateescape"), err.decode("utf-8", "surrogateescape")

    return run


@pytest.fixture(scope="session")
def tiny_fast(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of a tiny open_clip model and a tiny CLAP, by the repositories that they are published as."""
    from tiny_models import TinyOpenClip, save_clap

    folder = tmp_path_factory.mktemp("tiny_fast")
    return {"someone/tiny": TinyOpenClip.save(folder / "tiny"), "someone/clap": save_clap(folder / "clap")}


@pytest.fixture
def fast_hub(hub: FakeHub, tiny_fast: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    """The hub with a tiny model on it that goes by the name of `fast`."""
    from mmsearch.encoders.models import MODELS

    hub.add("someone/tiny", tiny_fast["someone/tiny"], license="mit")
    hub.add("someone/clap", tiny_fast["someone/clap"], license="apache-2.0")
    monkeypatch.setitem(MODELS, "fast", replace(MODELS["fast"], parts=FAST))
    return hub


FAST = "open_clip:hf-hub:someone/tiny+clap:someone/clap"


@pytest.fixture(scope="session")
def photographs() -> Path:
    """The folder of real photographs that the scikit-image wheel carries."""
    spec = importlib.util.find_spec("skimage")  # found, not imported: only its files are wanted
    if spec is None or spec.origin is None:
        pytest.skip("needs the photographs of scikit-image: pip install -e '.[dev]'")
    folder = Path(spec.origin).parent / "data"
    if not (folder / "chelsea.png").is_file():
        pytest.skip(f"this scikit-image carries no photographs in {folder}")
    return folder


class Makers:
    """Small media files whose vectors under `FakeEncoder` can be worked out by hand."""

    @staticmethod
    def image(path: Path, *colours: tuple[int, int, int]) -> Path:
        """A picture of equal vertical stripes, lossless: PNG under any suffix that Pillow writes as it is told."""
        import numpy as np
        from PIL import Image

        path.parent.mkdir(parents=True, exist_ok=True)
        stripes = np.repeat(np.array([colours], np.uint8), 16, axis=0).repeat(16, axis=1)
        Image.fromarray(stripes).save(path, format="PNG")
        return path

    @staticmethod
    def tones(path: Path, words: Sequence[str | None], *, rate: int = 8000) -> Path:
        """A WAV file that says one word a second, as `FakeEncoder` hears it; None is a second of silence."""
        import wave

        path.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(_samples(words, rate).tobytes())
        return path

    @staticmethod
    def video(
        path: Path, colours: Sequence[tuple[int, int, int]], words: Sequence[str | None] = (), *, fps: int = 10
    ) -> Path:
        """A video that shows one colour a second and, if words are given, says one word a second."""
        from fractions import Fraction

        import av
        import numpy as np

        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=fps, options={"g": str(fps), "crf": "10"})
            stream.width = stream.height = 64
            stream.pix_fmt = "yuv420p"
            sound = container.add_stream("aac", rate=16000, layout="mono") if words else None
            for number in range(len(colours) * fps):
                picture = np.full((64, 64, 3), colours[number // fps], np.uint8)
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, fps)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
            if sound is not None:
                samples = _samples(words, 16000)
                for start in range(0, len(samples), 1024):
                    block = samples[start : start + 1024].reshape(1, -1)
                    frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
                    frame.sample_rate, frame.pts, frame.time_base = 16000, start, Fraction(1, 16000)
                    container.mux(sound.encode(frame))
                container.mux(sound.encode(None))
        return path


def _samples(words: Sequence[str | None], rate: int):
    """One second of each word's tone: (len(words) * rate,) int16."""
    import numpy as np

    from indexer.testing import frequency_of

    times = np.arange(rate) / rate
    seconds = [np.zeros(rate) if w is None else 0.5 * np.sin(2 * np.pi * frequency_of(w) * times) for w in words]
    return (np.concatenate(seconds) * 32767).astype(np.int16)


@pytest.fixture(scope="session")
def make() -> type[Makers]:
    """Makers of small media files: `make.image`, `make.tones`, `make.video`."""
    return Makers


@pytest.fixture(scope="session")
def snapshot() -> Callable[[Engine], list[tuple[Any, ...]]]:
    """Everything that a library says of its files, ids left out, in an order of its own: to compare two libraries."""
    return _snapshot


def _snapshot(engine: Engine) -> list[tuple[Any, ...]]:
    from sqlalchemy import text

    store = engine._library.store
    generation_id, _ = store.generation()
    with store.reading() as connection:
        rows = connection.execute(
            text(
                "SELECT root.path, file.directory, file.name, file.state, file.size, content.digest, content.kind,"
                " content.width, content.duration_seconds, segment.channel, segment.start_seconds,"
                " segment.end_seconds, segment.text, segment.look, segment.norm, segment.vector"
                " FROM file JOIN root ON root.id = file.root_id"
                " LEFT JOIN content ON content.id = file.content_id"
                " LEFT JOIN encoding ON encoding.content_id = content.id"
                " LEFT JOIN segment ON segment.encoding_id = encoding.id"
            )
        ).all()
    ids = {channel: sorted(engine._library.index(channel).ids.tolist()) for channel in ("visual", "speech", "text")}
    for channel, found in ids.items():
        assert found == store.segment_ids(generation_id, channel).tolist()
    return sorted((tuple(row) for row in rows), key=repr)
