"""What benchmarks/encode.py measures of the pipeline: decoding, encoding, and both with all around them."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _alternate import Speed, alternate
from _encode_towers import BATCH, ONNX_BATCH, onnx_session
from _photographs import make_photographs
from _random_models import CLIP, clip_onnx, clip_weights
from PIL import Image

from indexer.buffer import BoundedBuffer
from indexer.cores import available_cores
from indexer.decode import Decoders, Prepared
from indexer.job import Job
from indexer.library import Library
from indexer.report import IndexOptions
from indexer.scan import FoundFile
from indexer.types import DecodeSettings, Encoder, ModelSpec, Sample, TextSample, TowerSpec, Vectors
from mmsearch import Engine
from mmsearch.encoders import load_encoder


class Device:
    """An encoder as one on a GPU is to the pipeline: at work elsewhere, it costs the cores nothing.

    Pictures are prepared as `like` does, and come back `rate` a second, as vectors of noise.
    """

    def __init__(self, like: Encoder, rate: float) -> None:
        self._like, self._rate, self._random = like, rate, np.random.default_rng(0)
        visual = like.spec.tower_of("visual")
        text = TowerSpec("text", visual.space, visual.dim)
        self.spec = ModelSpec(
            name="device",
            fingerprint="0" * 16,
            towers=(visual, text),
            channels=(("visual", visual), ("text", text)),
            image_side=like.spec.image_side,
            sample_rate=None,
            max_tokens=64,
            transcribes=False,
        )

    def prepare(self, tower: TowerSpec, sample: Sample) -> Any:
        return None if isinstance(sample, TextSample) else self._like.prepare(tower, sample)

    def encode(self, tower: TowerSpec, prepared: Sequence[Any]) -> Vectors:
        if tower.modality == "image":
            time.sleep(len(prepared) / self._rate)
        vectors = self._random.standard_normal((len(prepared), tower.dim)).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def transcribe(self, audio: object) -> list[TextSample]:
        return []

    def count_tokens(self, text: str, tower: TowerSpec | None = None) -> int:
        return len(text.split()) + 2


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Speeds of decoding, encoding and both, and how near the last comes to what these allow.

    `bound` is the slower of decoding and encoding alone. `shared` is what is left when both use the same cores, and so
    the least they take is the sum of both: 1 / (1 / decode + 1 / encode).
    """

    pictures: str
    encoder: str
    decode: Speed
    encode: Speed
    index: Speed

    @property
    def bound(self) -> float:
        return min(self.decode.rate, self.encode.rate)

    @property
    def shared(self) -> float:
        return 1 / (1 / self.decode.rate + 1 / self.encode.rate)


def measure(folder: Path, count: int, size: tuple[int, int], rounds: int) -> tuple[list[Pipeline], dict[str, Speed]]:
    """The pipeline with ViT-B-32 on these cores and on a device; and other ways to decode and index the same files."""
    files = make_photographs(folder / f"{size[0]}x{size[1]}-{count}", count, size)
    encoder = load_encoder(f"open_clip:{CLIP}/{clip_weights(folder)}")
    tower = encoder.spec.tower_of("visual")
    prepared = [event.prepared for event in _decoded(encoder, files)]
    ways: dict[str, Callable[[], int]] = {
        "decode": lambda: sum(1 for _ in _decoded(encoder, files)),
        "encode": lambda: sum(len(encoder.encode(tower, batch)) for batch in _batches(prepared, BATCH)),
        "index": lambda: _index(encoder, calibrated, files[0].parent),
        "JPEG, Pillow, whole": lambda: _open_all(files, None),
        "JPEG, Pillow, DCT scaled": lambda: _open_all(files, encoder.spec.image_side),
    }
    ways.update(_simplejpeg(files, encoder.spec.image_side))
    try:
        session = onnx_session(clip_onnx(folder)[0])
        ways["as rclip: whole JPEG, ONNX"] = lambda: _index_as_rclip(session, files)
    except ImportError as error:
        print(f"left out: rclip's way ({error}; pip install onnx onnxruntime)")
    with _calibrated(encoder) as calibrated:
        speeds = alternate(ways, rounds, 0)
    decode, encode, index = (speeds.pop(name) for name in ("decode", "encode", "index"))
    pictures = f"{count} of {size[0]} x {size[1]}"
    precision = encoder.spec.precision or "float32"
    rows = [Pipeline(pictures, f"ViT-B-32, {precision}, these cores", decode, encode, index)]
    for share in (0.5, 0.9):
        rate = round(decode.rate * share, 1)
        device = Device(encoder, rate)
        with _calibrated(device) as calibrated:
            both = alternate(
                {
                    "decode": lambda e=device: sum(1 for _ in _decoded(e, files)),
                    "index": lambda e=device: _index(e, calibrated, files[0].parent),
                },
                rounds,
                0,
            )
        rows.append(Pipeline(pictures, f"a device of {rate:.0f}/s", both["decode"], Speed(rate, 0.0), both["index"]))
    return rows, speeds


def _batches(values: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (values[at : at + size] for at in range(0, len(values), size))


def _decoded(encoder: Encoder, files: Sequence[Path]) -> Iterator[Prepared]:
    """All that the decoding threads do: hash, ask the store, decode, work out the look, shrink to the tower's input."""
    settings = DecodeSettings(
        image_side=encoder.spec.image_side,
        sample_rate=encoder.spec.sample_rate,
        count_tokens=encoder.count_tokens,
        max_tokens=encoder.spec.max_tokens,
    )
    with tempfile.TemporaryDirectory() as place, closing(Library.open(Path(place), create=True)) as library:
        generation = library.use(encoder.spec)
        to_open: BoundedBuffer[Job | None] = BoundedBuffer(len(files) + 64)
        to_encode: BoundedBuffer[Any] = BoundedBuffer(2**40)
        failed: list[Exception] = []
        decoders = Decoders(library.store, generation, encoder, settings, to_open, to_encode, failed.append)
        threads = [threading.Thread(target=decoders.work) for _ in range(IndexOptions().workers)]
        for file in files:
            status = file.stat()
            found = FoundFile("", file.name, str(file), status.st_size, status.st_mtime_ns)
            to_open.put(Job(1, found, is_new=True))
        for thread in threads:
            to_open.put(None)
            thread.start()
        whole = 0
        while whole < len(files):
            event = to_encode.get(60)
            if event is None or failed:
                raise RuntimeError(f"decoding came to a halt: {failed}")
            if isinstance(event, Prepared):
                whole += 1
                yield event
        for thread in threads:
            thread.join()


@contextmanager
def _calibrated(encoder: Encoder) -> Iterator[Path]:
    """A library with one picture. The first run also asks it some hundred texts, which is not measured."""
    with tempfile.TemporaryDirectory() as place:
        Image.new("RGB", (640, 480), "red").save(Path(place) / "first.png")
        with Engine.open(Path(place) / "library", model=encoder) as engine:
            engine.index(Path(place) / "first.png")
        yield Path(place) / "library"


def _index(encoder: Encoder, calibrated: Path, folder: Path) -> int:
    with tempfile.TemporaryDirectory() as place:
        library = shutil.copytree(calibrated, Path(place) / "library")
        with Engine.open(library, model=encoder) as engine:
            report = engine.index(folder)
    if report.failed or not report.added:
        raise RuntimeError(f"indexing failed: {report}")
    return report.added


def _in_threads(work: Callable[[Path], object], files: Sequence[Path]) -> int:
    with ThreadPoolExecutor(available_cores()) as pool:
        return sum(1 for _ in pool.map(work, files))


def _open_all(files: Sequence[Path], side: int | None) -> int:
    def work(path: Path) -> None:
        with Image.open(path) as image:
            if side is not None:
                image.draft(None, (side, side))
            image.load()

    return _in_threads(work, files)


def _simplejpeg(files: Sequence[Path], side: int) -> dict[str, Callable[[], int]]:
    try:
        from simplejpeg import decode_jpeg
    except ImportError:
        return {}

    def work(path: Path) -> None:
        decode_jpeg(path.read_bytes(), min_height=side, min_width=side)

    return {"JPEG, simplejpeg, DCT scaled": lambda: _in_threads(work, files)}


def _index_as_rclip(session: Any, files: Sequence[Path]) -> int:
    """What rclip 3.3 does to index pictures, short of its database: written anew after reading it, without its code.

    Threads decode whole pictures, shrink them (bicubic) and normalise them to float32, three batches ahead of ONNX.
    """

    def load(path: Path) -> np.ndarray[Any, Any]:
        image = Image.open(path).convert("RGB")
        scale = 224 / min(image.size)
        image = image.resize((int(image.width * scale), int(image.height * scale)), Image.Resampling.BICUBIC)
        left, top = (image.width - 224) // 2, (image.height - 224) // 2
        values = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32) / 255
        return np.ascontiguousarray(((values - 0.45) / 0.27).transpose(2, 0, 1), np.float32)

    done, ahead = 0, deque[Future[Any]]()
    left = iter(files)
    with ThreadPoolExecutor(available_cores()) as pool:
        batch: list[Any] = []
        while True:
            while len(ahead) < 3 * ONNX_BATCH and (path := next(left, None)) is not None:
                ahead.append(pool.submit(load, path))
            if ahead:
                batch.append(ahead.popleft().result())
            if batch and (len(batch) == ONNX_BATCH or not ahead):
                done += len(session.run(None, {"input": np.stack(batch)})[0])
                batch.clear()
            if not ahead and not batch:
                return done
