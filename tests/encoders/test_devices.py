"""Where towers compute. The way of a GPU is run on the processor, with the same code; on a card where there is one."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from indexer.errors import UsageError
from indexer.types import ImageSample, TextSample
from mmsearch.encoders import devices, load_encoder

RANDOM = np.random.default_rng(0)

gpu = pytest.mark.gpu
needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a GPU that torch can use; there is none here"
)


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    device = devices.device  # a test may put another in its place
    device.cache_clear()
    monkeypatch.setattr(devices, "_fitting", {})
    yield
    device.cache_clear()


def chunks(*rows: int, width: int = 4):
    return [{"x": RANDOM.normal(size=(n, width)).astype(np.float32)} for n in rows]


class Seen:
    """A network that notes how many inputs come at once, and runs out of memory above `room`."""

    def __init__(self, room: int = 10**9) -> None:
        self.rows: list[int] = []
        self.room = room
        self.weights = torch.from_numpy(RANDOM.normal(size=(4, 3)).astype(np.float32))

    def __call__(self, inputs):
        self.rows.append(len(inputs["x"]))
        if len(inputs["x"]) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return inputs["x"] @ self.weights


def expected(network, parts):
    rows = np.concatenate([part["x"] for part in parts]) @ network.weights.numpy()
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_both_ways_give_the_same_vectors_in_order():
    parts = chunks(8, 8, 3, 8, 1)
    network = Seen()
    want = expected(network, parts)
    by_threads = devices.run(network, parts, dict, torch.float32, 3)
    by_card = devices.on_card(network, iter(parts), torch.float32, "cpu")
    for found in (by_threads, by_card):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, want, atol=1e-6)


def test_chunks_of_one_shape_go_together_and_others_apart():
    network = Seen()
    devices.on_card(network, iter(chunks(8, 8, 8, 8, 1)), torch.float32, "cpu")
    assert network.rows == [16, 16, 1]
    network.rows.clear()
    network.weights = torch.ones(1, 3)
    mixed = [*chunks(8, width=1), *chunks(8, width=1), *chunks(2, width=1)]
    devices._fitting[devices._shape(mixed[0], "cpu")] = 500
    devices.on_card(network, iter(mixed), torch.float32, "cpu")
    assert network.rows == [18]


def test_a_batch_that_does_not_fit_is_halved_and_what_fits_is_remembered():
    network, parts = Seen(room=3), chunks(8, 8, 8)
    want = expected(network, parts)
    np.testing.assert_allclose(devices.on_card(network, iter(parts), torch.float32, "cpu"), want, atol=1e-6)
    assert max(network.rows[network.rows.index(2) :]) <= 8
    assert set(devices._fitting.values()) == {2}
    network.rows.clear()
    devices.on_card(network, iter(chunks(1, 1, 1, 1)), torch.float32, "cpu")
    assert network.rows == [2, 2]


def test_one_input_that_does_not_fit_is_an_error():
    with pytest.raises(torch.OutOfMemoryError):
        devices.on_card(Seen(room=0), iter(chunks(4)), torch.float32, "cpu")


def test_the_batch_is_sized_by_what_the_first_one_took(monkeypatch):
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _where: 1_000 + 16 * 100)
    devices._learn("key", 16, (100_000, 1_000), "cuda")
    assert devices._fitting == {"key": 512}
    devices._fitting.clear()
    devices._learn("key", 16, (10_000, 1_000), "cuda")
    assert devices._fitting == {"key": 60}  # 0.6 of 10,000 free bytes, at 100 bytes each
    devices._learn("key", 16, (100, 1_000), "cuda")
    assert devices._fitting == {"key": 60}


def test_floating_point_goes_to_the_precision_and_the_rest_stays():
    inputs = {"x": np.ones((2, 3), np.float32), "ids": np.ones((2, 3), np.int64), "mask": np.ones((2, 1), np.bool_)}
    found = devices._tensors(inputs, torch.bfloat16)
    assert [found[name].dtype for name in inputs] == [torch.bfloat16, torch.int64, torch.bool]


def test_no_chunks_are_no_vectors():
    assert devices.run(Seen(), [], dict, torch.float32, 7).shape == (0, 7)


@pytest.mark.parametrize("asked", ["cuda:99", "mps", "gpu", "cuda:x"])
def test_a_device_that_there_is_not_is_refused(monkeypatch, asked):
    monkeypatch.setenv("MMSEARCH_DEVICE", asked)
    with pytest.raises(UsageError, match=f"MMSEARCH_DEVICE={asked} cannot be used.*torch sees"):
        devices.device()


def test_the_processor_can_be_asked_for(monkeypatch):
    monkeypatch.setenv("MMSEARCH_DEVICE", "cpu")
    monkeypatch.setattr(devices, "_may_have_gpu", lambda: pytest.fail("looked for a GPU"))
    assert devices.device() == "cpu"
    assert devices.gpu_precision() is None
    assert devices.batch_size(32) == 32


def test_looking_for_a_gpu_where_there_is_no_driver_imports_no_torch():
    code = (
        "import sys; from mmsearch.encoders import devices; devices._may_have_gpu = lambda: False\n"
        "sys.stdout.write(devices.device() + ' ' + str('torch' in sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "cpu False"


@pytest.mark.parametrize(("capability", "want"), [((8, 0), "bfloat16"), ((9, 0), "bfloat16"), ((7, 5), "float16")])
def test_a_gpu_computes_in_what_it_knows(monkeypatch, capability, want):
    from mmsearch.encoders.precision import choose_precision

    monkeypatch.delenv("MMSEARCH_PRECISION", raising=False)
    monkeypatch.setattr(devices, "device", lambda: "cuda")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _where: capability)
    assert choose_precision() == want
    assert devices.batch_size(32) == 256


def vectors_of(model: str, precision: str):
    encoder = load_encoder(model, precision=precision)
    spec = encoder.spec
    pictures = [RANDOM.integers(0, 256, (40, 50, 3), np.uint8) for _ in range(9)]
    texts = ["a cat", "a dog in the park", "b"] * 3
    for tower, samples in (
        (spec.tower_of("visual"), [ImageSample(pixels) for pixels in pictures]),
        (spec.query_tower("text", "visual"), [TextSample(text) for text in texts]),
    ):
        prepared = [encoder.prepare(tower, sample) for sample in samples]
        yield encoder, tower, prepared, encoder.encode(tower, prepared)


def test_towers_go_the_way_of_a_gpu(tiny_fast, monkeypatch):
    """The towers' own networks and inputs through the code for a card, on the processor."""
    for encoder, tower, prepared, want in vectors_of(f"open_clip:{tiny_fast['someone/tiny']}", "float32"):
        with monkeypatch.context() as patch:
            patch.setattr(
                devices,
                "run",
                lambda forward, chunks, prepare, dtype, _dim: devices.on_card(
                    forward, map(prepare, chunks), dtype, "cpu"
                ),
            )
            np.testing.assert_allclose(encoder.encode(tower, prepared), want, atol=1e-5)


@gpu
@needs_gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_gpu_gives_the_vectors_of_the_processor(tiny_fast, monkeypatch, precision):
    found = {}
    for where in ("cpu", "cuda"):
        devices.device.cache_clear()
        monkeypatch.setenv("MMSEARCH_DEVICE", where)
        RANDOM.bit_generator.state = np.random.default_rng(1).bit_generator.state
        model = f"open_clip:{tiny_fast['someone/tiny']}"
        found[where] = [v for *_, v in vectors_of(model, "float32" if where == "cpu" else precision)]
    for one, other in zip(*found.values(), strict=True):
        assert (one * other).sum(axis=1).min() > (0.9999 if precision == "float32" else 0.995)


@gpu
@needs_gpu
def test_a_batch_on_a_gpu_grows_to_what_fits(monkeypatch):
    monkeypatch.setenv("MMSEARCH_DEVICE", "cuda")
    network = Seen()
    network.weights = network.weights.cuda()
    devices.run(network, chunks(*[8] * 40), dict, torch.float32, 3)
    assert network.rows[0] == 16
    assert max(network.rows) > 16
