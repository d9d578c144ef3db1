"""Models with random weights, in the formats that their libraries save: speed does not depend on weights.

For benchmarks where no hub can be reached. What is made is kept, and taken again when it is there.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

CLIP = "ViT-B-32"


def clip_weights(folder: Path, architecture: str = CLIP) -> Path:
    """An open_clip checkpoint of an architecture; `CLIP` is that of the model `fast`."""
    return _made(folder / f"{_stem(architecture)}clip.safetensors", lambda path: _save_clip(path, architecture))


def _stem(architecture: str) -> str:
    return "" if architecture == CLIP else f"{architecture}-"


def clip_onnx(folder: Path, architecture: str = CLIP) -> tuple[Path, Path]:
    """The two towers of the same weights as ONNX files, as rclip wants them: one input, one output, any batch.

    Raises:
        ImportError: the package onnx is missing.
    """
    import onnx  # noqa: F401 - torch's exporter needs it, and would say so only at the end

    weights = clip_weights(folder, architecture)

    def towers(name: str, method: str) -> Path:
        path = folder / f"{_stem(architecture)}{name}.onnx"
        return _made(path, lambda path: _export(weights, path, method, architecture))

    return towers("visual", "encode_image"), towers("textual", "encode_text")


def clap_folder(folder: Path) -> Path:
    """A CLAP of the size of laion/clap-htsat-unfused (transformers' default configuration), with a tokenizer."""
    return _made(folder / "clap", _save_clap)


def _made(path: Path, make: Callable[[Path], None]) -> Path:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"partial-{path.name}")
        make(partial)
        partial.rename(path)
    return path


def _network(architecture: str) -> Any:
    import open_clip
    import torch

    torch.manual_seed(0)
    return open_clip.CLIP(**open_clip.get_model_config(architecture)).eval()


def _save_clip(path: Path, architecture: str) -> None:
    from safetensors.torch import save_file

    save_file({name: value.contiguous() for name, value in _network(architecture).state_dict().items()}, path)


def _export(weights: Path, path: Path, method: str, architecture: str) -> None:
    import torch
    from safetensors.torch import load_file

    network = _network(architecture)
    network.load_state_dict(load_file(weights))

    class Tower(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return getattr(self.network, method)(input)

    side = network.visual.image_size[0]
    example = torch.randn(2, 3, side, side) if method == "encode_image" else torch.ones(2, 77, dtype=torch.long)
    batch = {"input": {0: "batch"}, "output": {0: "batch"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the TorchScript exporter, that there is a newer one
        torch.onnx.export(
            Tower().eval(),
            (example,),
            str(path),
            input_names=["input"],
            output_names=["output"],
            dynamic_axes=batch,
            opset_version=17,
            dynamo=False,
        )


def _save_clap(folder: Path) -> None:
    import torch
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, ClapProcessor, RobertaTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    # Letters are tokens: what is measured are tokens in a second, whatever they stand for.
    words = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "Ġ", *"abcdefghijklmnopqrstuvwxyz"]
    tokenizer = RobertaTokenizer(vocab={word: at for at, word in enumerate(words)}, merges=[], model_max_length=512)
    ClapProcessor(ClapFeatureExtractor(truncation="rand_trunc"), tokenizer).save_pretrained(folder)
    torch.manual_seed(0)
    ClapModel(ClapConfig(audio_config={"enable_fusion": False})).save_pretrained(folder)
