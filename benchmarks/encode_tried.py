"""Ways to run the towers that were tried: how fast each is, and how near its vectors are to those of float32.

usage: python benchmarks/encode_tried.py [--quick] [--folder DIR]

Pictures: ViT-B-32 with random weights, on photographs. Cosines of random weights say that a way computes the same, not
what rounding does to trained weights, some of which are far larger than others. So MiniLM, whose real weights are
here, is run in the same ways. What needs torchao, onnx or a C++ compiler is left out where there is none.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import warnings
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _alternate import alternate, machine
from _encode_towers import BATCH, onnx_session
from _photographs import make_photographs
from _random_models import CLIP, clip_onnx, clip_weights
from PIL import Image

from indexer.types import ImageSample
from mmsearch.encoders.bert import bert_torch
from mmsearch.encoders.minilm import TextTower
from mmsearch.encoders.open_clip import CHUNK, open_clip_towers
from mmsearch.encoders.preprocess import normalise
from mmsearch.encoders.threads import map_with_torch

Forward = Callable[[torch.Tensor], torch.Tensor]
Way = Callable[[], np.ndarray[Any, Any]]  # vectors of all inputs


def chunked(forward: Forward, inputs: torch.Tensor, size: int = CHUNK) -> Way:
    """As the towers do: chunks in a pool of threads, one thread of torch in each."""
    return lambda: np.concatenate([part.float().numpy() for part in map_with_torch(forward, inputs.split(size))])


def together(forward: Forward, inputs: torch.Tensor) -> Way:
    """As torch does: one batch, each layer split over all cores."""

    def run() -> np.ndarray[Any, Any]:
        with torch.inference_mode():
            return forward(inputs).float().numpy()

    return run


def picture_ways(folder: Path) -> dict[str, Callable[[], Way]]:
    tower, _ = open_clip_towers(f"{CLIP}/{clip_weights(folder)}", precision="float32")
    files = make_photographs(folder / f"tried-{BATCH}", BATCH, (640, 480))
    pixels = np.stack([tower.prepare(ImageSample(np.asarray(Image.open(file)))) for file in files])
    preprocess = tower._model.source.preprocess
    inputs = torch.from_numpy(normalise(pixels, preprocess.mean, preprocess.std))
    network = tower._model.network.visual

    def changed(change: Callable[[Any], Any]) -> Any:
        return change(copy.deepcopy(network))

    def autocast(x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return network(x)

    def bfloat16_products() -> Way:
        way = chunked(network, inputs)

        def run() -> np.ndarray[Any, Any]:
            with fpmath("bf16"):
                return way()

        return run

    def onnx(quantised: bool) -> Way:
        path = clip_onnx(folder)[0]
        if quantised:
            path = quantised_onnx(path)
        session, ready = onnx_session(path), inputs.numpy()
        return lambda: np.concatenate(
            [session.run(None, {"input": ready[at : at + CHUNK]})[0] for at in range(0, len(ready), CHUNK)]
        )

    last = torch.channels_last
    return {
        "float32, in eights (as it is)": lambda: chunked(network, inputs),
        "one by one": lambda: chunked(network, inputs, 1),
        "in fours": lambda: chunked(network, inputs, 4),
        "in sixteens": lambda: chunked(network, inputs, 16),
        "one batch, layers split over cores": lambda: together(network, inputs),
        "channels_last": lambda: chunked(
            changed(lambda n: n.to(memory_format=last)), inputs.contiguous(memory_format=last)
        ),
        "torch.compile": lambda: chunked(torch.compile(changed(lambda n: n), dynamic=False), inputs),
        "bfloat16, all of it": lambda: chunked(changed(lambda n: n.bfloat16()), inputs.bfloat16()),
        "bfloat16 by autocast": lambda: chunked(autocast, inputs),
        "oneDNN, float32 products as bfloat16": bfloat16_products,
        "int8 by torchao, activations too": lambda: chunked(changed(torchao_int8), inputs),
        "ONNX Runtime, float32": lambda: onnx(False),
        "ONNX Runtime, dynamic int8": lambda: onnx(True),
    }


def text_ways(folder: Path) -> dict[str, Callable[[], Way]]:
    tower = TextTower()
    lines = Path(__file__).with_name("encode_tried.py").read_text(encoding="utf-8").splitlines()
    ids = np.stack([row[:16] for row in map(tower.prepare, lines) if len(row) >= 16][:BATCH])
    weights, inputs = tower._torch_weights, torch.from_numpy(ids)

    def forward(weights: dict[str, torch.Tensor]) -> Forward:
        return lambda chunk: bert_torch(weights, chunk).float().mean(dim=1)

    half = {name: weight.bfloat16() for name, weight in weights.items()}
    int8 = {
        name: rounded(weight) if weight.ndim == 2 and "layer" in name else weight for name, weight in weights.items()
    }
    return {
        "float32, in eights": lambda: chunked(forward(weights), inputs),
        "bfloat16, all of it": lambda: chunked(forward(half), inputs),
        "int8 weights, by row (their rounding alone)": lambda: chunked(forward(int8), inputs),
    }


def rounded(weight: torch.Tensor) -> torch.Tensor:
    """A matrix with each row rounded to 255 levels, as float32: what symmetric int8 by row keeps of it."""
    scale = weight.abs().amax(dim=1, keepdim=True) / 127
    return (weight / scale).round() * scale


def torchao_int8(network: Any) -> Any:
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    quantize_(network, Int8DynamicActivationInt8WeightConfig())
    return network


def quantised_onnx(path: Path) -> Path:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    to = path.with_name(f"{path.stem}-int8.onnx")
    if not to.exists():
        quantize_dynamic(
            path, to, per_channel=True, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul", "Gemm"]
        )
    return to


@contextmanager
def fpmath(precision: str) -> Any:
    before = torch.backends.mkldnn.matmul.fp32_precision
    torch.backends.mkldnn.matmul.fp32_precision = precision
    try:
        yield
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = before


def show(title: str, ways: dict[str, Callable[[], Way]], rounds: int) -> None:
    made: dict[str, Way] = {}
    cosines: dict[str, float] = {}
    reference: np.ndarray[Any, Any] | None = None
    for name, make in ways.items():
        try:
            way = make()
            vectors = way()
        except Exception as error:  # whatever a compiler or an optional package stumbles over
            print(f"left out: {name} ({type(error).__name__}: {' '.join(str(error).split())[:160]})")
            continue
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        reference = vectors if reference is None else reference
        made[name], cosines[name] = way, float((vectors * reference).sum(axis=1).min())
    speeds = alternate({name: lambda w=way: len(w()) for name, way in made.items()}, rounds, 0)
    first = next(iter(speeds.values()))
    print(f"\n| {title} | /s | processor time, ms | beside the first | least cosine |\n|---|---|---|---|---|")
    for name, speed in speeds.items():
        part = speed.cpu_ms / first.cpu_ms
        print(f"| {name} | {speed.rate:.1f} | {speed.cpu_ms:.1f} | {part:.2f} | {cosines[name]:.6f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round in place of five")
    parser.add_argument("--folder", type=Path, help="where models and photographs are kept; else a temporary one")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    with ExitStack() as stack:
        folder = (options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))).absolute()
        print(machine(), "\n")
        for title, ways in (("ViT-B-32, pictures", picture_ways), ("MiniLM, texts of 16 tokens", text_ways)):
            show(title, ways(folder), 1 if options.quick else 5)
        print(f"\n{machine()}")


if __name__ == "__main__":
    main()
